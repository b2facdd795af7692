"""Plans: what a command will compute, resolved once before it starts."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from adv_networks.commands.base import Request
from adv_networks.experiments import Cell, Experiment, Table, experiments_of
from adv_networks.storage.records import check
from adv_networks.tables.evaluate import check_attacks
from adv_networks.training import Workspace


@dataclasses.dataclass(frozen=True)
class Plan:
    """A resolved table: its cells, the runs that they depend on, and the directories of the results.

    Attributes:
        table: the table, including the columns of the suite and of further attacks.
        request: the settings of the table.
        cells: for each seed, the cells to evaluate.
        all_cells: the cells of all seeds and all data sets of the table.
        runs: the experiments that the cells depend on, by name, each after those that it needs.
        records: directory of the records.
        directory: directory of the table.
    """

    table: Table
    request: Request
    cells: tuple[tuple[Cell, ...], ...]
    all_cells: tuple[Cell, ...]
    runs: dict[str, Experiment]
    records: Path
    directory: Path

    @classmethod
    def of(cls, table: Table, request: Request, workspace: Workspace, *, only_white_box: bool = False) -> Plan:
        """Resolves a table.

        Raises:
            UsageError: the table does not allow the request (`Table.under`, `Table.with_attacks`, `Table.cells`).
        """
        table = request.table(table)
        of_seeds = [
            [
                cell
                for cell in table.cells(request.scale, seed=seed, datasets=request.datasets, **request.options)
                if cell.is_white_box or not only_white_box
            ]
            for seed in request.seeds
        ]
        all_cells = of_seeds
        if request.datasets is not None:
            all_cells = [table.cells(request.scale, seed=seed, **request.options) for seed in request.seeds]
        runs = {spec.name: spec for spec in experiments_of(itertools.chain(*of_seeds))}
        if request.finished_only:
            finished = {name for name, spec in runs.items() if workspace.is_finished(spec)}
            of_seeds = [[cell for cell in cells if _runs_of(cell) <= finished] for cells in of_seeds]
            runs = {spec.name: spec for spec in experiments_of(itertools.chain(*of_seeds))}
        group = workspace.group(**request.group)
        records = group if request.attack_suite == "paper" else group / request.attack_suite
        cells = tuple(map(tuple, of_seeds))
        return cls(table, request, cells, tuple(itertools.chain(*all_cells)), runs, records, group / request.directory)

    @property
    def every_cell(self) -> tuple[Cell, ...]:
        """The cells to evaluate, for all seeds."""
        return tuple(itertools.chain(*self.cells))

    def trainings(self, workspace: Workspace) -> list[Experiment]:
        """The runs that must exist, in an order in which they can be trained; without runs that only finished ones need."""
        wanted = set().union(*(_runs_of(cell) for cell in self.every_cell))
        needed = {
            one.name for name in wanted if not workspace.is_finished(self.runs[name]) for one in _needed_by(self.runs[name])
        }
        return [spec for name, spec in self.runs.items() if name in wanted | needed]

    def check(self, workspace: Workspace) -> None:
        """Raises the errors that evaluating the cells would raise after hours of training."""
        check_attacks(self.every_cell)
        missing = {spec.dataset for spec in self.trainings(workspace) if not workspace.is_finished(spec)}
        for dataset in dict.fromkeys(cell.dataset for cell in self.every_cell):
            workspace.check_data(dataset, ("train", "test") if dataset in missing else ("test",))
        if workspace.is_chief:
            check(self.records / "records.csv")


def _runs_of(cell: Cell) -> set[str]:
    specs = [spec for spec in (cell.target, cell.source) if spec is not None]
    return {own.name for spec in specs for own in (spec, spec.behind()) if own is not None}


def _needed_by(spec: Experiment) -> Iterable[Experiment]:
    """The runs that a run builds on, directly or indirectly."""
    for needed in spec.needs().values():
        yield needed
        yield from _needed_by(needed)


def check_all(plans: Sequence[Plan], workspace: Workspace) -> None:
    """Checks all plans (`Plan.check`) before the first training."""
    for plan in plans:
        plan.check(workspace)
