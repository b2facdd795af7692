"""What a table's command trains, evaluates and writes, and how much of it where a part is asked for."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
import tensorflow_datasets as tfds

from adv_networks import evaluation, tables
from adv_networks.commands import make_tables, split_by_class, sweep_epsilon
from adv_networks.commands.base import Request, limited
from adv_networks.commands.make_claims import MakeClaims
from adv_networks.commands.make_tables import ALL_TABLES, MakeTables
from adv_networks.commands.print_plan import PrintPlan
from adv_networks.commands.split_by_class import SplitByClass
from adv_networks.commands.sweep_epsilon import SweepEpsilon
from adv_networks.data import Images
from adv_networks.errors import UsageError, UserError
from adv_networks.evaluation import check_records, checks
from adv_networks.experiments import DATASETS, SUITES, TABLES, Column, Row, Table, experiment, experiments_of
from adv_networks.storage.records import Outcome, merge, read
from adv_networks.tables.classifier_checks import check_classifiers
from adv_networks.tables.evaluate import is_attackable, worst_records
from adv_networks.tables.networks import Networks
from adv_networks.training import Workspace
from adv_networks.training.logs import read_metrics
from tests.tables.test_tables import record_of
from tests.training.helpers import undrawn


class Rehearsal(Workspace):
    """A workspace that trains nothing, and remembers what it was asked for."""

    def __init__(self, place, finished=lambda spec: False, **options):
        super().__init__(runs=place / "runs", results=place / "results", progress=False, **options)
        vars(self).update(trained=[], asked=[], finished=finished)

    def train(self, specs, *, wait):
        assert wait  # for runs that other processes train
        for spec in specs:
            self.trained.append(spec)
            self.of(spec).mkdir(parents=True, exist_ok=True)
            (self.of(spec) / "perturbations.png").write_bytes(b"a picture")

    def is_finished(self, spec):
        return self.finished(spec)

    def check_data(self, dataset, splits):
        self.asked.append((dataset, tuple(splits)))

    def images(self, dataset, split, limit=0):
        return Images(np.zeros((4, 28, 28, 1), np.uint8), np.zeros(4, np.int32))


@pytest.fixture
def measured(monkeypatch):
    """Every cell is measured as 50%, or as `percent` says of it, without a network; returns the cells that were."""

    class Measured(list):
        percent = staticmethod(lambda cell: 50.0)

    cells = Measured()

    def evaluate(asked, *_, **options):
        cells.extend(asked)
        return [record_of(cell, cells.percent(cell), dataset=cell.dataset) for cell in asked]

    for command in (make_tables, sweep_epsilon, split_by_class):
        monkeypatch.setattr(command, "evaluate", evaluate)
    monkeypatch.setattr(make_tables, "check_classifiers", lambda *_: [])
    return cells


def made(names, workspace, **asked) -> str:
    with undrawn():
        return "\n\n".join(MakeTables(names=tuple(names), request=Request(**asked), workspace=workspace).run())


def test_every_experiment_comes_once_and_after_what_it_needs():
    cells = TABLES["4"].cells("cpu", datasets=("mnist",)) + TABLES["1"].cells("cpu")
    names = [spec.name for spec in experiments_of(cells)]
    assert sorted(names) == sorted(
        f"mnist-{run}" for run in ("ensemble-cpu-s0", *(f"{m}-cpu-s{s}" for m in ("standard", "pgd", "advnet") for s in (0, 1)))
    )
    assert names.index("mnist-standard-cpu-s0") < names.index("mnist-ensemble-cpu-s0")


@pytest.mark.parametrize("seed", [0, 2])
def test_part_of_a_table_completes_its_data_set_and_keeps_what_others_have(seed, tmp_path, measured):
    workspace = Rehearsal(tmp_path)
    cells = TABLES["4"].cells("cpu", seed=seed)
    other = next(cell for cell in cells if cell.dataset == "svhn")
    merge(tmp_path / "results" / "cpu" / "records.csv", [record_of(other, 12.5)])
    text = made(["4"], workspace, seeds=(seed,), datasets=("mnist",))
    assert {spec.dataset for spec in workspace.trained} == {"mnist"}
    assert "svhn" not in text
    directory = tmp_path / "results" / "cpu" / (f"seed{seed}" if seed else "")
    with (directory / "table4.csv").open() as file:
        measured = [(row["dataset"], row["measured_percent"]) for row in csv.DictReader(file)]
    assert measured.count(("mnist", "50.0")) == 18
    assert measured.count(("svhn", "12.5")) == 1
    assert measured.count(("svhn", "")) == 17 and measured.count(("cifar10", "")) == 18


def test_claims_rest_on_the_networks_on_disk_where_they_are(tmp_path):
    """They were trained before those of the newest records, for instance by somebody else."""
    workspace = Workspace(runs=tmp_path / "runs", results=tmp_path / "results")
    command = MakeClaims(request=Request(), workspace=workspace)
    cell = TABLES["1"].cells("cpu")[0]
    records = [
        record_of(cell, percent, key=key, target_hash=key, images=10_000) for key, percent in (("mine", 10.0), ("theirs", 20.0))
    ]
    merge(tmp_path / "results" / "cpu" / "records.csv", records)

    def shown():
        list(command.run())
        text = (tmp_path / "results" / "cpu" / "claims.csv").read_text(encoding="utf-8")
        return sorted(set(re.findall(rf"{re.escape(f'{cell.row} {cell.column}')} (\d+\.\d\d)", text)))

    assert shown() == ["20.00"]
    workdir = workspace.of(cell.target)
    workdir.mkdir(parents=True)
    (workdir / "d.keras").write_bytes(b"weights")
    hashes = {"d.keras": {"file": evaluation.file_hash(workdir / "d.keras"), "weights": "mine"}}
    known = dict(experiment={}, provenance=dict(commit="", training_images=0), finished=True, hashes=hashes)
    (workdir / "experiment.json").write_text(json.dumps(known))
    assert shown() == ["10.00"]
    (workdir / "d.keras").unlink()
    assert shown() == ["20.00"]


def test_runs_that_are_not_finished_and_have_no_records_leave_their_cells_empty_when_asked(tmp_path, measured):
    workspace = Rehearsal(tmp_path, finished=lambda spec: spec.method != "advnet")
    made(["1"], workspace, finished_only=True)
    assert {spec.method for spec in workspace.trained} == {"standard", "pgd"}
    with (tmp_path / "results" / "cpu" / "table1.csv").open() as file:
        empty = {(row["row"], row["column"]) for row in csv.DictReader(file) if not row["measured_percent"]}
    of_c = {"adversarial network (C)"}
    assert {row for row, column in empty if not column.endswith("(C')")} == of_c
    assert len(empty) == 9 + 2 * 2  # C's row, and its surrogate's columns of the others


def test_every_table_is_checked_before_the_first_training(tmp_path):
    workspace = Rehearsal(tmp_path)
    with pytest.raises(UsageError, match="bn_evaluation: expected moving for attack"):
        made(["1", "protocol"], workspace, attack_suite="strong")
    assert workspace.trained == []


@pytest.mark.parametrize("options", [(), ("--epsilons=0.1",), ("--by_class",)])
def test_missing_data_set_is_found_before_the_first_training(options, run, tmp_path):
    code, output, error = run("--table=1", *options, f"--data_dir={tmp_path}")
    assert (code, output) == (1, "") and not (tmp_path / "runs").exists()
    assert "data set mnist: expected it prepared in" in error and "(--data_dir says" in error


def test_splits_are_asked_for_that_are_needed(tmp_path, measured):
    workspace = Rehearsal(tmp_path, finished=lambda spec: spec.dataset == "mnist")
    made(["1", "2"], workspace)
    assert workspace.asked == [("mnist", ("test",)), ("svhn", ("train", "test"))]


def test_each_table_is_printed_once_it_is_done(tmp_path, measured):
    class NotOnSVHN(Rehearsal):
        def train(self, specs, *, wait):
            specs = list(specs)
            if any(spec.dataset == "svhn" for spec in specs):
                raise UserError("no training on svhn")
            super().train(specs, wait=wait)

    texts = MakeTables(names=("1", "2"), request=Request(), workspace=NotOnSVHN(tmp_path)).run()
    assert next(texts).startswith("Table 1. ")
    with pytest.raises(UserError, match="no training on svhn"):
        next(texts)


def test_suite_attacks_the_tables_of_classifiers_on_moving_averages():
    attackable = [name for name in ALL_TABLES if is_attackable(TABLES[name], "strong")]
    assert attackable == ["1", "2", "3", "4", "6", "7", "regulariser"]
    assert all(is_attackable(TABLES[name], "paper") for name in ALL_TABLES)


@pytest.mark.parametrize("finished_only", [False, True])
def test_what_only_finished_runs_were_built_upon_is_not_trained_again(finished_only, tmp_path, measured):
    workspace = Rehearsal(tmp_path, finished=lambda spec: spec.method == "ensemble")
    made(["4"], workspace, finished_only=finished_only, datasets=("mnist",))
    names = {spec.name for spec in workspace.trained}
    assert "mnist-ensemble-cpu-s0" in names and "mnist-standard-cpu-s0" not in names
    assert len(names) == (1 if finished_only else 5)  # the surrogates and C
    of_a = "--method=standard --scale=cpu --seed=0"
    request = Request(datasets=("mnist",))
    assert of_a not in "".join(PrintPlan(names=("4",), request=request, workspace=workspace).run())
    assert of_a in "".join(PrintPlan(names=("4",), request=request, workspace=Rehearsal(tmp_path)).run())


def test_cells_of_runs_that_are_not_finished_are_what_the_records_say(tmp_path):
    cells = TABLES["1"].cells("cpu")
    merge(tmp_path / "results" / "cpu" / "records.csv", [record_of(cells[0], 12.5)])
    made(["1"], Rehearsal(tmp_path), finished_only=True)
    with (tmp_path / "results" / "cpu" / "table1.csv").open() as file:
        percent = {(row["row"], row["column"]): row["measured_percent"] for row in csv.DictReader(file)}
    assert {key: value for key, value in percent.items() if value} == {(cells[0].row, cells[0].column): "12.5"}


@pytest.mark.parametrize("by", ["epsilon", "class"])
def test_by_epsilon_and_by_class_runs_that_are_not_finished_are_left_out_when_asked(by, tmp_path, measured):
    workspace = Rehearsal(tmp_path, finished=lambda spec: spec.method != "advnet")
    options = dict(name="1", request=Request(finished_only=True), workspace=workspace)
    if by == "epsilon":
        list(SweepEpsilon(epsilons=(0.1,), **options).run())
    else:
        with pytest.raises(KeyError):  # It reads which images were right, which nobody wrote here.
            list(SplitByClass(**options).run())
    assert {spec.method for spec in workspace.trained} == {"standard", "pgd"}
    assert len({cell.column for cell in measured}) == (7 if by == "epsilon" else 3)
    assert {cell.row for cell in measured} == {"standard (A)", "adversarial PGD (B)"}


def test_several_seeds_have_a_table_of_their_own_and_each_is_trained_and_evaluated(tmp_path, measured):
    measured.percent = lambda cell: 50.0 + cell.target.seed
    workspace = Rehearsal(tmp_path)
    text = made(["1"], workspace, seeds=(0, 2))
    assert {spec.seed for spec in workspace.trained} == {0, 1, 2, 3}  # and their surrogates
    assert "51.00 [50.00, 52.00]" in text
    assert not (tmp_path / "results" / "cpu" / "table1.csv").exists()
    with (tmp_path / "results" / "cpu" / "seed0_2" / "table1.csv").open() as file:
        assert {(row["measured_percent"], row["seeds"]) for row in csv.DictReader(file)} == {("51.0", "0 2")}
    assert "Seeds 0, 1, 2, 3;" in (tmp_path / "results" / "cpu" / "seed0_2" / "table1.md").read_text()
    (plan,) = PrintPlan(names=("1",), request=Request(seeds=(0, 2)), workspace=workspace).run()
    assert plan.count("main.py") == len(workspace.trained) == 12


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["cifar100"])
def test_a_part_of_a_data_set_goes_all_the_way_and_its_table_says_that_it_measures_nothing(dataset, tmp_path, shallow):
    table = Table("2", "A part", (dataset,), (Row("standard (A)", "standard"),), (Column("No Noise", "clean"),))
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "file.INFO").touch()  # as of a file that is fetched already
    places = dict(runs=tmp_path / "runs", results=tmp_path / "results", data_dir=tmp_path)
    workspace = Workspace(**places, download=True, progress=False)
    with tfds.testing.mock_data(num_examples=64), pytest.MonkeyPatch.context() as patch:
        patch.setitem(TABLES, "2", table)
        made(["2"], workspace, overrides=dict(steps=2, batch_size=16, classifier="mlp"))
    text = (tmp_path / "results" / "cpu-batch_size=16-classifier=mlp-steps=2" / "table2.md").read_text()
    declared = DATASETS[dataset]
    assert f"**{dataset} does not have its official split here" in text and "measure nothing" in text
    assert f"of {declared.train_images} images, tested on 64 of {declared.test_images}" in text
    rows = (tmp_path / "results" / "cpu-batch_size=16-classifier=mlp-steps=2" / "table2.csv").read_text().splitlines()
    assert rows[0].split(",")[-1] == "data" and rows[1].split(",")[-1] == "subset"


@pytest.mark.parametrize(
    ("images", "training_images", "options", "expected"),
    [
        (10_000, 55_000, {}, "complete"),
        (10_000, 0, {}, "complete"),
        (9_984, 55_000, {}, "split"),
        (10_000, 54_999, {}, "part"),
        (999, 55_000, {}, "subset"),
        (1_000, 55_000, dict(test_images=1_000), "limited"),
        (1_000, 54_999, dict(test_images=1_000), "subset"),
        (960, 55_000, dict(test_images=1_000), "subset"),
        # BN on batch statistics leaves out what is beyond its last full batch of 64, whatever the training's batches are.
        (9_984, 55_000, dict(bn_evaluation="batch"), "complete"),
        (9_984, 55_000, dict(bn_evaluation="batch", batch_size=8), "complete"),
        (9_952, 55_000, dict(bn_evaluation="batch", batch_size=128), "split"),
        (960, 55_000, dict(bn_evaluation="batch", test_images=1_000), "limited"),
        (50, 55_000, dict(bn_evaluation="batch", test_images=50), "limited"),
    ],
)
def test_rows_say_whether_all_the_data_was_there(images, training_images, options, expected):
    cell = TABLES["1"].cells("cpu", **options)[0]
    record = record_of(cell, 50.0, images=images, training_images=training_images)
    assert tables.make_table(TABLES["1"], [record], **options)[0]["data"] == expected


@pytest.mark.long
def test_ablation_reports_what_its_runs_logged_and_times_them_once(tmp_path, monkeypatch):
    table = Table(
        "ablation", "Two regularisers", ("digits",),
        tuple(Row(name, "advnet", (("regulariser", name), ("compare_regulariser", name == "fd"))) for name in ("fd", "none")),
        (Column("No Noise", "clean"),), along_training=True,
    )  # fmt: skip
    monkeypatch.setitem(TABLES, "ablation", table)
    workspace = Workspace(runs=tmp_path / "runs", results=tmp_path / "results", progress=False)
    small = dict(
        steps=20, classifier="mlp", classifier_width=2, generators=("released_mnist",), generator_width=2, validation=0
    )
    asked = dict(scale="tiny", overrides=small)
    made(["ablation"], workspace, **asked)
    (directory,) = (tmp_path / "results").iterdir()
    with (directory / "ablation-training.csv").open() as file:
        training = list(csv.DictReader(file))
    for line in training:
        logged = read_metrics(tmp_path / "runs" / line["run"])
        last = [entry["g_gradient_norm"] for entry in logged if entry["step"] > 18]
        assert float(line["g_gradient_norm_last_tenth"]) == pytest.approx(np.mean(last), rel=1e-3)
        assert float(line["seconds_per_step"]) > 0
    assert [line["regulariser_norm_last_tenth"] == "" for line in training] == [False, True]
    with (directory / "ablation-agreement.csv").open() as file:
        agreement = list(csv.DictReader(file))
    assert [(line["row"], line["step"]) for line in agreement] == [("fd", "10"), ("fd", "20")]
    text = (directory / "ablation.md").read_text()
    assert "## Along the runs" in text and "## The finite difference beside the exact product" in text
    assert (directory / "ablation-digits.png").read_bytes().startswith(b"\x89PNG")
    before = {file.name: file.read_bytes() for file in directory.iterdir() if file.suffix in (".csv", ".md")}
    # The times of steps among them, which would be others if they were taken again.
    made(["ablation"], workspace, **asked)
    assert {name: (directory / name).read_bytes() for name in before} == before


@pytest.fixture
def small_strong_table(monkeypatch):
    """A table of one row under the strong suite, and the options that make it small."""
    table = Table("digits", "Small", ("digits",), (Row("standard (A)", "standard"),), (Column("No Noise", "clean"),
                  Column("PGD", "pgd")))  # fmt: skip
    monkeypatch.setitem(TABLES, "digits", table)
    small = dict(steps=40, classifier_width=2, generators=("released_mnist",), generator_width=2, validation=0)
    return table.under("strong"), dict(scale="tiny", attack_suite="strong", overrides=small | dict(test_images=40))


@pytest.mark.long
def test_strong_suite_is_reported_beside_the_tables_own_columns(small_strong_table, tmp_path, monkeypatch):
    table, asked = small_strong_table
    workspace = Workspace(runs=tmp_path / "runs", results=tmp_path / "results", progress=False)
    text = made(["digits"], workspace, **asked)
    (group,) = (tmp_path / "results").iterdir()
    with (group / "digits-strong.csv").open() as file:
        rows = {row["column"]: row for row in csv.DictReader(file)}
    assert list(rows) == [column.label for column in table.columns]
    assert {row["images"] for row in rows.values()} == {"40"}
    percent = {column: float(row["measured_percent"]) for column, row in rows.items()}
    assert percent["No Noise"] > 20
    assert percent["Worst case"] == min(percent.values()) < percent["No Noise"]
    assert percent["AutoAttack"] <= min(percent[name] for name in ("APGD-CE", "APGD-T", "FAB-T", "Square"))

    found = {record.attack: record for record in read(group / "strong" / "records.csv")}
    right = {outcome.key: outcome.array() for outcome in read(group / "strong" / "outcomes.csv", Outcome)}
    assert {key: own.sum() for key, own in right.items()} == {
        record.key: record.correct for record in read(group / "strong" / "records.csv")
    }
    crafted = [record for record in read(group / "strong" / "records.csv") if record.attack != "worst"]
    together = np.logical_and.reduce([right[record.key] for record in crafted])
    np.testing.assert_array_equal(right[found["worst"].key], together)
    assert found["generator"].source.startswith("digits-generator-tiny-s0")

    assert "checks against false security of digits-standard-tiny-s0" in text
    checked = read(group / "strong" / "checks.csv", check_records.CheckRecord)
    assert len(checked) == 10 and not (group / "records.csv").exists()
    assert f"| {checked[0].target} | {checked[0].check} | {checked[0].outcome} |" in (group / "digits-strong.md").read_text()

    before = {file: file.read_bytes() for file in group.rglob("*.csv")}
    written = (group / "strong" / "checks.csv").stat().st_mtime_ns
    assert made(["digits"], workspace, **asked) == text
    assert (group / "strong" / "checks.csv").stat().st_mtime_ns == written
    assert {file: file.read_bytes() for file in before} == before


def test_worst_case_of_what_is_not_there_is_left_out():
    cells = [cell for cell in TABLES["1"].under("strong").cells("cpu") if cell.attack.composed]
    assert len(cells) == 6 and worst_records(cells, [], {}) == []


def test_worst_case_is_that_of_its_own_seed():
    table, seeds = TABLES["1"].under("strong"), (0, 2)
    cells = [cell for seed in seeds for cell in table.cells("cpu", seed=seed) if cell.row == "standard (A)"]
    crafted = [cell for cell in cells if not cell.attack.composed]
    records = [record_of(cell, 50.0, key=f"{cell.target.seed} {cell.column}") for cell in crafted]
    right = {record.key: np.array([record.target == cells[0].target.name]) for record in records}
    found = worst_records(cells, records, right)
    expected = {f"mnist-standard-cpu-s{seed}": 100.0 * (seed == 0) for seed in seeds}
    assert len(found) == 4 and {record.target: record.accuracy_percent for record in found} == expected


def test_run_with_a_directory_of_its_own_has_what_it_builds_upon_beside_it(tmp_path):
    spec = experiment("digits", "generator", scale="tiny")
    workspace = Workspace(runs=tmp_path / "runs").with_workdir(spec, tmp_path / "elsewhere" / "mine")
    assert workspace.of(spec) == tmp_path / "elsewhere" / "mine"
    (needed,) = spec.needs().values()
    assert workspace.of(needed) == tmp_path / "elsewhere" / needed.name
    other = experiment("digits", "pgd", scale="tiny")
    assert workspace.of(other) == tmp_path / "runs" / other.name


@pytest.fixture
def asked(monkeypatch):
    """What the checks are asked for, instead of the checks: ε, start, statistics, percentages, number of changes."""
    asked = []

    def of_classifier(model, x, y, pgd, measured, *, bn_evaluation, changed):
        asked.append((pgd.epsilon, pgd.clip_start, bn_evaluation, [one.percent for one in measured], len(changed)))
        return [checks.Check("one", checks.PASS, "")]

    monkeypatch.setattr(checks, "of_classifier", of_classifier)
    return asked


class Nothing(Networks):
    def of(self, spec, file="d.keras"):
        return None


def test_rows_of_one_run_are_checked_as_each_evaluates_it(tmp_path, asked):
    settings = {"paper": (), "batch": (("bn_evaluation", "batch"),), "unclipped": (("pgd_clip_start", False),)}
    columns = (Column("No Noise", "clean"), Column("PGD", "pgd"))
    rows = tuple(Row(label, "advnet", own) for label, own in settings.items())
    table = Table("three", "Three evaluations of one run", ("digits",), rows, columns)
    cells = table.cells("tiny")
    records = [record_of(cell, float(number)) for number, cell in enumerate(cells)]
    networks = Nothing(Workspace(runs=tmp_path / "runs"))
    found = check_classifiers(table, cells, records, networks, tmp_path)
    ways = [(True, "moving", [1.0]), (True, "batch", [3.0]), (False, "moving", [5.0])]
    assert asked == [(0.15, *way, 0) for way in ways]
    assert {lines[0].target for _, lines in found} == {"digits-advnet-tiny-s0"}
    assert {row: lines[0].evaluation for row, lines in found} == {
        "paper": "",
        "batch": "bn_evaluation = batch",
        "unclipped": "pgd_clip_start = False",
    }
    assert read(tmp_path / "checks.csv", check_records.CheckRecord) == [lines[0] for _, lines in found]
    assert check_classifiers(table, cells, records, networks, tmp_path) == found and len(asked) == 3


def test_row_with_columns_at_several_epsilons_is_checked_once_at_the_middle_one(tmp_path, asked):
    columns = tuple(Column(f"PGD {size}", "pgd", settings=(("epsilon", size),)) for size in (0.3, 0.1, 0.2))
    table = Table("sweep", "A sweep", ("digits",), (Row("A", "standard"),), columns)
    cells = table.cells("tiny")
    records = [
        dataclasses.replace(record_of(cell, float(number)), key=cell.column, correct_before=8)
        for number, cell in enumerate(cells)
    ]
    found = check_classifiers(table, cells, records, Nothing(Workspace(runs=tmp_path / "runs")), tmp_path)
    assert asked == [(0.2, True, "moving", [2.0], 3)]
    assert [(row, [line.evaluation for line in lines]) for row, lines in found] == [("A", ["epsilon = 0.2"])]


def test_suites_images_limit_what_nothing_else_limits():
    limit = SUITES["strong"].images
    assert limited("paper", "cpu", {}) == {}
    assert limited("strong", "tiny", {}) == {}
    assert limited("strong", "cpu", dict(epsilon=0.1)) == dict(test_images=limit, epsilon=0.1)
    assert limited("strong", "cpu", dict(test_images=7)) == dict(test_images=7)


def test_attacks_that_know_their_target_are_told_from_those_that_do_not():
    cells = {(cell.row, cell.column): cell for cell in TABLES["1"].under("strong").cells("cpu")}
    knowing = {column for (row, column), cell in cells.items() if row == "standard (A)" and cell.is_white_box}
    black_box = {f"{attack}({letter}')" for attack in ("FGS", "PGD") for letter in "ABC"} | {"Square"}
    assert {column for row, column in cells if row == "standard (A)"} - knowing == black_box
    own = {cell.row: cell for cell in TABLES["digits"].cells("cpu") if cell.column == "G(C)"}
    assert not own["standard (A)"].is_white_box
    assert own["adversarial network (C)"].is_white_box
