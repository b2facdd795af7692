"""What the attacks of a table did to the images, from the records of its cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from adv_networks.evaluation import measures
from adv_networks.experiments import Cell, Table
from adv_networks.storage.records import Record


def as_text(table: Table, pairs: Iterable[tuple[Cell, Record | None]]) -> str:
    """The measures of a table's attacks besides accuracy (`measures.as_text`); "" unless further attacks were asked for.

    Args:
        table: the table.
        pairs: its cells with their records (`tables.match`). Cells without an attack, a record or its measures are left out.

    Examples:
        >>> from adv_networks import experiments
        >>> from adv_networks.tables import attack_measures
        >>> attack_measures.as_text(experiments.TABLES["1"], [])
        ''
    """
    if not table.has_further_attacks:
        return ""
    attacked = [(cell, own) for cell, own in pairs if own and own.changed_percent is not None and cell.attack.has_source]
    several = {field: len({getattr(cell, field) for cell, _ in attacked}) > 1 for field in ("dataset", "row")}
    found = {}
    for cell, record in attacked:
        label = ", ".join([*(getattr(cell, field) for field, differs in several.items() if differs), cell.column])
        found[label] = dataclasses.asdict(record)
    return measures.as_text(found) if found else ""
