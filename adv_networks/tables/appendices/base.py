"""The input of an appendix: a table that was made."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adv_networks.experiments import Cell, Table
from adv_networks.tables.match import least_complete
from adv_networks.tables.networks import Networks


@dataclasses.dataclass(frozen=True)
class Made:
    """A table that was made.

    Attributes:
        table: the table.
        cells: its cells for the first seed.
        rows: its rows (`tables.make_table`).
        networks: the networks of the workspace's runs.
        directory: the directory of the table's files.
    """

    table: Table
    cells: Sequence[Cell]
    rows: Sequence[dict[str, Any]]
    networks: Networks
    directory: Path

    @property
    def data(self) -> str:
        """How complete the data of the least complete cell is; "subset" if a cell is not measured."""
        return least_complete(row["data"] or "subset" for row in self.rows)
