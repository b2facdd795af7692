"""`--table --by_class`: the accuracy of each class, clean and under white-box attacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from adv_networks.commands.base import Request
from adv_networks.commands.planning import Plan
from adv_networks.experiments import TABLES
from adv_networks.storage.records import Outcome, read
from adv_networks.tables import by_class
from adv_networks.tables.evaluate import evaluate
from adv_networks.tables.networks import Networks
from adv_networks.training import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitByClass:
    """Trains a table's missing runs, evaluates its white-box cells by class, and writes the accuracies as CSV and pictures.

    Attributes:
        name: key of `experiments.TABLES`.
        request: the settings of the table; only the first seed is used.
        workspace: the directories of runs and results.
    """

    needs_tensorflow: ClassVar[bool] = True

    name: str
    request: Request
    workspace: Workspace

    def check(self) -> None:
        """See `Command.check`."""
        self.request.check(TABLES[self.name])

    def run(self) -> Iterator[str]:
        """See `Command.run`; prints the name of the CSV file."""
        plan = Plan.of(TABLES[self.name], self.request, self.workspace, only_white_box=True)
        plan.check(self.workspace)
        self.workspace.train(plan.trainings(self.workspace), wait=True)
        if self.workspace.is_chief:
            cells = plan.every_cell
            records = evaluate(cells, Networks(self.workspace), plan.records, keep_outcomes=True)
            outcomes = {outcome.key: outcome.array() for outcome in read(plan.records / "outcomes.csv", Outcome)}
            limits = {cell.dataset: cell.target.test_images for cell in cells}
            labels = {dataset: self.workspace.images(dataset, "test", limit).labels for dataset, limit in limits.items()}
            yield str(by_class.write(plan.table, by_class.make_rows(cells, records, outcomes, labels), plan.directory))
