"""From experiments to results: trains what is missing, evaluates what is missing, writes and prints tables."""

from __future__ import annotations

import dataclasses
import functools
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from adv_networks import along_training, checks, claims, costs, data, evaluation, strategies, tables, training
from adv_networks.errors import UserError
from adv_networks.experiments import (
    DATASETS,
    METHODS,
    SCALES,
    SETTINGS,
    SUITES,
    TABLES,
    Cell,
    Column,
    Experiment,
    Row,
    Table,
    experiment,
    generator_file,
    written,
)
from adv_networks.files import write_whole
from adv_networks.records import Outcome, Record, check, merge, read, record_key
from adv_networks.workers import is_chief

# What --table=all makes: the paper's tables and the ablations, and then the claims.
ALL_TABLES = (*sorted(name for name in TABLES if name.isdigit()), "protocol", "regulariser")

# The checks run their attacks on so many images, fewer where a scale divides the strong attacks' steps.
CHECKED_IMAGES, _FEWEST_CHECKED = 64, 8


@dataclasses.dataclass(frozen=True)
class Places:
    """Where things are: runs, results, data; `workdir` is the directory of the one run that is not under `runs`.

    `strategy` is where trainings put their variables, and its devices evaluate.
    """

    runs: Path = Path("runs")
    results: Path = Path("results")
    data_dir: Path | None = None
    download: bool = False
    workdir: tuple[Experiment, Path] | None = None
    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy)

    def of(self, spec: Experiment) -> Path:
        """The directory of a run."""
        return self.workdir[1] if self.workdir and self.workdir[0].name == spec.name else self.runs / spec.name

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
    strategy: str,
    replicas: int,
    attack_suite: str,
    checkpoint_seconds: float,
    progress: bool,
    overrides: dict[str, Any],
) -> str:
    """What `main.py` does, as text to print: evaluates `model`, makes or plans `table`, or runs one experiment.

    Of several workers the chief alone evaluates, and has something to print.
    """
    made = strategies.make(strategy, replicas)
    places = Places(Path(runs), Path(results), Path(data_dir) if data_dir else None, download, strategy=made)
    run_options = dict(checkpoint_seconds=checkpoint_seconds, progress=progress)
    if model is not None:
        return evaluate_classifier(Path(model), dataset, input_range, places, attack_suite=attack_suite, **overrides)
    if table is not None:
        options = dict(scale=scale, protocol=protocol, seed=seed, datasets=dataset and (dataset,), **overrides)
        if table == "claims":
            return "" if plan_only else make_claims(places, **options)
        names = [table]
        if table == "all":
            names = [name for name in ALL_TABLES if dataset is None or dataset in TABLES[name].datasets]
            names = [name for name in names if attack_suite == "paper" or TABLES[name].rows_are_classifiers]
        if plan_only:
            return plan(names, places, attack_suite=attack_suite, **options)
        text = run_tables(names, places, attack_suite=attack_suite, **run_options, **options)
        return f"{text}\n\n{make_claims(places, **options)}" if table == "all" and is_chief(made) else text
    spec = experiment(dataset or "digits", method, protocol=protocol, scale=scale, seed=seed, **overrides)
    if workdir is not None:
        places = dataclasses.replace(places, workdir=(spec, Path(workdir)))
    return run_experiment(spec, places, attack_suite=attack_suite, **run_options)


def run_experiment(
    spec: Experiment,
    places: Places,
    *,
    attack_suite: str = "paper",
    checkpoint_seconds: float = 120,
    progress: bool = True,
) -> str:
    """Trains (or resumes, or leaves) one experiment, evaluates its classifier white-box, and returns the small grid as text.

    With another `attack_suite` than the paper's the suite's columns join it, and what they need is trained too.
    """
    method = METHODS[spec.method]
    columns = [Column("No Noise", "clean")]
    if method.trains_classifier:
        columns += [Column("FGS", "fgs"), Column("PGD", "pgd")]
    if method.trains_generator:
        columns += [Column(f"G {name}", "generator", generator=number) for number, name in enumerate(spec.generators)]
    label = f"{method.name} ({method.letter})"
    if not method.trains_classifier:
        columns = [dataclasses.replace(column, target=spec.against, same_seed=True) for column in columns]
        label += f" against {spec.against} ({METHODS[spec.against].letter})"
    table = Table("run", spec.name, (spec.dataset,), (Row(label, spec.method),), tuple(columns)).under(attack_suite)
    options = dict(protocol=spec.protocol, **dict(spec.overrides))
    places_of_results = _record_directory(places.group(spec.scale, **options), attack_suite)
    options = _limited(attack_suite, spec.scale, options)
    cells = table.cells(spec.scale, seed=spec.seed, **options)
    chief = is_chief(places.strategy)
    if chief:
        check(places_of_results / "records.csv")
    _train([spec, *(cell.source.trained() for cell in cells if cell.source)], places, checkpoint_seconds, progress)
    if not chief:
        return ""
    models = _Models(places)
    records = evaluate(cells, models, places_of_results)
    rows = tables.make_table(table, records, scale=spec.scale, seed=spec.seed, **options)
    checked = check_classifiers(table, cells, records, models, places_of_results)
    return "\n".join(filter(None, [tables.as_text(table, rows, scale=spec.scale), checks.as_text(checked)]))


