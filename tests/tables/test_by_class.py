"""Accuracy of each class: every number beside one computed from the network's gradient by hand, and the pictures of them."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from adv_networks import data, evaluation
from adv_networks.experiments import DATASETS, TABLES, Dataset
from adv_networks.storage.records import Outcome, read
from adv_networks.tables import by_class
from tests.tables.test_tables import record_of

SMALL = ("--scale=tiny", "--steps=60", "--classifier_width=2", "--epsilon=0.05", "--noprogress")


@pytest.mark.slow
def test_each_class_has_the_accuracy_that_its_images_have_on_their_own(run, tmp_path, monkeypatch):
    table = TABLES["digits"]
    monkeypatch.setitem(TABLES, "digits", dataclasses.replace(table, rows=table.rows[:1], columns=table.columns[:2]))
    code, output, error = run("--table=digits", "--by_class", *SMALL)
    assert code == 0, error
    (workdir,) = (tmp_path / "runs").iterdir()
    d, (images, labels) = evaluation.load_classifier(workdir), data.load("digits", "test", limit=128)
    x = tf.constant(images, tf.float32) / 255
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, d(x, training=False))
    attacked = {"No Noise": x, "FGS": tf.clip_by_value(x + 0.05 * tf.sign(tape.gradient(loss, x)), 0, 1)}
    right = {column: np.argmax(d(own, training=False), 1) == labels for column, own in attacked.items()}

    file = Path(output.strip())
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["column"], row["class"]) for row in rows] == [(name, str(label)) for name in attacked for label in range(10)]
    for row in rows:
        own = right[row["column"]][labels == int(row["class"])]
        assert (int(row["correct"]), int(row["images"]), row["run"]) == (own.sum(), len(own), workdir.name)
        assert float(row["measured_percent"]) == pytest.approx(100 * own.mean(), abs=0.006)
        assert 0 <= float(row["interval_low"]) <= 100 * own.mean() <= float(row["interval_high"]) <= 100
    assert len({row["measured_percent"] for row in rows}) > 5 and right["FGS"].sum() < right["No Noise"].sum()

    shown = {column: [[float(row["measured_percent"]) for row in rows if row["column"] == column]] for column in attacked}
    numbers = [row | {"class": int(row["class"]), "measured_percent": float(row["measured_percent"])} for row in rows]
    assert by_class.heat_maps_of(numbers) == (["standard (A)"], [str(label) for label in range(10)], shown)
    assert file.with_name("digits-digits-classes.png").read_bytes().startswith(b"\x89PNG")
    assert file.with_name("digits-digits-classes.svg").read_bytes().startswith(b"<?xml")
    kept = {outcome.key: outcome.array().sum() for outcome in read(file.with_name("outcomes.csv"), Outcome)}
    assert kept == {record.key: record.correct for record in read(file.with_name("records.csv"))}


def test_networks_without_an_attack_and_classes_without_images_have_no_number(tmp_path, monkeypatch):
    """As of a table whose columns differ from row to row, and of BN on the statistics of full batches."""
    cells = [cell for cell in TABLES["digits"].cells("cpu") if (cell.row, cell.column) != ("standard (A)", "FGS")]
    records = [record_of(cell, 50.0, key=f"{cell.row} {cell.column}") for cell in cells if cell.column in ("No Noise", "FGS")]
    outcomes = {record.key: np.array([True, False, True, True]) for record in records}
    named = Dataset("digits", None, (8, 8, 1), 3, 8, 8, 0, class_names=("cat", "dog", "emu"))
    monkeypatch.setitem(DATASETS, "digits", named)
    rows = by_class.make_rows(cells, records, outcomes, {"digits": np.array([2, 2, 0, 2, 1, 1])})
    by_class.write(TABLES["digits"], rows, tmp_path)
    networks, names, values = by_class.heat_maps_of(rows)
    assert (networks, names) == (["standard (A)", "adversarial network (C)"], ["cat", "emu"])
    assert values == {"No Noise": [[100.0, 66.67]] * 2, "FGS": [[None, None], [100.0, 66.67]]}


def test_classes_of_one_data_set_leave_those_of_the_others(tmp_path):
    table, right = TABLES["4"], {"record": np.array([True, False])}
    for dataset in ("mnist", "cifar10"):
        cells = table.cells("cpu", datasets=(dataset,))[:1]
        rows = by_class.make_rows(cells, [record_of(cells[0], 50.0, key="record")], right, {dataset: np.array([3, 3])})
        file = by_class.write(table, rows, tmp_path)
    with file.open(newline="") as handle:
        assert [(row["dataset"], row["class_name"]) for row in csv.DictReader(handle)] == [("mnist", "3"), ("cifar10", "cat")]
