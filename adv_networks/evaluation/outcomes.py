"""The outcome of a check against false security."""

from __future__ import annotations

import dataclasses

PASS, FAIL, WARNING, NOT_APPLICABLE = "pass", "fail", "warning", "not applicable"


@dataclasses.dataclass(frozen=True)
class Check:
    """What was checked, whether it passed, and the numbers.

    A warning means that attacks may have failed for a reason other than robustness, but that no number decides it.
    """

    name: str
    outcome: str
    detail: str

    @classmethod
    def of(cls, name: str, holds: bool, detail: str) -> Check:
        """A check that passes if `holds` is true, and fails otherwise."""
        return cls(name, PASS if holds else FAIL, detail)
