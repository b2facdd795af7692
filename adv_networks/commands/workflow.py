"""From experiments to results: trains what is missing, evaluates what is missing, writes and prints tables."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from adv_networks import claims, data, evaluation, tables, training
from adv_networks.attacks import Attack
from adv_networks.commands import measuring, plans
from adv_networks.commands.places import Places
from adv_networks.evaluation import checks, gallery, own_model
from adv_networks.experiments import (
    DATASETS,
    METHODS,
    SCALES,
    SETTINGS,
    SUITES,
    TABLES,
    WHITE_BOX,
    Cell,
    Column,
    Experiment,
    Row,
    Table,
    experiment,
    experiments_of,
    find_dataset,
    generator_file,
)
from adv_networks.runtime import devices
from adv_networks.runtime.workers import is_chief
from adv_networks.storage import pictures
from adv_networks.storage.files import write_whole
from adv_networks.storage.records import Outcome, Record, check, read
from adv_networks.tables import along_training, by_class, by_epsilon

# What --table=all makes: the paper's tables and the ablations, of which an attack suite can attack some, and then the claims.
ALL_TABLES = (*sorted(name for name in TABLES if name.isdigit()), "protocol", "regulariser")

_GALLERY_IMAGES = 8


def run(
    *,
    dataset: str | None,
    method: str,
    protocol: str,
    scale: str,
    seed: int,
    table: str | None,
    plan_only: bool,
    finished_only: bool,
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
    seeds: tuple[int, ...] | None = None,
    epsilons: tuple[float, ...] | None = None,
    by_class: bool = False,
    attacks: tuple[str, ...] = (),
    run_flags: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """What `main.py` does, as texts to print, each once it is done: evaluates `model`, makes or plans `table`, or runs one.

    `run_flags` are those of the strategy and the checkpoints that the commands of a plan are to have.
    Of several workers the chief alone evaluates, and has something to print.
    """
    # A plan is of other machines.
    made = devices.make() if plan_only else devices.make(strategy, replicas)
    places = Places(Path(runs), Path(results), Path(data_dir) if data_dir else None, download, strategy=made)
    run_options = dict(checkpoint_seconds=checkpoint_seconds, progress=progress)
    dataset = dataset and find_dataset(dataset).name
    if model is not None:
        options = {}
        if method == "generator":
            adversary = experiment(dataset, method, protocol=protocol, scale=scale, seed=seed, **overrides)
            options = dict(adversary=adversary, run_options=run_options)
        options |= dict(attack_suite=attack_suite, attacks=attacks)
        yield evaluate_classifier(model, dataset, input_range, places, **options, **overrides)
    elif table is not None:
        options = dict(scale=scale, protocol=protocol, datasets=dataset and (dataset,), **overrides)
        view = dict(seeds=seeds or (seed,), epsilons=epsilons, by_class=by_class, plan_only=plan_only)
        attacked = dict(attack_suite=attack_suite, attacks=attacks, run_flags=run_flags)
        yield from _of_table(table, places, options, finished_only=finished_only, **view, **attacked, **run_options)
    else:
        spec = experiment(dataset or "digits", method, protocol=protocol, scale=scale, seed=seed, **overrides)
        if workdir is not None:
            places = dataclasses.replace(places, workdir=(spec, Path(workdir)))
        yield run_experiment(spec, places, attack_suite=attack_suite, attacks=attacks, **run_options)


def _of_table(
    table: str,
    places: Places,
    options: Mapping[str, Any],
    *,
    seeds: Sequence[int],
    epsilons: tuple[float, ...] | None,
    by_class: bool,
    plan_only: bool,
    attack_suite: str,
    attacks: Sequence[str],
    run_flags: Mapping[str, Any] | None,
    **how: Any,
) -> Iterator[str]:
    """What is asked of a table, "claims" or "all": its plan, another view of it, or itself; each once it is done."""
    names = [table]
    if table == "all":
        chosen = options["datasets"]
        names = [name for name in ALL_TABLES if not chosen or set(chosen) & set(TABLES[name].datasets)]
        names = [name for name in names if measuring.is_attackable(TABLES[name], attack_suite)]
    if plan_only:
        yield plans.plan(names, places, seeds=seeds, attack_suite=attack_suite, run_flags=run_flags, **options)
    elif epsilons is not None:
        yield run_sweep(table, epsilons, places, seed=seeds[0], **how, **options)
    elif by_class:
        yield run_by_class(table, places, seed=seeds[0], **how, **options)
    elif table != "claims":
        yield from each_table(names, places, seeds=seeds, attack_suite=attack_suite, attacks=attacks, **how, **options)
    # They are about the paper's attacks.
    if table == "claims" or (table == "all" and attack_suite == "paper" and not plan_only and is_chief(places.strategy)):
        yield make_claims(places, seed=seeds[0], **options)


def run_experiment(
    spec: Experiment,
    places: Places,
    *,
    attack_suite: str = "paper",
    attacks: Sequence[str] = (),
    checkpoint_seconds: float = 120,
    progress: bool = True,
) -> str:
    """Trains (or resumes, or leaves) one experiment, evaluates its classifier white-box, and returns the small grid as text.

    With another `attack_suite` than the paper's the suite's columns join it, and what they need is trained too. So do
    `attacks` of other libraries, as `experiments.parse_attack` reads them.
    """
    method = METHODS[spec.method]
    columns = [*(WHITE_BOX if method.trains_classifier else WHITE_BOX[:1])]
    if method.trains_generator:
        columns += [Column(f"G {name}", "generator", generator=number) for number, name in enumerate(spec.generators)]
    label = f"{method.name} ({method.letter})"
    if not method.trains_classifier:
        columns = [dataclasses.replace(column, target=spec.against, same_seed=True) for column in columns]
        label += f" against {spec.against} ({METHODS[spec.against].letter})"
    table = Table("run", spec.name, (spec.dataset,), (Row(label, spec.method),), tuple(columns))
    table = table.under(attack_suite).with_attacks(attacks)
    options = dict(protocol=spec.protocol, **dict(spec.overrides))
    places_of_results = _record_directory(places.group(spec.scale, **options), attack_suite)
    options = _limited(attack_suite, spec.scale, options)
    cells = table.cells(spec.scale, seed=spec.seed, **options)
    _check(cells, places, places_of_results)
    _train([spec, *(cell.source.trained() for cell in cells if cell.source)], places, checkpoint_seconds, progress)
    if not is_chief(places.strategy):
        return ""
    models = measuring.Models(places)
    records = measuring.evaluate(cells, models, places_of_results)
    rows = tables.make_table(table, records, scale=spec.scale, seed=spec.seed, **options)
    checked = measuring.check_classifiers(table, cells, records, models, places_of_results)
    return "\n".join(filter(None, [tables.as_text(table, rows, scale=spec.scale), checks.as_text(checked)]))


def _record_directory(group: Path, attack_suite: str) -> Path:
    """Where the records of a suite are: apart from the paper's, as they may be of fewer images."""
    return group if attack_suite == "paper" else group / attack_suite


