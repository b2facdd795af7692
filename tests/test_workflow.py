"""Which experiments a table rests on, what is run for a part of it, and classifiers of other input ranges."""

import csv

import keras
import numpy as np
import pytest

from adv_networks import evaluation, networks, workflow
from adv_networks.experiments import TABLES
from adv_networks.records import merge
from tests.conftest import randomised
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
    text = workflow.run_tables(["4"], places, scale="cpu", seed=seed, datasets=("mnist",))
    assert {spec.dataset for spec in trained} == {"mnist"}
    assert "svhn" not in text
    directory = tmp_path / "results" / "cpu" / (f"seed{seed}" if seed else "")
    with (directory / "table4.csv").open() as file:
        measured = [(row["dataset"], row["measured_percent"]) for row in csv.DictReader(file)]
    assert measured.count(("mnist", "50.0")) == 18
    assert measured.count(("svhn", "12.5")) == 1
    assert measured.count(("svhn", "")) == 17 and measured.count(("cifar10", "")) == 18


@pytest.mark.parametrize("input_range", [(-1, 1), (0, 255)])
def test_classifier_of_another_input_range_gives_the_numbers_of_its_rescaled_twin(input_range):
    low, high = input_range
    twin = randomised(networks.d1((8, 8, 1), 10, 4))
    to_unit = keras.layers.Rescaling(1 / (high - low), -low / (high - low))
    own = keras.Sequential([keras.Input((8, 8, 1)), to_unit, twin])
    wrapped = workflow.with_unit_range(own, input_range)
    x = np.random.default_rng(1).random((64, 8, 8, 1), np.float32)
    y = np.arange(64) % 10
    np.testing.assert_allclose(wrapped(x), twin(x), atol=1e-4)
    assert evaluation.accuracy(wrapped, x, y) == evaluation.accuracy(twin, x, y)
