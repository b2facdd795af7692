"""Which attack a table says breaks each of its rows."""

from pathlib import Path

from adv_networks.experiments import TABLES
from adv_networks.tables.appendices import APPENDICES, Made

TABLE = TABLES["defences"]


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
