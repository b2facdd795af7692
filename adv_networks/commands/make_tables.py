"""`--table`: trains and evaluates what is missing from tables, and writes them."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Iterator
from typing import ClassVar

from adv_networks import tables
from adv_networks.commands.base import Request
from adv_networks.commands.make_claims import MakeClaims
from adv_networks.commands.planning import Plan, check_all
from adv_networks.evaluation import check_records, gallery
from adv_networks.experiments import METHODS, TABLES, generator_file
from adv_networks.storage import pictures
from adv_networks.storage.files import write_whole
from adv_networks.storage.records import read
from adv_networks.tables import along_training, attack_measures
from adv_networks.tables.appendices import APPENDICES, Made
from adv_networks.tables.classifier_checks import check_classifiers
from adv_networks.tables.evaluate import evaluate, is_attackable
from adv_networks.tables.networks import Networks
from adv_networks.tables.notes import notes_of
from adv_networks.training import Workspace

# The tables of --table=all: the paper's and the ablations. Some cannot be attacked by a suite. The claims come after them.
ALL_TABLES = (*sorted(name for name in TABLES if name.isdigit()), "protocol", "regulariser")

_GALLERY_IMAGES = 8


def names_of_all(request: Request) -> tuple[str, ...]:
    """The tables of `--table=all` that have one of the requested data sets, and whose rows the suite can attack."""
    chosen = request.datasets
    names = [name for name in ALL_TABLES if not chosen or set(chosen) & set(TABLES[name].datasets)]
    return tuple(name for name in names if is_attackable(TABLES[name], request.attack_suite))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MakeTables:
    """Makes tables; each is printed when it is finished.

    Errors that can be found early, in any of the tables, are raised before the first training. If there are several workers,
    only the chief evaluates and prints.

    Attributes:
        names: keys of `experiments.TABLES`.
        request: the settings that all tables share.
        workspace: the directories of runs and results.
        with_claims: make the claims too, at the end.
    """

    needs_tensorflow: ClassVar[bool] = True

    names: tuple[str, ...]
    request: Request
    workspace: Workspace
    with_claims: bool = False

    def check(self) -> None:
        """See `Command.check`."""
        for name in self.names:
            self.request.check(TABLES[name])

    def run(self) -> Iterator[str]:
        """See `Command.run`."""
        plans = [Plan.of(TABLES[name], self.request, self.workspace) for name in self.names]
        check_all(plans, self.workspace)
        for plan in plans:
            self.workspace.train(plan.trainings(self.workspace), wait=True)
            if self.workspace.is_chief:
                yield make_table(plan, self.workspace)
        if self.with_claims and self.workspace.is_chief:
            yield from MakeClaims(request=self.request, workspace=self.workspace).run()


def make_table(plan: Plan, workspace: Workspace) -> str:
    """Evaluates the cells of a plan, whose runs must exist, writes the table, and returns it as text."""
    table, request = plan.table, plan.request
    networks = Networks(workspace)
    new = evaluate(plan.every_cell, networks, plan.records)
    records = [*read(plan.records / "records.csv"), *new]
    hashes = networks.hashes(plan.all_cells)
    options = dict(scale=request.scale, networks=hashes, **request.options)
    made = [tables.make_table(table, records, seed=seed, **options) for seed in request.seeds]
    rows = made[0] if len(made) == 1 else tables.over_seeds(made)
    checked = check_classifiers(table, plan.every_cell, new, networks, plan.records)
    appendix = ""
    if table.along_training:
        appendix = along_training.write(tables.stem(table), plan.cells[0], plan.directory, workspace.of)
    if table.appendix:
        made_of = Made(table, plan.cells[0], rows, networks, plan.directory)
        appendix = "\n\n".join(filter(None, [appendix, APPENDICES[table.appendix](made_of)]))
    appendix = "\n\n".join(filter(None, [appendix, check_records.as_markdown(checked) if checked else ""]))
    notes = [*notes_of(tables.match(plan.all_cells, records, hashes)), *table.left_out]
    tables.write(table, rows, plan.directory, scale=request.scale, notes=notes, appendix=appendix)
    _copy_pictures(plan, workspace)
    _draw_galleries(plan, networks)
    completed = [row for row in rows if request.datasets is None or row["dataset"] in request.datasets]
    parts = [tables.as_text(table, completed, scale=request.scale)]
    parts += [attack_measures.as_text(table, tables.match(plan.cells[0], records, hashes)), check_records.as_text(checked)]
    return "\n".join(filter(None, parts))


def _copy_pictures(plan: Plan, workspace: Workspace) -> None:
    """Copies the picture of each generator's final perturbations to the directory of the table."""
    rows = (
        cell.source if cell.source and not METHODS[cell.source.method].trains_classifier else cell.target
        for cell in plan.every_cell
    )
    for name in dict.fromkeys(row.name for row in rows if METHODS[row.method].trains_generator):
        picture = workspace.directory(name) / "perturbations.png"
        write_whole(plan.directory / f"{name}-perturbations.png", functools.partial(shutil.copyfile, picture))


def _draw_galleries(plan: Plan, networks: Networks) -> None:
    """For a table of generators, draws the perturbations of the generators, FGS and PGD on held-out images of each data set.

    All of them attack the classifier that the generators were trained against, and its predictions are shown.
    """
    own = [cell for cell in plan.cells[0] if cell.is_white_box] if not plan.table.rows_are_classifiers else []
    for dataset in dict.fromkeys(cell.dataset for cell in own):
        cells = [cell for cell in own if cell.dataset == dataset]
        spec = cells[0].target
        parts = networks.workspace.training_and_validation(spec)
        shown = parts[1 if spec.validation else 0].first(_GALLERY_IMAGES)
        with networks.workspace.evaluating():
            classifier = networks.of(spec)
            attacks = {name.upper(): (spec.attack(name), classifier) for name in ("fgs", "pgd")}
            for cell in cells:
                attacks[cell.row] = cell.attack, networks.of(cell.source, generator_file(cell.generator))
            made = gallery.make(classifier, shown, attacks, bn_evaluation=spec.bn_evaluation)
        pictures.save_for_print(gallery.draw(made, dataset), plan.directory / f"{tables.stem(plan.table)}-{dataset}-gallery")
