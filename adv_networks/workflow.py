"""From experiments to results: trains what is missing, evaluates what is missing, writes and prints tables."""

from __future__ import annotations

import dataclasses
import functools
import shlex
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from adv_networks import attacks, costs, data, evaluation, tables, training
from adv_networks.errors import UserError
from adv_networks.experiments import (
    DATASETS,
    METHODS,
    SETTINGS,
    TABLES,
    Cell,
    Column,
    Experiment,
    Row,
    Table,
    experiment,
    written,
)
from adv_networks.files import write_whole
from adv_networks.records import Record, check, merge, read


@dataclasses.dataclass(frozen=True)
class Places:
    """Where things are: runs, results, data; `workdir` is the directory of the one run that is not under `runs`."""

    runs: Path = Path("runs")
    results: Path = Path("results")
    data_dir: Path | None = None
    download: bool = False
    workdir: tuple[Experiment, Path] | None = None

    def of(self, spec: Experiment) -> Path:
        """The directory of a run."""
        return self.workdir[1] if self.workdir and self.workdir[0] == spec else self.runs / spec.name

    def group(self, scale: str, *, protocol: str = "paper", **overrides: Any) -> Path:
        """The directory of the results that one scale, protocol and set of overrides have in common."""
        parts = [scale] + [protocol] * (protocol != "paper")
        return self.results / "-".join(parts + [f"{key}={written(value)}" for key, value in sorted(overrides.items())])


def run(
    *,
    dataset: str | None,
    method: str,
    protocol: str,
    scale: str,
    seed: int,
    table: str | None,
    plan_only: bool,
    model: str | None,
    input_range: tuple[float, float] | None,
    data_dir: str | None,
    download: bool,
    workdir: str | None,
    runs: str,
    results: str,
    progress: bool,
    overrides: dict[str, Any],
) -> str:
    """What `main.py` does, as text to print: evaluates `model`, or makes or plans `table`, or runs one experiment."""
    places = Places(Path(runs), Path(results), Path(data_dir) if data_dir else None, download)
    if model is not None:
        return evaluate_classifier(Path(model), dataset, input_range, places, **overrides)
    if table is not None:
        names = (
            [name for name in TABLES if name.isdigit() and (dataset is None or dataset in TABLES[name].datasets)]
            if table == "all"
            else [table]
        )
        options = dict(scale=scale, protocol=protocol, seed=seed, datasets=dataset and (dataset,), **overrides)
        return plan(names, places, **options) if plan_only else run_tables(names, places, progress=progress, **options)
    spec = experiment(dataset or "digits", method, protocol=protocol, scale=scale, seed=seed, **overrides)
    if workdir is not None:
        places = dataclasses.replace(places, workdir=(spec, Path(workdir)))
    return run_experiment(spec, places, progress=progress)


def run_experiment(spec: Experiment, places: Places, *, progress: bool = True) -> str:
    """Trains (or resumes, or leaves) one experiment, evaluates its classifier white-box, and returns the small grid as text."""
    columns = [Column("No Noise", "clean"), Column("FGS", "fgs"), Column("PGD", "pgd")]
    if METHODS[spec.method].trains_generator:
        columns.append(Column("G", "generator"))
    method = METHODS[spec.method]
    table = Table("run", spec.name, (spec.dataset,), (Row(f"{method.name} ({method.letter})", spec.method),), tuple(columns))
    options = dict(protocol=spec.protocol, **dict(spec.overrides))
    cells = table.cells(spec.scale, seed=spec.seed, **options)
    file = places.group(spec.scale, **options) / "records.csv"
    check(file)
    _train([spec], places, progress)
    records = evaluate(cells, places, file)
    rows = tables.make_table(table, records, scale=spec.scale, seed=spec.seed, **options)
    return tables.as_text(table, rows, scale=spec.scale)


