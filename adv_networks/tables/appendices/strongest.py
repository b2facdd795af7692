"""The strongest attack on each row of a table: of the attacks in the worst case, the one that leaves the least accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from adv_networks.experiments import Table
from adv_networks.tables.appendices.base import Made


def strongest(made: Made) -> str:
    """A Markdown table of the strongest attacks; empty if no row is complete."""
    found = strongest_attacks(made.table, made.rows)
    return _markdown(found) if found else ""


class Strongest(NamedTuple):
    """A row of a table: its accuracy on clean images and in the worst case, in percent, and the strongest attack."""

    dataset: str
    row: str
    clean: float
    worst: float
    attack: str
    left: float


def strongest_attacks(table: Table, rows: Sequence[dict[str, Any]]) -> list[Strongest]:
    """The strongest attack of each row whose cells are all measured.

    Args:
        table: a table with one column that is a worst case.
        rows: rows of `tables.make_table`.
    """
    worst = next(column for column in table.columns if column.worst_of)
    clean = next(column.label for column in table.columns if column.attack == "clean")
    measured = {
        (cell["dataset"], cell["row"], cell["column"]): cell["measured_percent"]
        for cell in rows
        if cell["metric"] == "accuracy"
    }
    found = []
    for dataset, row in dict.fromkeys((cell["dataset"], cell["row"]) for cell in rows):
        left = {label: measured.get((dataset, row, label)) for label in worst.worst_of if label != clean}
        on_clean, in_worst_case = (measured.get((dataset, row, label)) for label in (clean, worst.label))
        if None not in (*left.values(), on_clean, in_worst_case):
            attack = min(left, key=left.__getitem__)
            found.append(Strongest(dataset, row, on_clean, in_worst_case, attack, left[attack]))
    return found


def _markdown(found: Sequence[Strongest]) -> str:
    lines = [["data set", "row", "clean", "worst case", "strongest attack", "it leaves"], ["---"] * 2 + ["---:"] * 2]
    lines[1] += ["---", "---:"]
    lines += [[one.dataset, one.row, f"{one.clean:.2f}", f"{one.worst:.2f}", one.attack, f"{one.left:.2f}"] for one in found]
    return "## What breaks each\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)
