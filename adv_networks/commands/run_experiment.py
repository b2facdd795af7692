"""One run: trains it, and evaluates its classifier."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from adv_networks import tables
from adv_networks.commands.base import Request
from adv_networks.commands.planning import Plan
from adv_networks.evaluation import check_records
from adv_networks.evaluation.exports import Exports
from adv_networks.experiments import ADAPTIVE, METHODS, WHITE_BOX, Column, Experiment, Row, Table
from adv_networks.tables import attack_measures, members
from adv_networks.tables.classifier_checks import check_classifiers
from adv_networks.tables.evaluate import evaluate
from adv_networks.tables.networks import Networks
from adv_networks.training import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunExperiment:
    """Trains or resumes one experiment unless it is finished, and prints its classifier's accuracies under white-box attacks.

    An attack suite other than the paper's and further attacks add columns to this grid, and the runs that these need are
    trained too.

    Attributes:
        spec: the experiment.
        workspace: the directories of runs and results.
        attack_suite: key of `experiments.SUITES`.
        attacks: further columns, as texts for `experiments.parse_attack`.
        workdir: directory of this one run; None for the one in `workspace` with the run's name.
        exports: files to write besides the printed text.
    """

    needs_tensorflow: ClassVar[bool] = True

    spec: Experiment
    workspace: Workspace
    attack_suite: str = "paper"
    attacks: tuple[str, ...] = ()
    workdir: Path | None = None
    exports: Exports = dataclasses.field(default_factory=Exports)

    def check(self) -> None:
        """See `Command.check`."""
        self.exports.check(self.spec.bn_evaluation)
        self._request.check(_table_of(self.spec))

    @property
    def _request(self) -> Request:
        spec = self.spec
        return Request(
            scale=spec.scale, protocol=spec.protocol, seeds=(spec.seed,), overrides=dict(spec.overrides),
            attack_suite=self.attack_suite, attacks=self.attacks,
        )  # fmt: skip

    def run(self) -> Iterator[str]:
        """See `Command.run`."""
        spec, request = self.spec, self._request
        workspace = self.workspace if self.workdir is None else self.workspace.with_workdir(spec, self.workdir)
        plan = Plan.of(_table_of(spec), request, workspace)
        plan.check(workspace)
        # A run trains the runs that it builds on itself, and waits if another process is already training them.
        sources = [cell.source.name for cell in plan.every_cell if cell.source]
        behind = [own.name for own in [spec.behind()] if own is not None]
        workspace.train(plan.runs[name] for name in dict.fromkeys([*behind, spec.name, *sources]))
        if not workspace.is_chief:
            return
        networks = Networks(workspace)
        records = evaluate(plan.every_cell, networks, plan.records)
        self._export(plan, networks)
        rows = tables.make_table(plan.table, records, scale=spec.scale, seed=spec.seed, **request.options)
        checked = check_classifiers(plan.table, plan.every_cell, records, networks, plan.records)
        parts = [tables.as_text(plan.table, rows, scale=spec.scale)]
        parts.append(members.as_text(spec, members.transfer(spec, networks, plan.records)))
        parts += [attack_measures.as_text(plan.table, tables.match(plan.every_cell, records)), check_records.as_text(checked)]
        yield "\n".join(filter(None, parts))

    def _export(self, plan: Plan, networks: Networks) -> None:
        """Writes the requested files, for the classifier under the attacks of the grid."""
        if not self.exports:
            return
        cells = [cell for cell in plan.every_cell if cell.attack.has_source]
        target = plan.every_cell[0].target
        with networks.workspace.evaluating():
            crafted = [(cell.column, cell.attack, networks.source(cell)) for cell in cells]
            images = networks.workspace.images(target.dataset, "test", target.test_images)
            training = functools.partial(networks.workspace.images, target.dataset, "train")
            self.exports.write(networks.classifier(target), *images, crafted, training)


def _table_of(spec: Experiment) -> Table:
    """The grid of one run: its classifier under white-box attacks, and under its own generators."""
    method = METHODS[spec.method]
    columns = [*(WHITE_BOX if method.gives_classifier else WHITE_BOX[:1])]
    columns += [Column("Adaptive", ADAPTIVE)] * method.stands_in_front
    if method.trains_generator:
        columns += [Column(f"G {name}", "generator", generator=number) for number, name in enumerate(spec.generators)]
    label = f"{method.name} ({method.letter})"
    if not method.gives_classifier:
        columns = [dataclasses.replace(column, target=spec.against, same_seed=True) for column in columns]
        label += f" against {spec.against} ({METHODS[spec.against].letter})"
    return Table("run", spec.target_name, (spec.dataset,), (Row(label, spec.method),), tuple(columns))