def _limited(attack_suite: str, scale: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `Table.cells` with the suite's number of test images, where neither they nor the scale has one."""
    limit = SUITES[attack_suite].images
    return dict({"test_images": limit} if limit and not SCALES[scale].test_images else {}) | options


def run_tables(names: Sequence[str], places: Places, **options: Any) -> str:
    """The texts of `each_table`, which takes the same arguments, together."""
    return "\n\n".join(each_table(names, places, **options))


def each_table(
    names: Sequence[str],
    places: Places,
    *,
    scale: str,
    seeds: Sequence[int] = (0,),
    datasets: tuple[str, ...] | None = None,
    attack_suite: str = "paper",
    attacks: Sequence[str] = (),
    finished_only: bool = False,
    checkpoint_seconds: float = 120,
    progress: bool = True,
    **options: Any,
) -> Iterator[str]:
    """Trains and evaluates what the tables lack, writes them to the results directory, and gives each as text once it is done.

    What can be known to stop any of them is raised before the first training.

    Args:
        names: keys of `experiments.TABLES`.
        places: where runs and results are.
        scale: the runs' scale.
        seeds: of the classifiers under attack; others than 0 alone have a directory of their own. Of several the cells are
            means, and what is along the training is the first one's.
        datasets: complete only these data sets' cells; the others are filled from the records there are. None: all.
        attack_suite: key of `experiments.SUITES`; the tables of another than the paper's have files of their own.
        attacks: of other libraries, as `experiments.parse_attack` reads them; tables with them have files of their own too.
        finished_only: train nothing; the cells of runs that are not finished are what the records say, or stay empty.
        checkpoint_seconds: time between a run's checkpoints.
        progress: show progress bars.
        options: protocol and overrides, as for `Table.cells`.
    """
    group = places.group(scale, **options)
    kept = _record_directory(group, attack_suite)
    own = dict(_limited(attack_suite, scale, options), scale=scale)
    asked = [TABLES[name].on(datasets).under(attack_suite).with_attacks(attacks) for name in names]
    cells = [[table.cells(seed=seed, datasets=datasets, **own) for seed in seeds] for table in asked]
    if finished_only:
        cells = [[_finished(of_seed, places) for of_seed in of_seeds] for of_seeds in cells]
    _check([cell for of_seeds in cells for of_seed in of_seeds for cell in of_seed], places, kept)
    for table, of_seeds in zip(asked, cells, strict=True):
        _train(plans.trainings(itertools.chain(*of_seeds), places), places, checkpoint_seconds, progress)
        if is_chief(places.strategy):
            where = dict(kept=kept, directory=group / _directory_of(seeds))
            yield _make_table(table, of_seeds, places, **where, seeds=seeds, datasets=datasets, **own)


def _make_table(
    table: Table,
    of_seeds: Sequence[list[Cell]],
    places: Places,
    *,
    kept: Path,
    directory: Path,
    seeds: Sequence[int],
    datasets: tuple[str, ...] | None,
    scale: str,
    **options: Any,
) -> str:
    """Evaluates the cells of each seed, whose runs are there, writes their table, and returns it as text."""
    cells = list(itertools.chain(*of_seeds))
    models = measuring.Models(places)
    records = measuring.evaluate(cells, models, kept)
    records = [*read(kept / "records.csv"), *records]
    all_cells = [cell for seed in seeds for cell in table.cells(scale, seed=seed, **options)]
    networks = measuring.networks_on_disk(all_cells, places)
    made = [tables.make_table(table, records, scale=scale, networks=networks, seed=seed, **options) for seed in seeds]
    rows = made[0] if len(made) == 1 else tables.over_seeds(made)
    notes = _notes(tables.match(all_cells, records, networks))
    checked = measuring.check_classifiers(table, cells, records, models, kept)
    appendix = _along_training(table, of_seeds[0], places, directory) if table.along_training else ""
    appendix = "\n\n".join(filter(None, [appendix, checks.as_markdown(checked) if checked else ""]))
    tables.write(table, rows, directory, scale=scale, notes=notes, appendix=appendix)
    _copy_pictures(cells, places, directory)
    _draw_galleries(table, of_seeds[0], models, directory)
    completed = [row for row in rows if datasets is None or row["dataset"] in datasets]
    return "\n".join(filter(None, [tables.as_text(table, completed, scale=scale), checks.as_text(checked)]))


def run_sweep(
    name: str,
    epsilons: Sequence[float],
    places: Places,
    *,
    scale: str,
    seed: int = 0,
    datasets: tuple[str, ...] | None = None,
    finished_only: bool = False,
    checkpoint_seconds: float = 120,
    progress: bool = True,
    **options: Any,
) -> str:
    """Trains what a table lacks, evaluates its cells at several ε, writes CSV and pictures of that, and returns the CSV's name.

    Args:
        name: a key of `experiments.TABLES`.
        epsilons: of the attacks; the networks are those of the table, trained at its own.
        places: where runs and results are.
        scale: the runs' scale.
        seed: of the classifiers under attack.
        datasets: only these.
        finished_only: train nothing, and leave the cells of runs that are not finished out.
        checkpoint_seconds: time between a run's checkpoints.
        progress: show progress bars.
        options: protocol and overrides, as for `Table.cells`.
    """
    table = TABLES[name].on(datasets)
    cells = table.cells(scale, seed=seed, datasets=datasets, **options)
    cells = _finished(cells, places) if finished_only else cells
    group = places.group(scale, **options)
    if not _ready(cells, places, group, checkpoint_seconds, progress):
        return ""
    swept = by_epsilon.cells_at(cells, epsilons)
    rows = by_epsilon.make_rows(swept, measuring.evaluate(swept, measuring.Models(places), group))
    return str(by_epsilon.write(table, rows, group / _directory_of([seed])))


def run_by_class(
    name: str,
    places: Places,
    *,
    scale: str,
    seed: int = 0,
    datasets: tuple[str, ...] | None = None,
    finished_only: bool = False,
    checkpoint_seconds: float = 120,
    progress: bool = True,
    **options: Any,
) -> str:
    """Trains what a table lacks, evaluates its white-box cells class by class, writes CSV and pictures, returns the CSV's name.

    The arguments are those of `run_sweep`.
    """
    table = TABLES[name].on(datasets)
    cells = [cell for cell in table.cells(scale, seed=seed, datasets=datasets, **options) if measuring.knows_its_target(cell)]
    cells = _finished(cells, places) if finished_only else cells
    group = places.group(scale, **options)
    if not _ready(cells, places, group, checkpoint_seconds, progress):
        return ""
    records = measuring.evaluate(cells, measuring.Models(places), group, keep_outcomes=True)
    outcomes = {outcome.key: outcome.array() for outcome in read(group / "outcomes.csv", Outcome)}
    limits = {cell.dataset: cell.target.test_images for cell in cells}
    labels = {dataset: measuring.test_images(dataset, limit, places).labels for dataset, limit in limits.items()}
    return str(by_class.write(table, by_class.make_rows(cells, records, outcomes, labels), group / _directory_of([seed])))


def _finished(cells: Iterable[Cell], places: Places) -> list[Cell]:
    return [cell for cell in cells if _is_finished(cell, places)]


def _check(cells: Sequence[Cell], places: Places, directory: Path) -> None:
    """Raises what evaluating the cells, with records in the directory, would raise after hours of training."""
    measuring.check_attacks(cells)
    missing = (spec for spec in plans.trainings(cells, places) if not training.is_finished(spec, places.of(spec)))
    trained = {spec.dataset for spec in missing}
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        splits = ("train", "test") if dataset in trained else ("test",)
        data.check(dataset, splits, data_dir=places.data_dir, download=places.download)
    if is_chief(places.strategy):
        check(directory / "records.csv")


def _ready(cells: Iterable[Cell], places: Places, directory: Path, checkpoint_seconds: float, progress: bool) -> bool:
    """Trains what the cells rest on; whether this process is the one to evaluate them, with records in the directory."""
    cells = list(cells)
    _check(cells, places, directory)
    _train(plans.trainings(cells, places), places, checkpoint_seconds, progress)
    return is_chief(places.strategy)


def _directory_of(seeds: Sequence[int]) -> str:
    """Where the tables of the seeds are, below those of seed 0."""
    return "" if tuple(seeds) == (0,) else f"seed{'_'.join(map(str, seeds))}"


def _along_training(table: Table, cells: Sequence[Cell], places: Places, directory: Path) -> str:
    return along_training.write(tables.stem(table), cells, directory, places.of)


def _copy_pictures(cells: Sequence[Cell], places: Places, directory: Path) -> None:
    """The perturbations that each generator of the table's rows ended with, beside the table."""
    rows = (cell.source if cell.source and not METHODS[cell.source.method].trains_classifier else cell.target for cell in cells)
    for spec in {row.trained(): None for row in rows if METHODS[row.method].trains_generator}:
        picture = places.of(spec) / "perturbations.png"
        write_whole(directory / f"{spec.name}-perturbations.png", functools.partial(shutil.copyfile, picture))


def _draw_galleries(table: Table, cells: Sequence[Cell], models: measuring.Models, directory: Path) -> None:
    """Of each data set of a table of generators: what they, FGS and PGD add to images held out from training.

    All attack the classifier that the generators were trained against, which says what it sees.
    """
    own = [cell for cell in cells if measuring.knows_its_target(cell)] if not table.rows_are_classifiers else []
    places = models.places
    for dataset in dict.fromkeys(cell.dataset for cell in own):
        cells_of_it = [cell for cell in own if cell.dataset == dataset]
        spec = cells_of_it[0].target
        parts = data.training_and_validation(spec, data_dir=places.data_dir, download=places.download)
        shown = parts[1 if spec.validation else 0].first(_GALLERY_IMAGES)
        with devices.local(places.strategy).scope():
            classifier = models.load(spec.trained(), "d.keras")
            attacks = {name.upper(): (spec.attack(name), classifier) for name in ("fgs", "pgd")}
            for cell in cells_of_it:
                attacks[cell.row] = cell.attack, models.load(cell.source.trained(), generator_file(cell.generator))
            made = gallery.make(classifier, shown, attacks, bn_evaluation=spec.bn_evaluation)
        pictures.save_for_print(gallery.draw(made, dataset), directory / f"{tables.stem(table)}-{dataset}-gallery")


def make_claims(places: Places, *, scale: str, seed: int = 0, datasets: tuple[str, ...] | None = None, **options: Any) -> str:
    """Runs the paper's statements on the records there are, writes `claims.csv` and `claims.md`, and returns them as text.

    Trains and evaluates nothing. `datasets` selects nothing: a statement rests on the cells that it names, of any data set.
    The other arguments are those of `run_tables`; what rests on a table that is not made with those overrides is not measured.
    """
    group = places.group(scale, **options)
    records = read(group / "records.csv")
    numbered = [table for name, table in TABLES.items() if name.isdigit() and not table.row_settings & options.keys()]
    cells = (cell for table in numbered for cell in table.cells(scale, seed=seed, **options))
    own = dict(scale=scale, networks=measuring.networks_on_disk(cells, places), seed=seed, **options)
    rows = [row for table in numbered for row in tables.make_table(table, records, **own)]
    claims.write(rows, group / _directory_of([seed]), scale=scale)
    return claims.as_text(rows, scale=scale)


def evaluate_classifier(
    source: own_model.Source,
    dataset: str,
    input_range: tuple[float, float],
    places: Places,
    *,
    adversary: Experiment | None = None,
    attack_suite: str = "paper",
    attacks: Sequence[str] = (),
    run_options: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> str:
    """The grid (clean, FGS, PGD and what the suite adds) of a Keras classifier from elsewhere, what it comes to, its checks.

    Args:
        source: the classifier, its `.keras` file, a run's directory, or `module:function`, which returns it.
        dataset: whose test images to use.
        input_range: what the classifier's inputs for black and white are.
        places: where the data is, and the runs.
        adversary: where given, an experiment of the method generator, to train against the classifier and attack it with; the
            other attacks have its protocol too.
        attack_suite: key of `experiments.SUITES`; its columns that need a run of ours, generators, are left out.
        attacks: of other libraries, as `experiments.parse_attack` reads them, in no worst case.
        run_options: of that training, as `training.train` takes them: checkpoint_seconds and progress.
        overrides: settings of the attacks and the data: epsilon, norm, pgd_steps, test_images, bn_evaluation and so on.

    Raises:
        UserError: there is no such classifier, it is not one of the data set, or it was trained on another input range.
    """
    protocol = adversary.protocol if adversary else "paper"
    spec = experiment(dataset, "standard", protocol=protocol, scale="paper", **_limited(attack_suite, "paper", overrides))
    foreign = [spec.attack(name) for name in attacks]
    table = Table("model", own_model.title(source), (dataset,), (Row("model", spec.method),), WHITE_BOX).under(attack_suite)
    for attack in (*(spec.attack(column.attack) for column in table.columns), *foreign):
        attack.check(classes=find_dataset(dataset).classes, bn_evaluation=spec.bn_evaluation)
    scope = devices.local(places.strategy).scope
    with scope():
        own = own_model.load(source, dataset)
        model = own_model.with_unit_range(own, input_range)
    examples = data.load(dataset, "train", data_dir=places.data_dir, download=places.download, limit=own_model.CHECKED_IMAGES)
    own_model.check_range(own, input_range, examples)
    tested = measuring.test_images(dataset, spec.test_images, places)
    further: dict[str, tuple[Attack, Path]] = {}
    if adversary is not None:
        workdir = places.runs / f"{adversary.name}-{own_model.run_name(source, input_range, own)}"
        where = dict(data_dir=places.data_dir, download=places.download)
        training.train(adversary, workdir, classifier=model, **where, **(run_options or {}))
        attack = adversary.attack("generator")
        further = {f"G {name}": (attack, workdir / generator_file(n)) for n, name in enumerate(adversary.generators)}
    with scope():
        right = _right_by_column(model, table, spec, further, tested)
        measured = [
            checks.Measured(column.label, 100 * right[column.label].mean(), column.attack != "square")
            for column in table.columns[1:]
            if column.label in right and not column.worst_of
        ]
        shown = tested.first(measuring.CHECKED_IMAGES)
        found = checks.of_classifier(model, *shown, spec.attack("pgd"), measured, bn_evaluation=spec.bn_evaluation)
        for attack in foreign:
            (right[attack.title],) = evaluation.correct_masks([model], *tested, attack, model, spec.bn_evaluation)
    accuracies = {label: 100 * own.mean() for label, own in right.items()}
    worst = min(accuracies, key=accuracies.__getitem__)
    lines = [f"{own_model.title(source)} on {len(tested.images)} test images of {dataset}, {_size(spec)}; accuracy in %"]
    width = max(12, *(len(label) + 1 for label in accuracies))
    lines += [f"{label:<{width}}{accuracy:6.2f}" for label, accuracy in accuracies.items()]
    lines.append(
        f"It labels {accuracies['No Noise']:.2f}% of the images correctly as they are, and in the worst case of these "
        f"{accuracies[worst]:.2f}% ({worst})."
    )
    checked = checks.Checked("model", checks.records_of("this classifier", found, "", ()))
    return "\n".join([*lines, checks.as_text([checked])])


def _right_by_column(
    model: keras.Model,
    table: Table,
    spec: Experiment,
    further: Mapping[str, tuple[Attack, Path]],
    tested: data.Images,
) -> dict[str, np.ndarray]:
    """Whether the model labels each image correctly, by white-box column of a table and by further attack of a saved network.

    A worst case is also that of the further ones.
    """

    def under(attack: Attack, source: keras.Model) -> np.ndarray:
        return evaluation.correct_masks([model], *tested, attack, source, spec.bn_evaluation)[0]

    right = {
        column.label: under(spec.attack(column.attack), model)
        for column in table.columns
        if not column.worst_of and not column.source
    }
    right |= {label: under(attack, evaluation.load_model(file)) for label, (attack, file) in further.items()}
    for column in table.columns:
        if column.worst_of:
            parts = [right[label] for label in (*column.worst_of, *further) if label in right]
            right[column.label] = np.logical_and.reduce(parts)
    return right


def _train(specs: Iterable[Experiment], places: Places, checkpoint_seconds: float, progress: bool) -> None:
    options = dict(data_dir=places.data_dir, download=places.download, strategy=places.strategy)
    for spec in specs:
        training.train(spec, places.of(spec), checkpoint_seconds=checkpoint_seconds, progress=progress, **options)


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
    if not measured:
        return []
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


def _is_finished(cell: Cell, places: Places) -> bool:
    specs = (spec.trained() for spec in (cell.target, cell.source) if spec is not None)
    return all(training.is_finished(spec, places.of(spec)) for spec in specs)