def run_tables(
    names: Sequence[str],
    places: Places,
    *,
    scale: str,
    seed: int = 0,
    datasets: tuple[str, ...] | None = None,
    progress: bool = True,
    **options: Any,
) -> str:
    """Trains and evaluates what the tables lack, writes them to the results directory, and returns them as text.

    Args:
        names: keys of `experiments.TABLES`.
        places: where runs and results are.
        scale: the runs' scale.
        seed: of the classifiers under attack; other seeds than 0 have a directory of their own.
        datasets: complete only these data sets' cells; the others are filled from the records there are. None: all.
        progress: show progress bars.
        options: protocol and overrides, as for `Table.cells`.
    """
    text = []
    for name in names:
        table = TABLES[name]
        cells = table.cells(scale, seed=seed, datasets=datasets, **options)
        group = places.group(scale, **options)
        check(group / "records.csv")
        _train(experiments_of(cells), places, progress)
        records = evaluate(cells, places, group / "records.csv")
        records = [*read(group / "records.csv"), *records]
        rows = tables.make_table(table, records, scale=scale, seed=seed, **options)
        directory = group / (f"seed{seed}" if seed else "")
        notes = _notes(tables.match(table.cells(scale, seed=seed, **options), records))
        tables.write(table, rows, directory, scale=scale, notes=notes)
        _copy_pictures(cells, places, directory)
        completed = [row for row in rows if datasets is None or row["dataset"] in datasets]
        text.append(tables.as_text(table, completed, scale=scale))
    return "\n\n".join(text)


def _copy_pictures(cells: Sequence[Cell], places: Places, directory: Path) -> None:
    """The perturbations that each co-trained generator of the table's rows ended with, beside the table."""
    for spec in {cell.target: None for cell in cells if METHODS[cell.target.method].trains_generator}:
        picture = places.of(spec) / "perturbations.png"
        write_whole(directory / f"{spec.name}-perturbations.png", functools.partial(shutil.copyfile, picture))


def plan(names: Sequence[str], places: Places, *, scale: str, **options: Any) -> str:
    """Every training that the tables need, once, in an order that can be run: command, whether done, and the time it takes."""
    cells = [cell for name in names for cell in TABLES[name].cells(scale, **options)]
    return "\n".join(f"{_command(spec, places)}  # {_state(spec, places)}" for spec in experiments_of(cells))


def evaluate_classifier(file: Path, dataset: str, input_range: tuple[float, float], places: Places, **overrides: Any) -> str:
    """The white-box grid (clean, FGS, PGD) of a Keras classifier from elsewhere, as text.

    Args:
        file: a `.keras` file, or a run's directory.
        dataset: whose test images to use.
        input_range: what the classifier's inputs for black and white are.
        places: where the data is.
        overrides: settings of the attacks and the data: epsilon, norm, pgd_steps, test_images, bn_evaluation and so on.
    """
    model = with_unit_range(evaluation.load_classifier(file, dataset), input_range)
    spec = experiment(dataset, "standard", scale="paper", **overrides)
    images, labels = _test_images(dataset, spec.test_images, places)
    lines = [f"{file} on {len(images)} test images of {dataset}, {_size(spec)}; accuracy in %"]
    for label, name in (("No Noise", "clean"), ("FGS", "fgs"), ("PGD", "pgd")):
        accuracy = evaluation.accuracy(model, images, labels, attack=spec.attack(name), bn_evaluation=spec.bn_evaluation)
        lines.append(f"{label:<10}{100 * accuracy:6.2f}")
    outputs = attacks.predict(model, images[: evaluation.BATCH_SIZE]).numpy()
    if outputs.min() >= 0 and np.allclose(outputs.sum(1), 1, atol=1e-3):
        lines.append(
            "The outputs are probabilities, not logits: their loss has weaker gradients, so the attacks may be too weak."
        )
    return "\n".join(lines)


def with_unit_range(model: keras.Model, input_range: tuple[float, float]) -> keras.Model:
    """The same classifier for images in [0,1]."""
    low, high = input_range
    if (low, high) == (0, 1):
        return model
    return keras.Sequential([keras.Input(model.input_shape[1:]), keras.layers.Rescaling(high - low, low), model])


def experiments_of(cells: Iterable[Cell]) -> list[Experiment]:
    """The experiments that the cells rest on, each once, after those that it needs."""
    ordered: dict[Experiment, None] = {}
    for cell in cells:
        for spec in (cell.target, cell.source):
            if spec is not None:
                needed = spec.needs()
                ordered.update({needed: None} if needed else {})
                ordered[spec] = None
    return list(ordered)


def _train(specs: Iterable[Experiment], places: Places, progress: bool) -> None:
    for spec in specs:
        training.train(spec, places.of(spec), data_dir=places.data_dir, download=places.download, progress=progress)


