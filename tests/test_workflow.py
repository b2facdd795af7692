"""Which experiments a table rests on, what is run for a part of it, and classifiers of other input ranges."""

import csv

import numpy as np
import pytest
import tensorflow_datasets as tfds

from adv_networks import along_training, tables, workflow
from adv_networks.experiments import DATASETS, TABLES, Column, Row, Table
from adv_networks.logs import read_metrics
from adv_networks.records import merge
from tests.test_tables import record_of


def test_every_experiment_comes_once_and_after_what_it_needs():
    cells = TABLES["4"].cells("cpu", datasets=("mnist",)) + TABLES["1"].cells("cpu")
    names = [spec.name for spec in workflow.experiments_of(cells)]
    assert sorted(names) == sorted(
        f"mnist-{run}" for run in ("ensemble-cpu-s0", *(f"{m}-cpu-s{s}" for m in ("standard", "pgd", "advnet") for s in (0, 1)))
    )
    assert names.index("mnist-standard-cpu-s0") < names.index("mnist-ensemble-cpu-s0")


@pytest.mark.parametrize("seed", [0, 2])
def test_part_of_a_table_completes_its_data_set_and_keeps_what_others_have(seed, tmp_path, monkeypatch):
    places = workflow.Places(tmp_path / "runs", tmp_path / "results")
    cells = TABLES["4"].cells("cpu", seed=seed)
    other = next(cell for cell in cells if cell.dataset == "svhn")
    merge(tmp_path / "results" / "cpu" / "records.csv", [record_of(other, 12.5)])
    trained = []
    monkeypatch.setattr(workflow, "_train", lambda specs, *_: trained.extend(specs))
    monkeypatch.setattr(workflow, "_copy_pictures", lambda *_: None)
    monkeypatch.setattr(workflow, "evaluate", lambda cells, *_: [record_of(cell, 50.0, dataset=cell.dataset) for cell in cells])
    text = workflow.run_tables(["4"], places, scale="cpu", seeds=(seed,), datasets=("mnist",))
    assert {spec.dataset for spec in trained} == {"mnist"}
    assert "svhn" not in text
    directory = tmp_path / "results" / "cpu" / (f"seed{seed}" if seed else "")
    with (directory / "table4.csv").open() as file:
        measured = [(row["dataset"], row["measured_percent"]) for row in csv.DictReader(file)]
    assert measured.count(("mnist", "50.0")) == 18
    assert measured.count(("svhn", "12.5")) == 1
    assert measured.count(("svhn", "")) == 17 and measured.count(("cifar10", "")) == 18


def test_several_seeds_have_a_table_of_their_own_and_each_is_trained_and_evaluated(tmp_path, monkeypatch):
    places = workflow.Places(tmp_path / "runs", tmp_path / "results")
    trained = []
    monkeypatch.setattr(workflow, "_train", lambda specs, *_: trained.extend(specs))
    monkeypatch.setattr(workflow, "_copy_pictures", lambda *_: None)
    monkeypatch.setattr(workflow, "evaluate", lambda cells, *_: [record_of(cell, 50.0 + cell.target.seed) for cell in cells])
    text = workflow.run_tables(["1"], places, scale="cpu", seeds=(0, 2))
    assert {spec.seed for spec in trained} == {0, 1, 2, 3}  # and their surrogates
    assert "51.00 [50.00, 52.00]" in text
    assert not (tmp_path / "results" / "cpu" / "table1.csv").exists()
    with (tmp_path / "results" / "cpu" / "seed0_2" / "table1.csv").open() as file:
        assert {(row["measured_percent"], row["seeds"]) for row in csv.DictReader(file)} == {("51.0", "0 2")}
    assert "Seeds 0, 1, 2, 3;" in (tmp_path / "results" / "cpu" / "seed0_2" / "table1.md").read_text()
    plan = workflow.plan(["1"], places, scale="cpu", seeds=(0, 2))
    assert plan.count("main.py") == len(trained) == 12


@pytest.mark.parametrize("dataset", ["svhn", "cifar100"])
def test_a_part_of_a_data_set_goes_all_the_way_and_its_table_says_that_it_measures_nothing(dataset, tmp_path):
    table = Table("2", "A part", (dataset,), (Row("standard (A)", "standard"),), (Column("No Noise", "clean"),))
    places = workflow.Places(tmp_path / "runs", tmp_path / "results", download=True)
    with tfds.testing.mock_data(num_examples=64), pytest.MonkeyPatch.context() as patch:
        patch.setitem(TABLES, "2", table)
        workflow.run_tables(["2"], places, scale="cpu", steps=2, batch_size=16, progress=False)
    text = (tmp_path / "results" / "cpu-batch_size=16-steps=2" / "table2.md").read_text()
    declared = DATASETS[dataset]
    assert f"**{dataset} is not complete here" in text
    assert f"of {declared.train_images} images, tested on 64 of {declared.test_images}" in text
    rows = (tmp_path / "results" / "cpu-batch_size=16-steps=2" / "table2.csv").read_text().splitlines()
    assert rows[0].split(",")[-1] == "data" and rows[1].split(",")[-1] == "subset"


@pytest.mark.parametrize(
    ("images", "training_images", "expected"),
    [
        (10_000, 55_000, "complete"),
        (10_000, 0, "complete"),
        (9_984, 55_000, "complete"),
        (9_936, 55_000, "subset"),
        (10_000, 54_999, "subset"),
        (256, 55_000, "subset"),
    ],
)
def test_rows_say_whether_all_the_data_was_there(images, training_images, expected):
    cell = TABLES["1"].cells("cpu")[0]
    record = record_of(cell, 50.0, images=images, training_images=training_images)
    assert tables.make_table(TABLES["1"], [record])[0]["data"] == expected


def test_ablation_reports_what_its_runs_logged_and_times_them_once(tmp_path, monkeypatch):
    table = Table(
        "ablation", "Two regularisers", ("digits",),
        tuple(Row(name, "advnet", (("regulariser", name), ("compare_regulariser", name == "fd"))) for name in ("fd", "none")),
        (Column("No Noise", "clean"),), along_training=True,
    )  # fmt: skip
    monkeypatch.setitem(TABLES, "ablation", table)
    places = workflow.Places(tmp_path / "runs", tmp_path / "results")
    options = dict(scale="tiny", steps=20, generators=("released_mnist",), progress=False)
    workflow.run_tables(["ablation"], places, **options)
    directory = tmp_path / "results" / "tiny-generators=released_mnist-steps=20"
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
    monkeypatch.setattr(along_training, "seconds_per_step", None)
    workflow.run_tables(["ablation"], places, **options)
    assert {name: (directory / name).read_bytes() for name in before} == before
