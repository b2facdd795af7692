"""`--table --epsilons`: attacks the networks of a table at several ε."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from adv_networks.commands.base import Request
from adv_networks.commands.planning import Plan
from adv_networks.experiments import TABLES
from adv_networks.tables import by_epsilon
from adv_networks.tables.evaluate import evaluate
from adv_networks.tables.networks import Networks
from adv_networks.training import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepEpsilon:
    """Trains a table's missing runs, evaluates its cells at several ε, and writes the accuracies as CSV and pictures.

    Attributes:
        name: key of `experiments.TABLES`.
        epsilons: ε of the attacks; the networks are trained at the table's own ε.
        request: the settings of the table; only the first seed is used.
        workspace: the directories of runs and results.
    """

    needs_tensorflow: ClassVar[bool] = True

    name: str
    epsilons: tuple[float, ...]
    request: Request
    workspace: Workspace

    def check(self) -> None:
        """See `Command.check`."""
        self.request.check(TABLES[self.name])

    def run(self) -> Iterator[str]:
        """See `Command.run`; prints the name of the CSV file."""
        plan = Plan.of(TABLES[self.name], self.request, self.workspace)
        plan.check(self.workspace)
        self.workspace.train(plan.trainings(self.workspace), wait=True)
        if self.workspace.is_chief:
            cells = by_epsilon.cells_at(plan.every_cell, self.epsilons)
            rows = by_epsilon.make_rows(cells, evaluate(cells, Networks(self.workspace), plan.records))
            trained_at = {cell.dataset: cell.target.epsilon for cell in plan.every_cell}
            yield str(by_epsilon.write(plan.table, rows, plan.directory, trained_at=trained_at))
