"""From the cells of a table to their records: evaluates what is missing, and checks the classifiers."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from adv_networks import data, evaluation, runtime, tables, training
from adv_networks.commands.places import Places
from adv_networks.errors import UsageError, UserError
from adv_networks.evaluation import checks
from adv_networks.experiments import SCALES, Cell, Experiment, Table, find_dataset, generator_file, written
from adv_networks.runtime import devices
from adv_networks.storage.records import Outcome, Record, merge, read, record_key

# The checks run their attacks on so many images, fewer where a scale divides the strong attacks' steps.
CHECKED_IMAGES, _FEWEST_CHECKED = 64, 8
_READ_BY_CHECKS = ("epsilon", "norm", "pgd_steps", "pgd_step_fraction", "pgd_clip_start", "bn_evaluation")


def evaluate(cells: Sequence[Cell], models: Models, directory: Path, *, keep_outcomes: bool = False) -> list[Record]:
    """The records of the cells, computing those that the directory's `records.csv` lacks and saving them there.

    With `keep_outcomes`, or where cells are the worst of others, `outcomes.csv` keeps which images were labelled correctly;
    a record without that is computed again.
    """
    crafted = [cell for cell in cells if cell.attack.kind != "worst"]
    keep_outcomes, places = keep_outcomes or len(crafted) < len(cells), models.places
    known = read(directory / "outcomes.csv", Outcome) if keep_outcomes else []
    outcomes = {outcome.key: outcome.array() for outcome in known} if keep_outcomes else None
    results = []

    def save(new: list[Record]) -> None:
        if outcomes is not None:
            merge(directory / "outcomes.csv", (Outcome.of(record.key, outcomes[record.key]) for record in new), Outcome)
        merge(directory / "records.csv", new)

    with devices.local(places.strategy).scope():
        for dataset, bn_evaluation in dict.fromkeys((cell.dataset, cell.target.bn_evaluation) for cell in crafted):
            chosen = [cell for cell in crafted if (cell.dataset, cell.target.bn_evaluation) == (dataset, bn_evaluation)]
            images, labels = test_images(dataset, chosen[0].target.test_images, places)
            wanted = {(cell.target.name, tables.source_name(cell), cell.attack) for cell in chosen}
            targets = models.some({cell.target.name: (cell.target, "d.keras") for cell in chosen})
            sources = models.some({tables.source_name(cell): _source(cell) for cell in chosen if cell.attack.kind != "clean"})
            results += evaluation.grid(
                targets,
                sources,
                dict.fromkeys(cell.attack for cell in chosen),
                images,
                labels,
                known=read(directory / "records.csv"),
                wanted=lambda target, source, attack, wanted=wanted: (target, source, attack) in wanted,
                provenance={cell.target.name: _provenance(cell.target, places) for cell in chosen},
                bn_evaluation=bn_evaluation,
                on_records=save,
                hashes=targets.hashes() | sources.hashes(),
                outcomes=outcomes,
            )
    kept = {record.key: record for record in read(directory / "records.csv")} if keep_outcomes else {}
    composed = _worst_records(cells, results, outcomes)
    if new := [record for record in composed if record.key not in kept]:
        save(new)
    return results + [kept.get(record.key, record) for record in composed]


def networks_on_disk(cells: Iterable[Cell], places: Places) -> dict[str, str]:
    """The hashes of the weights of the finished runs that the cells rest on, by the names that records have for them."""
    files = {}
    for cell in cells:
        files[cell.target.name] = cell.target, "d.keras"
        if source := tables.source_name(cell):
            files[source] = _source(cell)
    return Models(places).some(files).hashes()


def check_attacks(cells: Iterable[Cell]) -> None:
    """Raises what evaluating the cells would raise over their attacks, whatever comes out of the trainings."""
    distinct = dict.fromkeys((cell.attack, cell.target.bn_evaluation, cell.dataset) for cell in cells)
    for attack, bn_evaluation, dataset in distinct:
        evaluation.check_attack(attack, bn_evaluation, find_dataset(dataset).classes)


def is_attackable(table: Table, suite: str) -> bool:
    """Whether an attack suite can be run on the table's rows as they are declared, whatever else is asked for."""
    try:
        check_attacks(table.under(suite).cells("paper"))
    except UsageError:
        return False
    return True


def _worst_records(cells: Sequence[Cell], records: Sequence[Record], outcomes: dict[str, np.ndarray] | None) -> list[Record]:
    """The records of the cells that are the worst of others in their row, of those whose others are all there."""
    matched = tables.match(cells, records)
    wanted = [cell for cell in cells if cell.attack.kind == "worst"]
    parts = [tables.parts_of(cell, matched) for cell in wanted]
    return [evaluation.worst(cell.attack, own, outcomes) for cell, own in zip(wanted, parts, strict=True) if all(own)]


