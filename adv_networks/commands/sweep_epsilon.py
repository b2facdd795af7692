"""`--table --epsilons`: the networks of a table under attacks of other sizes."""

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
    """Trains what a table lacks, evaluates its cells at several ε, and writes CSV and pictures of that.

    Attributes:
        name: key of `experiments.TABLES`.
        epsilons: of the attacks; the networks are those of the table, trained at its own.
        request: what is asked of the table; the first seed counts.
        workspace: where runs and results are.
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
        """See `Command.run`; what is printed is the name of the CSV file."""
        plan = Plan.of(TABLES[self.name], self.request, self.workspace)
        plan.check(self.workspace)
        self.workspace.train(plan.trainings(self.workspace))
        if self.workspace.is_chief:
            cells = by_epsilon.cells_at(plan.every_cell, self.epsilons)
            rows = by_epsilon.make_rows(cells, evaluate(cells, Networks(self.workspace), plan.records))
            trained_at = {cell.dataset: cell.target.epsilon for cell in plan.every_cell}
            yield str(by_epsilon.write(plan.table, rows, plan.directory, trained_at=trained_at))
