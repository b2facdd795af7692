"""The cells of tables, each with the experiments that it depends on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from adv_networks.experiments.attacks import Attack
from adv_networks.experiments.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell: `attack` crafted on `source` (None: on the target itself) and scored on `target`.

    For the generator's attack, `generator` is the generator's position among those of the source. `is_white_box` says whether
    the attack used the target's gradients. `published` is that of the row (`Row`).

    Examples:
        >>> from adv_networks.experiments import TABLES
        >>> cell = TABLES["1"].cells("paper")[0]
        >>> cell.row, cell.column, cell.target.name
        ('standard (A)', 'No Noise', 'mnist-standard-paper-s0')
    """

    table: str
    dataset: str
    row: str
    column: str
    target: Experiment
    source: Experiment | None
    attack: Attack
    generator: int = 0
    is_white_box: bool = True
    published: tuple[str, str] | None = None
    metric: str = "accuracy"

    @property
    def measured_cell(self) -> tuple[str, ...]:
        """The key of this cell, as `claims.cell_key` makes it."""
        return self.table, *self._place(self.row)

    @property
    def published_cell(self) -> tuple[str, ...]:
        """The key whose published number this cell is compared with."""
        table, row = self.published or (self.table, self.row)
        return table, *self._place(row)

    def _place(self, row: str) -> tuple[str, ...]:
        return self.dataset, row, self.column, *((self.metric,) if self.metric != "accuracy" else ())


def experiments_of(cells: Iterable[Cell]) -> list[Experiment]:
    """The experiments that the cells depend on: each once, as it is trained, and after the experiments that it needs.

    Examples:
        >>> from adv_networks.experiments import TABLES, experiments_of
        >>> cells = TABLES["1"].cells("paper")
        >>> cells[3].column, [spec.name for spec in experiments_of(cells[:4])]
        ("FGS(A')", ['mnist-standard-paper-s0', 'mnist-standard-paper-s1'])
    """
    ordered: dict[Experiment, None] = {}

    def add(spec: Experiment) -> None:
        if spec not in ordered:
            for needed in spec.needs().values():
                add(needed)
            ordered[spec] = None

    for cell in cells:
        for spec in filter(None, (cell.target, cell.source)):
            for run in filter(None, (spec.behind(), spec.trained())):
                add(run)
    return list(ordered)
