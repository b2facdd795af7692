"""What an appendix is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adv_networks.experiments import Cell, Table
from adv_networks.tables.networks import Networks


@dataclasses.dataclass(frozen=True)
class Made:
    """A table that was made.

    Attributes:
        table: the table.
        cells: its cells, of the first seed.
        rows: what they came to (`tables.make_table`).
        networks: of the workspace's runs.
        directory: where the table's files are.
    """

    table: Table
    cells: Sequence[Cell]
    rows: Sequence[dict[str, Any]]
    networks: Networks
    directory: Path

    @property
    def is_complete(self) -> bool:
        """Whether every cell is of all test images, and of runs on all training images."""
        return all(row["data"] == "complete" for row in self.rows)
