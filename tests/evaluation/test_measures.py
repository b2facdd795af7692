"""The measures beside accuracy against hand values, and where they go: into records, tables and what is printed."""

import dataclasses

import keras
import numpy as np
import pytest

from adv_networks import claims, evaluation, tables
from adv_networks.attacks import FGS
from adv_networks.attacks.composed import Clean
from adv_networks.attacks.distances import are_within, distances
from adv_networks.errors import UserError
from adv_networks.evaluation import PerImage
from adv_networks.evaluation.measures import as_text
from adv_networks.experiments import TABLES, Column, Row, Table
from adv_networks.storage.records import METRICS, Record, merge, read

X = np.zeros((3, 2, 2, 2))
MOVED = X + np.array([[0.3, 0, 0, 0, 0, 0, 0, 0], [3e-5, 9e-5, 0.4, 0.3, 0, 0, 0, 0], [0] * 8]).reshape(X.shape)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [("linf", [0.3, 0.4, 0]), ("l2", [0.3, 0.5, 0]), ("l1", [0.3, 0.70012, 0]), ("l0", [1, 1, 0])],
)
def test_distances_are_those_by_hand_and_l0_counts_pixels(norm, expected):
    np.testing.assert_allclose(distances(X, MOVED, norm), expected, atol=1e-7)
    assert are_within(X, MOVED, expected[1], norm).tolist() == [True, True, True]
    assert are_within(X, MOVED, 0.5 * expected[1], norm).tolist() == [expected[0] <= 0.5 * expected[1], False, True]


@pytest.fixture(scope="module")
def classifier():
    """Two classes by the sign of the image's mean about a half: its logits are ±10 (mean − 0.5)."""
    dense = keras.layers.Dense(2, use_bias=True)
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), dense])
    dense.set_weights([np.tile([[-2.5, 2.5]], (4, 1)), np.array([5.0, -5.0])])
    return model


# Of means 0.1, 0.45, 0.55 and 0.9, the last mislabelled.
IMAGES = np.array([0.1, 0.45, 0.55, 0.9], np.float32)[:, None, None, None] * np.ones((4, 2, 2, 1), np.float32)
LABELS = np.array([0, 0, 1, 0])


def test_measures_are_those_by_hand(classifier):
    attack = FGS(epsilon=0.1)
    clean, attacked = (evaluation.measure([classifier], IMAGES, LABELS, one, classifier)[0] for one in (Clean(), attack))
    assert clean.right.tolist() == [True, True, True, False] and not clean.changed.any()
    found = attacked.measures(clean.right)
    gaps = 20 * np.abs(np.array([0.2, 0.55, 0.45, 1.0]) - 0.5)
    assert found["confidence_percent"] == pytest.approx(100 * np.mean(1 / (1 + np.exp(-gaps))), abs=1e-3)
    assert (found["correct_before"], found["changed_percent"], found["queries_mean"]) == (3, 100.0, None)
    assert found["success_percent"] == pytest.approx(200 / 3, abs=1e-4)
    assert found["conditioned_percent"] == pytest.approx(100 / 3, abs=1e-4)
    assert (found["l0_median"], found["l0_mean"]) == (4, 4)
    assert found["linf_median"] == pytest.approx(0.1, abs=1e-4) and found["l2_mean"] == pytest.approx(0.2, abs=1e-4)
    printed = as_text({"fgs": found, "clean": clean.measures(clean.right)}).splitlines()
    assert printed[2].split()[:3] == ["fgs", "100", "66.67"] and printed[3].split()[-3:] == ["-", "-", "-"]
    # A median and a mean for each norm; no column for what no attack measured.
    assert f"{found['l2_median']:.4g} / {found['l2_mean']:.4g}" in printed[2] and "queries" not in printed[1]


def test_nothing_right_at_first_and_nothing_fooled_have_no_measures():
    none = np.zeros(2, bool)
    own = PerImage(none, np.ones(2), none, {norm: np.zeros(2) for norm in ("l0", "l2", "linf")}, np.array([3, 6]))
    found = own.measures(none)
    assert (found["correct_before"], found["conditioned_percent"], found["l2_median"]) == (0, None, None)
    assert found["queries_mean"] == 4.5


def test_records_have_the_measures_and_older_ones_are_measured_again_where_they_are_asked_for(classifier, tmp_path):
    def measured(**options):
        return evaluation.grid({"d": classifier}, {"d": classifier}, [FGS(epsilon=0.1)], IMAGES, LABELS, **options)

    (record,) = measured()
    assert record.measure("attack success rate") == pytest.approx(66.6667) and record.images_of("attack success rate") == 3
    assert record.measure("error") == 100 - record.accuracy_percent and record.images_of("median l2") is None
    merge(tmp_path / "records.csv", [record])
    assert read(tmp_path / "records.csv") == [record]
    younger = {field.name: None for field in dataclasses.fields(Record) if field.default is None}
    old = dataclasses.replace(record, **younger, seconds=99.0)
    assert old.key == record.key and old.confidence_percent is None
    assert measured(known=[old]) == [old]
    (again,) = measured(known=[old], measures=True)
    assert again.confidence_percent == record.confidence_percent


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"confidence_percent": 101.0}, "confidence_percent"),
        ({"l2_median": -1.0}, "l2_median"),
        ({"correct_before": 5}, "correct"),
    ],
)
def test_impossible_measures_are_refused(changes, field, classifier, tmp_path):
    (record,) = evaluation.grid({"d": classifier}, {}, [Clean()], IMAGES, LABELS)
    merge(tmp_path / "records.csv", [record])
    with pytest.raises(UserError, match=rf"a new line, column {field}\w*: expected "):
        merge(tmp_path / "records.csv", [dataclasses.replace(record, **changes)])


def test_tables_show_any_metric_and_claims_take_shares_with_their_images(tmp_path):
    shown = ("accuracy", "error", "confidence", "attack success rate", "median l2")
    columns = tuple(Column("FGS", "fgs", metric=metric) for metric in shown)
    table = Table("measured", "Measures", ("digits",), (Row("A", "standard"),), columns)
    cell = table.cells("tiny")[0]
    measures = dict(confidence_percent=97.0, success_percent=50.0, correct_before=80, l2_median=1.25, changed_percent=100.0)
    identity = (cell.attack.name, cell.attack.epsilon, 40.0, 40, 100, "a" * 16, "b" * 16, "c" * 16, cell.attack.settings())
    record = Record("d" * 16, cell.target.name, cell.target.name, *identity, "moving", 0.1, scale="tiny", **measures)
    rows = tables.make_table(table, [record])
    assert [row["measured_percent"] for row in rows] == [40, 60, 97, 50, 1.25]
    assert [row["images"] for row in rows] == [100, 100, 100, 80, 100]
    assert [row["interval_low"] is None for row in rows] == [False] * 4 + [True]
    key = ("measured", "digits", "A", "FGS")
    numbers = claims.measured([row | {"data": "complete"} for row in rows])
    assert numbers[key] == claims.Number(40, 100) and numbers[(*key, "attack success rate")] == claims.Number(50, 80)
    assert numbers[(*key, "median l2")].images is None
    assert "FGS, median l2" in tables.as_text(table, rows, scale="tiny")


def test_transposed_table_has_its_runs_as_columns():
    table = Table("turned", "Turned", ("digits",), (Row("A", "standard"),), (Column("FGSM", "fgs"),), transposed=True)
    (cell,) = table.cells("tiny")
    assert (cell.row, cell.column) == ("FGSM", "A")


def test_every_table_shows_metrics_that_there_are():
    assert {column.metric for table in TABLES.values() for column in table.columns} <= METRICS.keys()
