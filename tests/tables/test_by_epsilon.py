"""Accuracy against ε: the same networks under attacks of several sizes, beside accuracies computed on their own."""

import csv
import dataclasses
from pathlib import Path

import pytest

from adv_networks import data, evaluation
from adv_networks.attacks import FGS
from adv_networks.experiments import TABLES
from adv_networks.tables import by_epsilon
from tests.conftest import SMALLEST
from tests.tables.test_tables import record_of


@pytest.mark.slow
def test_curves_are_the_accuracies_at_each_epsilon_of_networks_trained_once(run, tmp_path, monkeypatch):
    table = TABLES["digits"]
    monkeypatch.setitem(TABLES, "digits", dataclasses.replace(table, rows=table.rows[:1], columns=table.columns[:2]))
    code, output, error = run("--table=digits", "--epsilons=0.05,0.4", *SMALLEST)
    assert code == 0, error
    (workdir,) = (tmp_path / "runs").iterdir()
    d, (images, labels) = evaluation.load_classifier(workdir), data.load("digits", "test", limit=128)
    with Path(output.strip()).open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["column"], float(row["epsilon"])) for row in rows] == [("No Noise", 0), ("FGS", 0.05), ("FGS", 0.4)]
    for row in rows:
        attack = FGS(epsilon=float(row["epsilon"])) if float(row["epsilon"]) else None
        expected = 100 * evaluation.accuracy(d, images, labels, attack=attack)
        assert float(row["measured_percent"]) == pytest.approx(expected, abs=0.006)
        assert float(row["interval_low"]) <= expected <= float(row["interval_high"])
    (picture,) = (tmp_path / "results").rglob("digits-digits-epsilon.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.with_suffix(".svg").read_bytes().startswith(b"<?xml")


@pytest.mark.slow
def test_curves_of_one_data_set_leave_those_of_the_others(tmp_path):
    table = TABLES["4"]
    for dataset, percent in (("mnist", 10.0), ("cifar10", 20.0), ("mnist", 30.0)):
        cells = by_epsilon.cells_at(table.cells("cpu", datasets=(dataset,))[:2], [0.1])
        rows = by_epsilon.make_rows(cells, [record_of(cell, percent) for cell in cells])
        file = by_epsilon.write(table, rows, tmp_path, trained_at={dataset: 0.3})
    with file.open(newline="") as handle:
        rows = [(row["dataset"], row["column"], row["measured_percent"]) for row in csv.DictReader(handle)]
    found = {"cifar10": "20.0", "mnist": "30.0"}
    assert rows == [(dataset, column, percent) for dataset, percent in found.items() for column in ("No Noise", "FGS")]
