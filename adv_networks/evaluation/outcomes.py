"""What a check against false security comes to."""

from __future__ import annotations

import dataclasses

PASS, FAIL, WARNING, NOT_APPLICABLE = "pass", "fail", "warning", "not applicable"


@dataclasses.dataclass(frozen=True)
class Check:
    """What was checked, whether it passed, and the numbers.

    A warning says that attacks may fail for other reasons than that the classifier is robust, which no number decides.
    """

    name: str
    outcome: str
    detail: str

    @classmethod
    def of(cls, name: str, holds: bool, detail: str) -> Check:
        """One that passes where it holds, and fails otherwise."""
        return cls(name, PASS if holds else FAIL, detail)