def _record_directory(group: Path, attack_suite: str) -> Path:
    """Where the records of a suite are: apart from the paper's, as they may be of fewer images."""
    return group if attack_suite == "paper" else group / attack_suite


def _limited(attack_suite: str, scale: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `Table.cells` with the suite's number of test images, where neither they nor the scale has one."""
    limit = SUITES[attack_suite].images
    return dict({"test_images": limit} if limit and not SCALES[scale].test_images else {}) | options


def run_tables(
    names: Sequence[str],
    places: Places,
    *,
    scale: str,
    seed: int = 0,
    datasets: tuple[str, ...] | None = None,
    attack_suite: str = "paper",
    checkpoint_seconds: float = 120,
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
        attack_suite: key of `experiments.SUITES`; the tables of another than the paper's have files of their own.
        checkpoint_seconds: time between a run's checkpoints.
        progress: show progress bars.
        options: protocol and overrides, as for `Table.cells`.
    """
    text = []
    for name in names:
        table = TABLES[name].under(attack_suite)
        group = places.group(scale, **options)
        kept = _record_directory(group, attack_suite)
        own = _limited(attack_suite, scale, options)
        cells = table.cells(scale, seed=seed, datasets=datasets, **own)
        chief = is_chief(places.strategy)
        if chief:
            check(kept / "records.csv")
        _train(experiments_of(cells), places, checkpoint_seconds, progress)
        if not chief:
            continue
        models = _Models(places)
        records = evaluate(cells, models, kept)
        records = [*read(kept / "records.csv"), *records]
        rows = tables.make_table(table, records, scale=scale, seed=seed, **own)
        directory = group / (f"seed{seed}" if seed else "")
        notes = _notes(tables.match(table.cells(scale, seed=seed, **own), records))
        checked = check_classifiers(table, cells, records, models, kept)
        appendix = _along_training(table, cells, places, directory) if table.along_training else ""
        appendix = "\n\n".join(filter(None, [appendix, checks.as_markdown(checked) if checked else ""]))
        tables.write(table, rows, directory, scale=scale, notes=notes, appendix=appendix)
        _copy_pictures(cells, places, directory)
        completed = [row for row in rows if datasets is None or row["dataset"] in datasets]
        text.append("\n".join(filter(None, [tables.as_text(table, completed, scale=scale), checks.as_text(checked)])))
    return "\n\n".join(text)


def _along_training(table: Table, cells: Sequence[Cell], places: Places, directory: Path) -> str:
    return along_training.write(tables.stem(table), cells, directory, places.of)


def _copy_pictures(cells: Sequence[Cell], places: Places, directory: Path) -> None:
    """The perturbations that each generator of the table's rows ended with, beside the table."""
    rows = (cell.source if cell.source and not METHODS[cell.source.method].trains_classifier else cell.target for cell in cells)
    for spec in {row.trained(): None for row in rows if METHODS[row.method].trains_generator}:
        picture = places.of(spec) / "perturbations.png"
        write_whole(directory / f"{spec.name}-perturbations.png", functools.partial(shutil.copyfile, picture))


def plan(names: Sequence[str], places: Places, *, scale: str, attack_suite: str = "paper", **options: Any) -> str:
    """Every training that the tables need, once, in an order that can be run: command, whether done, and the time it takes.

    Lines that a shell takes for comments count the others (ablations) beside numbered tables, and say how to run them all.
    """
    wanted = {name: experiments_of(TABLES[name].under(attack_suite).cells(scale, **options)) for name in names}
    numbered = [name for name in names if name.isdigit()]
    listed = dict.fromkeys(spec for name in numbered or names for spec in wanted[name])
    lines = [f"{_command(spec, places)}  # {_state(spec, places)}" for spec in listed]
    others = [name for name in names if numbered and name not in numbered]
    further = {spec for name in others for spec in wanted[name]} - listed.keys()
    if further:
        tables_of_them = " and ".join(f"--table={name} --plan" for name in others)
        lines.append(f"# {len(further)} further runs are of no table of the paper: {tables_of_them}")
    lines.append(
        "# 4 at a time, one run a GPU (CUDA_VISIBLE_DEVICES): append | examples/run_plan.sh 4; Slurm: examples/slurm_array.sh"
    )
    return "\n".join(lines)


def make_claims(places: Places, *, scale: str, seed: int = 0, datasets: tuple[str, ...] | None = None, **options: Any) -> str:
    """Runs the paper's statements on the records there are, writes `claims.csv` and `claims.md`, and returns them as text.

    Trains and evaluates nothing. `datasets` selects nothing: a statement rests on the cells that it names, of any data set.
    The other arguments are those of `run_tables`.
    """
    group = places.group(scale, **options)
    records = read(group / "records.csv")
    numbered = [table for name, table in TABLES.items() if name.isdigit()]
    rows = [row for table in numbered for row in tables.make_table(table, records, scale=scale, seed=seed, **options)]
    claims.write(rows, group / (f"seed{seed}" if seed else ""), scale=scale)
    return claims.as_text(rows, scale=scale)


def evaluate_classifier(
    file: Path,
    dataset: str,
    input_range: tuple[float, float],
    places: Places,
    *,
    attack_suite: str = "paper",
    **overrides: Any,
) -> str:
    """The grid (clean, FGS, PGD and what the suite adds) of a Keras classifier from elsewhere, and its checks, as text.

    Args:
        file: a `.keras` file, or a run's directory.
        dataset: whose test images to use.
        input_range: what the classifier's inputs for black and white are.
        places: where the data is.
        attack_suite: key of `experiments.SUITES`; its columns that need a run of ours, generators, are left out.
        overrides: settings of the attacks and the data: epsilon, norm, pgd_steps, test_images, bn_evaluation and so on.
    """
    spec = experiment(dataset, "standard", scale="paper", **_limited(attack_suite, "paper", overrides))
    images, labels = _test_images(dataset, spec.test_images, places)
    columns = (Column("No Noise", "clean"), Column("FGS", "fgs"), Column("PGD", "pgd"))
    table = Table("model", str(file), (dataset,), (Row("model", spec.method),), columns).under(attack_suite)
    right: dict[str, np.ndarray] = {}
    with strategies.local(places.strategy).scope():
        model = with_unit_range(evaluation.load_classifier(file, dataset), input_range)
        for column in table.columns:
            if column.worst_of:
                right[column.label] = np.logical_and.reduce([right[label] for label in column.worst_of if label in right])
            elif not column.source:
                attack = spec.attack(column.attack)
                right[column.label] = evaluation.right([model], images, labels, attack, model, spec.bn_evaluation)[0]
        measured = [
            checks.Measured(column.label, 100 * right[column.label].mean(), column.attack != "square")
            for column in table.columns[1:]
            if column.label in right and not column.worst_of
        ]
        shown = images[:CHECKED_IMAGES], labels[:CHECKED_IMAGES]
        found = checks.of_classifier(model, *shown, spec.attack("pgd"), measured, bn_evaluation=spec.bn_evaluation)
    lines = [f"{file} on {len(images)} test images of {dataset}, {_size(spec)}; accuracy in %"]
    lines += [f"{label:<12}{100 * own.mean():6.2f}" for label, own in right.items()]
    return "\n".join([*lines, checks.as_text(checks.records_of(str(file), found, "", ()))])


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
                ordered[spec.trained()] = None
    return list(ordered)


def _train(specs: Iterable[Experiment], places: Places, checkpoint_seconds: float, progress: bool) -> None:
    options = dict(data_dir=places.data_dir, download=places.download, strategy=places.strategy)
    for spec in specs:
        training.train(spec, places.of(spec), checkpoint_seconds=checkpoint_seconds, progress=progress, **options)


def evaluate(cells: Sequence[Cell], models: _Models, directory: Path) -> list[Record]:
    """The records of the cells, computing those that the directory's `records.csv` lacks and saving them there.

    Where cells are the worst of others, `outcomes.csv` keeps which images were labelled correctly.
    """
    crafted = [cell for cell in cells if cell.attack.kind != "worst"]
    keep_outcomes, places = len(crafted) < len(cells), models.places
    known = read(directory / "outcomes.csv", Outcome) if keep_outcomes else []
    outcomes = {outcome.key: outcome.array() for outcome in known} if keep_outcomes else None
    results = []

    def save(new: list[Record]) -> None:
        if outcomes is not None:
            merge(directory / "outcomes.csv", (Outcome.of(record.key, outcomes[record.key]) for record in new), Outcome)
        merge(directory / "records.csv", new)

    with strategies.local(places.strategy).scope():
        for dataset, bn_evaluation in dict.fromkeys((cell.dataset, cell.target.bn_evaluation) for cell in crafted):
            chosen = [cell for cell in crafted if (cell.dataset, cell.target.bn_evaluation) == (dataset, bn_evaluation)]
            images, labels = _test_images(dataset, chosen[0].target.test_images, places)
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


def _worst_records(cells: Sequence[Cell], records: Sequence[Record], outcomes: dict[str, np.ndarray] | None) -> list[Record]:
    """The records of the cells that are the worst of others in their row."""
    matched = {(cell.dataset, cell.row, cell.column): record for cell, record in tables.match(cells, records)}
    return [
        evaluation.worst(cell.attack, [matched[cell.dataset, cell.row, column] for column in cell.attack.parts], outcomes)
        for cell in cells
        if cell.attack.kind == "worst"
    ]


def check_classifiers(
    table: Table, cells: Sequence[Cell], records: Sequence[Record], models: _Models, directory: Path
) -> list[checks.CheckRecord]:
    """The checks of every classifier that is a row of the table, from the directory's `checks.csv` where that has them."""
    if not table.rows_are_classifiers:
        return []
    rows: dict[str, list[tuple[Cell, Record]]] = {}
    for cell, record in tables.match(cells, records):
        if record is not None:
            rows.setdefault(cell.target.name, []).append((cell, record))
    return [line for pairs in rows.values() for line in _checked(pairs, models, directory / "checks.csv")]


def _checked(pairs: Sequence[tuple[Cell, Record]], models: _Models, file: Path) -> list[checks.CheckRecord]:
    """The checks of one classifier, from its cells and their records."""
    spec, record = pairs[0][0].target, pairs[0][1]
    measured = [
        checks.Measured(cell.column, record.accuracy_percent, _knows_its_target(cell))
        for cell, record in pairs
        if cell.attack.kind not in ("clean", "worst")
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
        x, y = _test_images(spec.dataset, images, models.places)
        with strategies.local(models.places.strategy).scope():
            model = models.load(spec.trained(), "d.keras")
            found = checks.of_classifier(model, x, y, pgd, measured, bn_evaluation=spec.bn_evaluation)
        known = checks.records_of(spec.name, found, identity, labels)
        merge(file, known, checks.CheckRecord)
    return known


def _knows_its_target(cell: Cell) -> bool:
    """Whether the cell's attack was made with the target's gradients."""
    if cell.attack.kind == "square":
        return False
    target = cell.target.trained()
    against = cell.source.needs() if cell.source and cell.attack.kind == "generator" else None
    return cell.source is None or target in (cell.source.trained(), against)


def _source(cell: Cell) -> tuple[Experiment, str]:
    """The run, and its file, that the cell's attack is crafted on."""
    return cell.source or cell.target, generator_file(cell.generator) if cell.attack.kind == "generator" else "d.keras"


class _Models:
    """The networks of the runs, each loaded once, when it is first used."""

    def __init__(self, places: Places):
        self.places = places
        self.load = functools.cache(self._load)

    def _load(self, spec: Experiment, file: str) -> keras.Model:
        path = self.places.of(spec) / file
        return evaluation.load_classifier(path, spec.dataset) if file == "d.keras" else evaluation.load_model(path)

    def some(self, files: Mapping[str, tuple[Experiment, str]]) -> _Some:
        """The networks of these runs and files, by name."""
        return _Some(self, files)


class _Some(Mapping):
    """Networks by name, loaded when they are taken out."""

    def __init__(self, models: _Models, files: Mapping[str, tuple[Experiment, str]]):
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
        own = [(cell, record) for cell, record in measured if cell.dataset == dataset]
        specs = experiments_of(cell for cell, _ in own)
        declared, seen = DATASETS[dataset], [record for _, record in own]
        if any(tables.completeness(cell, record) == "subset" for cell, record in own):
            notes.append(
                f"**{dataset} is not complete here: trained on {_listed(record.training_images for record in seen)} of "
                f"{declared.train_images} images, tested on {_listed(record.images for record in seen)} of "
                f"{declared.test_images}. The numbers show that the code runs, and measure nothing.**"
            )
        elif (
            any(spec.extra_images for spec in specs) and min(record.training_images for record in seen) <= declared.train_images
        ):
            notes.append(f"{dataset}: trained without the {_listed(spec.extra_images for spec in specs)} extra images.")
        players = [f"{specs[0].classifier.upper()} of width {_listed(spec.classifier_width for spec in specs)}"]
        generators = [spec for spec in specs if METHODS[spec.method].trains_generator]
        if generators:
            players.append(
                f"{_listed(name.upper() for spec in generators for name in spec.generators)} of width "
                f"{_listed(spec.generator_width for spec in generators)} (the paper's default: "
                f"{SETTINGS['generator_width'].default})"
            )
        notes.append(
            f"{dataset}: {_listed(spec.steps for spec in specs)} iterations (the paper's: 200000) of "
            f"{_listed(spec.batch_size for spec in specs)} images out of {_listed(record.training_images for record in seen)}; "
            f"{', '.join(players)}; {_size(specs[0])}; {_listed(record.images for record in seen)} of "
            f"{declared.test_images} test images."
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