def evaluate(cells: Sequence[Cell], places: Places, file: Path) -> list[Record]:
    """The records of the cells, computing and saving those that the record file lacks."""
    results, models = [], _Models(places)
    for dataset, bn_evaluation in dict.fromkeys((cell.dataset, cell.target.bn_evaluation) for cell in cells):
        chosen = [cell for cell in cells if (cell.dataset, cell.target.bn_evaluation) == (dataset, bn_evaluation)]
        images, labels = _test_images(dataset, chosen[0].target.test_images, places)
        wanted = {(cell.target.name, tables.source_name(cell), cell.attack) for cell in chosen}
        results += evaluation.grid(
            {cell.target.name: models.classifier(cell.target) for cell in chosen},
            {tables.source_name(cell): models.source(cell) for cell in chosen if cell.attack.kind != "clean"},
            dict.fromkeys(cell.attack for cell in chosen),
            images,
            labels,
            known=read(file),
            wanted=lambda target, source, attack, wanted=wanted: (target, source, attack) in wanted,
            provenance={cell.target.name: _provenance(cell.target, places) for cell in chosen},
            bn_evaluation=bn_evaluation,
            on_records=functools.partial(merge, file),
        )
    return results


class _Models:
    """The networks of the runs, each loaded once."""

    def __init__(self, places: Places):
        self.classifier = functools.cache(lambda spec: evaluation.load_classifier(places.of(spec), spec.dataset))
        self.generator = functools.cache(lambda spec: evaluation.load_model(places.of(spec) / "g.keras"))

    def source(self, cell: Cell) -> keras.Model:
        """What the cell's attack is crafted on."""
        spec = cell.source or cell.target
        return self.generator(spec) if cell.attack.kind == "generator" else self.classifier(spec)


def _test_images(dataset: str, limit: int, places: Places) -> data.Images:
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


def _notes(cells: Sequence[tuple[Cell, Record | None]]) -> list[str]:
    """What a reader must know of the numbers: how long and how wide the networks, on how much data, by which code."""
    measured = [(cell, record) for cell, record in cells if record is not None]
    notes = []
    for dataset in dict.fromkeys(cell.dataset for cell, _ in measured):
        specs = experiments_of(cell for cell, _ in measured if cell.dataset == dataset)
        seen = [record for cell, record in measured if cell.dataset == dataset]
        generators = [spec for spec in specs if METHODS[spec.method].trains_generator]
        notes.append(
            f"{dataset}: {_listed(spec.steps for spec in specs)} iterations (the paper's: 200000) of "
            f"{_listed(spec.batch_size for spec in specs)} images out of {_listed(record.training_images for record in seen)}; "
            f"{specs[0].classifier.upper()} of width {_listed(spec.classifier_width for spec in specs)}, "
            f"{_listed(spec.generator.upper() for spec in generators)} of width "
            f"{_listed(spec.generator_width for spec in generators)} (the paper's: {SETTINGS['generator_width'].default}); "
            f"{_size(specs[0])}; {_listed(record.images for record in seen)} of "
            f"{DATASETS[dataset].test_images} test images."
        )
    specs, records = experiments_of(cell for cell, _ in measured), [record for _, record in measured]
    notes.append(f"Seeds {_listed(spec.seed for spec in specs)}; protocol {_listed(spec.protocol for spec in specs)}.")
    notes.append(
        f"Trained at commit {_listed(record.training_commit for record in records)}, "
        f"evaluated at {_listed(record.commit for record in records)}; {_listed(record.versions for record in records)}."
    )
    return notes


def _size(spec: Experiment) -> str:
    return f"ε = {spec.epsilon:g}" + f" in {spec.norm}" * (spec.norm != "linf")


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _command(spec: Experiment, places: Places) -> str:
    named = dict(dataset=spec.dataset, method=spec.method, scale=spec.scale, seed=spec.seed)
    if spec.protocol != "paper":
        named["protocol"] = spec.protocol
    for key, value in spec.overrides:
        named[key] = ",".join(map(str, value)) if isinstance(value, tuple) else value
    named |= {"runs": places.runs, "results": places.results} | ({"data_dir": places.data_dir} if places.data_dir else {})
    return shlex.join(
        ["python", "main.py", *(f"--{key}={value}" for key, value in named.items()), *["--download"] * places.download]
    )


def _state(spec: Experiment, places: Places) -> str:
    if training.is_finished(spec, places.of(spec)):
        return "done"
    return f"to do, {costs.describe(spec)}"