def check_classifiers(
    table: Table, cells: Sequence[Cell], records: Sequence[Record], models: Models, directory: Path
) -> list[checks.Checked]:
    """The checks of every classifier that is a row of the table, from the directory's `checks.csv` where that has them.

    Rows of one run that evaluate it otherwise are classifiers of their own.
    """
    if not table.rows_are_classifiers:
        return []
    rows: dict[tuple[str, ...], list[tuple[Cell, Record]]] = {}
    for cell, record in tables.match(cells, records):
        if record is not None:
            spec = cell.target
            rows.setdefault((spec.name, spec.bn_evaluation, spec.attack("pgd").settings()), []).append((cell, record))
    file = directory / "checks.csv"
    return [checks.Checked(pairs[0][0].row, _checked(pairs, models, file)) for pairs in rows.values()]


def _evaluation(spec: Experiment) -> str:
    """The settings of a classifier's evaluation that its run's name does not have, as their rows are labelled."""
    trained = spec.trained()
    changed = {name: value for name in _READ_BY_CHECKS if (value := getattr(spec, name)) != getattr(trained, name)}
    return ", ".join(f"{name} = {written(value)}" for name, value in changed.items())


def _checked(pairs: Sequence[tuple[Cell, Record]], models: Models, file: Path) -> list[checks.CheckRecord]:
    """The checks of one classifier, from its cells and their records."""
    spec, record = pairs[0][0].target, pairs[0][1]
    measured = [
        checks.Measured(cell.column, record.accuracy_percent, knows_its_target(cell))
        for cell, record in pairs
        if cell.attack.kind not in ("clean", "worst", "foreign")
    ]
    pgd = spec.attack("pgd")
    images = max(_FEWEST_CHECKED, CHECKED_IMAGES // SCALES[spec.scale].attack_divisor)
    identity = record_key(
        target_hash=record.target_hash, images_hash=record.images_hash, images=images, attack_settings=pgd.settings(),
        bn_evaluation=spec.bn_evaluation, measured=tuple(measured),
    )  # fmt: skip
    labels = [one.label for one in measured]
    known = [line for line in read(file, checks.CheckRecord) if line.identity == identity]
    if not known:
        x, y = test_images(spec.dataset, images, models.places)
        with devices.local(models.places.strategy).scope():
            model = models.load(spec.trained(), "d.keras")
            found = checks.of_classifier(model, x, y, pgd, measured, bn_evaluation=spec.bn_evaluation)
        known = checks.records_of(spec.name, found, identity, labels, _evaluation(spec))
        merge(file, known, checks.CheckRecord)
    return known


def knows_its_target(cell: Cell) -> bool:
    """Whether the cell's attack was made with the target's gradients."""
    if cell.attack.kind == "square":
        return False
    target = cell.target.trained()
    against = cell.source.needs() if cell.source and cell.attack.kind == "generator" else None
    return cell.source is None or target in (cell.source.trained(), against)


def _source(cell: Cell) -> tuple[Experiment, str]:
    """The run, and its file, that the cell's attack is crafted on."""
    return cell.source or cell.target, generator_file(cell.generator) if cell.attack.kind == "generator" else "d.keras"


class Models:
    """The networks of the runs, each loaded once, when it is first used."""

    def __init__(self, places: Places):
        self.places = places
        self.load = functools.cache(self._load)

    def _load(self, spec: Experiment, file: str) -> keras.Model:
        path = self.places.of(spec) / file
        model = evaluation.load_classifier(path, spec.dataset) if file == "d.keras" else evaluation.load_model(path)
        return runtime.prepare(model, share_graphs=True)

    def some(self, files: Mapping[str, tuple[Experiment, str]]) -> _Some:
        """The networks of these runs and files, by name."""
        return _Some(self, files)


class _Some(Mapping):
    """Networks by name, loaded when they are taken out."""

    def __init__(self, models: Models, files: Mapping[str, tuple[Experiment, str]]):
        self.models, self.files = models, files

    def __getitem__(self, name: str) -> keras.Model:
        spec, file = self.files[name]
        return self.models.load(spec.trained(), file)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def hashes(self) -> dict[str, str]:
        """The hashes of the weights that are known without loading them."""
        known = {
            name: training.known_weights_hash(self.models.places.of(spec), file) for name, (spec, file) in self.files.items()
        }
        return {name: found for name, found in known.items() if found is not None}


def test_images(dataset: str, limit: int, places: Places) -> data.Images:
    """The first so many test images of a data set, 0 for all."""
    return data.load(dataset, "test", data_dir=places.data_dir, download=places.download, limit=limit)


def _provenance(spec: Experiment, places: Places) -> dict[str, Any]:
    description = training.describe(places.of(spec))
    if description is None:
        raise UserError(f"{places.of(spec)}: expected a trained run, found none")
    fields = ("dataset", "method", "protocol", "scale", "seed", "steps", "classifier_width", "generator_width")
    known = description["provenance"]
    return {
        **{name: getattr(spec, name) for name in fields},
        "training_images": known["training_images"],
        "training_commit": known["commit"],
    }
