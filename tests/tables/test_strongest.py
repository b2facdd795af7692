"""Which attack a table says breaks each of its rows."""

import csv
from pathlib import Path

import pytest

from adv_networks.experiments import TABLES, experiment
from adv_networks.tables.appendices import APPENDICES, Made

TABLE = TABLES["defences"]
RESULTS = Path(__file__).parents[2] / "results"


def cells(left, **options):
    """Rows of the table on the digits: accuracies by column."""
    return [
        dict(dataset="digits", row="MagNet", column=column, metric="accuracy", measured_percent=percent) | options
        for column, percent in left.items()
    ]


def appendix(rows):
    return APPENDICES[TABLE.appendix](Made(TABLE, [], rows, None, Path()))


def test_strongest_attack_is_the_one_of_the_worst_case_that_leaves_least():
    labels = [column.label for column in TABLE.columns if column.metric == "accuracy"]
    left = dict.fromkeys(labels, 80.0) | {"No Noise": 40.0, "Adaptive": 12.0, "C&W L2": 0.0, "Worst case": 7.0}
    further = cells({"C&W L2": 0.7}, metric="median l2")
    assert "| digits | MagNet | 40.00 | 7.00 | Adaptive | 12.00 |" in appendix([*cells(left), *further])
    assert appendix(cells(left | {"PGD": None})) == ""


def test_every_defence_of_the_table_has_the_attack_that_knows_it():
    attacks = {cell.row: cell.attack.name for cell in TABLE.cells("cpu", datasets=("digits",)) if cell.column == "Adaptive"}
    assert attacks["MagNet"] == "evading_cw" and attacks["standard"] == "restarted_pgd"
    assert attacks["distillation"] == "pgd:steps=40:step_fraction=0.1:loss=margin"
    assert attacks["MagNet, reformer alone"] == "apgd_targeted:steps=50"
    assert attacks["Defense-GAN"] == "each_gradient:attack=apgd_ce:steps=50"


@pytest.mark.parametrize(("parts", "evades"), [("both", True), ("detector", True), ("reformer", False), ("none", False)])
def test_adaptive_attack_evades_where_there_are_detectors(parts, evades):
    assert experiment("digits", "magnet", magnet_parts=parts).attack("adaptive").evades == evades


# The last digit that tables print of 360 and of 500 images, in points.
ROUNDING = 0.01


@pytest.mark.parametrize(("group", "dataset"), [("cpu", "digits"), ("cpu-test_images=500", "mnist")])
def test_adaptive_attack_leaves_at_most_what_pgd_leaves_in_every_measured_row(group, dataset):
    with (RESULTS / group / "defences.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["dataset"] == dataset and line["metric"] == "accuracy"]
    left = {(line["row"], line["column"]): float(line["measured_percent"]) for line in lines if line["measured_percent"]}
    rows = [row.label for row in TABLE.rows]
    assert {row for row, _ in left} == set(rows), "expected every row to be measured"
    assert not {row for row in rows if left[row, "Adaptive"] > left[row, "PGD"] + ROUNDING}
