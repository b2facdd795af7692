"""Evaluates the cells of a table that have no record yet."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from adv_networks import evaluation
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import Cell, Experiment, Table, find_dataset
from adv_networks.lazy import np
from adv_networks.storage.records import Outcome, Record, merge, read
from adv_networks.storage.run_directories import describe
from adv_networks.tables.match import match, parts_of, source_name
from adv_networks.tables.networks import Networks
from adv_networks.training import Workspace

_LOGGER = logging.getLogger(__name__)


def evaluate(cells: Sequence[Cell], networks: Networks, directory: Path, *, keep_outcomes: bool = False) -> list[Record]:
    """Returns the records of the cells. Records that the directory's `records.csv` lacks are computed and saved there.

    With `keep_outcomes`, or if some cells are worst cases, `outcomes.csv` keeps which images were labelled correctly. Records
    without this are then computed again.
    """
    crafted = [cell for cell in cells if not cell.attack.composed]
    keep_outcomes = keep_outcomes or len(crafted) < len(cells)
    known = read(directory / "outcomes.csv", Outcome) if keep_outcomes else []
    outcomes = {outcome.key: outcome.array() for outcome in known} if keep_outcomes else None
    results = []

    def save(new: list[Record]) -> None:
        if outcomes is not None:
            merge(directory / "outcomes.csv", (Outcome.of(record.key, outcomes[record.key]) for record in new), Outcome)
        merge(directory / "records.csv", new)
        for record in new:
            _LOGGER.info("%s under %s: %.2f%%", record.target, record.attack, record.accuracy_percent)

    with networks.workspace.evaluating():
        for dataset, bn_evaluation in dict.fromkeys((cell.dataset, cell.target.bn_evaluation) for cell in crafted):
            chosen = [cell for cell in crafted if (cell.dataset, cell.target.bn_evaluation) == (dataset, bn_evaluation)]
            results += _evaluate_alike(chosen, networks, directory, save, outcomes)
    kept = {record.key: record for record in read(directory / "records.csv")} if keep_outcomes else {}
    composed = worst_records(cells, results, outcomes)
    if new := [record for record in composed if record.key not in kept]:
        save(new)
    return results + [kept.get(record.key, record) for record in composed]


def _evaluate_alike(cells: Sequence[Cell], networks: Networks, directory: Path, save, outcomes) -> list[Record]:
    """The records of cells that share their data set and the way that BN is evaluated."""
    targets, sources = networks.targets(cells), networks.sources(cells)
    wanted = {(cell.target.target_name, source_name(cell), cell.attack) for cell in cells}
    return evaluation.grid(
        targets,
        sources,
        dict.fromkeys(cell.attack for cell in cells),
        *networks.workspace.images(cells[0].dataset, "test", cells[0].target.test_images),
        known=read(directory / "records.csv"),
        wanted=lambda target, source, attack: (target, source, attack) in wanted,
        provenance={cell.target.target_name: provenance(cell.target, networks.workspace) for cell in cells},
        bn_evaluation=cells[0].target.bn_evaluation,
        on_records=save,
        hashes=targets.hashes() | sources.hashes(),
        outcomes=outcomes,
        training=functools.partial(networks.workspace.images, cells[0].dataset, "train"),
        measures=any(cell.metric != "accuracy" for cell in cells),
    )


def check_attacks(cells: Iterable[Cell]) -> None:
    """Raises the errors about attacks that evaluating the cells would raise after the trainings."""
    distinct = dict.fromkeys((cell.attack, cell.target.bn_evaluation, cell.dataset) for cell in cells)
    for attack, bn_evaluation, dataset in distinct:
        attack.check(classes=find_dataset(dataset).classes, bn_evaluation=bn_evaluation)


def is_attackable(table: Table, suite: str) -> bool:
    """Whether an attack suite can attack the table's rows, with their declared settings."""
    try:
        check_attacks(table.under(suite).cells("paper"))
    except UsageError:
        return False
    return True


def worst_records(cells: Sequence[Cell], records: Sequence[Record], outcomes: dict[str, np.ndarray] | None) -> list[Record]:
    """The records of the worst cases of which all parts have records."""
    matched = match(cells, records)
    wanted = [cell for cell in cells if cell.attack.composed]
    parts = [parts_of(cell, matched) for cell in wanted]
    return [evaluation.worst(cell.attack, own, outcomes) for cell, own in zip(wanted, parts, strict=True) if all(own)]


def provenance(spec: Experiment, workspace: Workspace) -> dict[str, Any]:
    """The fields of a record that say which run its target is of, and what that was trained on."""
    description = describe(workspace.of(spec))
    if description is None:
        raise UserError(f"{workspace.of(spec)}: expected a trained run, found none")
    fields = ("dataset", "method", "protocol", "scale", "seed", "steps", "classifier_width", "generator_width")
    known = description["provenance"]
    return {
        **{name: getattr(spec, name) for name in fields},
        "training_images": known["training_images"],
        "training_commit": known["commit"],
        "class_names": json.dumps(known["class_names"], ensure_ascii=False) if known.get("class_names") else "",
        "split": known.get("split", ""),
    }
