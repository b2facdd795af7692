"""The results of the checks of classifiers, as lines of `checks.csv` and as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from adv_networks.evaluation.checks import PASS, Check
from adv_networks.storage.records import record_key


@dataclasses.dataclass(frozen=True)
class CheckRecord:
    """A line of `checks.csv`: a check of a classifier whose accuracies a grid reports.

    `identity` is a hash of everything that the result depends on. `evaluation` has the settings of the evaluation that are not
    part of the run's name.
    """

    key: str
    identity: str
    target: str
    check: str
    outcome: str
    detail: str
    evaluation: str = ""


class Checked(NamedTuple):
    """A row of a table, by its label, and the checks of its classifier as the row evaluates it."""

    row: str
    checks: Sequence[CheckRecord]


def records_of(
    target: str, checks: Sequence[Check], identity: str, labels: Sequence[str], evaluation: str = ""
) -> list[CheckRecord]:
    """The lines of the checks of a target; later ones of the same target, columns (`labels`) and evaluation replace them."""
    # Lines that were written before `evaluation` existed keep their keys.
    own = {"evaluation": evaluation} if evaluation else {}
    keys = (record_key(target=target, check=check.name, labels=tuple(labels), **own) for check in checks)
    return [
        CheckRecord(key, identity, target, check.name, check.outcome, check.detail, evaluation)
        for key, check in zip(keys, checks, strict=True)
    ]


def _by_title(checked: Sequence[Checked]) -> list[tuple[str, Sequence[CheckRecord]]]:
    """Checks by the name of their run, followed by the row's label if several rows evaluate that run."""
    targets = [row.checks[0].target for row in checked]
    return [
        (f"{target} ({row.row})" if targets.count(target) > 1 else target, row.checks)
        for target, row in zip(targets, checked, strict=True)
    ]


def as_text(checked: Sequence[Checked]) -> str:
    """How many checks each row's classifier passed, and what failed or was not applicable."""
    lines = []
    for title, own in _by_title(checked):
        passed = sum(check.outcome == PASS for check in own)
        lines.append(f"checks against false security of {title}: {passed} of {len(own)} passed")
        lines += [f"  {check.outcome}: {check.check} ({check.detail})" for check in own if check.outcome != PASS]
    return "\n".join(lines)


def as_markdown(checked: Sequence[Checked]) -> str:
    """All checks as a Markdown table."""
    lines = [["run", "check", "outcome", "numbers"], ["---"] * 4]
    lines += [[title, check.check, check.outcome, check.detail] for title, own in _by_title(checked) for check in own]
    return "\n\n".join(
        [
            "## Checks against false security",
            "Signs that attacks fail for other reasons than that a classifier is robust. Where one fails, the accuracies under "
            "attack are not to be trusted.",
            "\n".join("| " + " | ".join(line) + " |" for line in lines),
        ]
    )
