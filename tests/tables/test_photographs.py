"""The tables of photographs: their cells, and the curves beside them."""

import re

import pytest

from adv_networks import tables
from adv_networks.experiments import TABLES, parse_attack, resolve_attack
from adv_networks.experiments.attacks import Defaults
from adv_networks.storage import pictures
from adv_networks.tables.appendices import APPENDICES, Made


@pytest.mark.parametrize("name", ["photographs", "photographs-alone"])
def test_every_column_is_of_its_data_set_and_attack(name):
    table = TABLES[name]
    for column in table.columns:
        attack = resolve_attack(column.attack, Defaults(0.3))
        attack.check(classes=10)
        assert not column.datasets or len(column.datasets) == 1
        assert parse_attack(column.attack).name in ("clean", "photo") or not column.label.startswith("photos")
    labels = {cell.row for cell in table.cells("paper", datasets=("mnist",))}
    assert labels and not [label for label in labels if "of 255" in label]


@pytest.mark.slow
def test_curves_are_a_picture_for_each_data_set(tmp_path):
    table = TABLES["photographs-alone"]
    rows = [row | {"measured_percent": 50.0} for row in tables.make_table(table, [], scale="cpu")]
    with pictures.written_as("svg"):
        text = APPENDICES[table.appendix](Made(table, (), rows, None, tmp_path))
    assert re.findall(r"`(.*?)`", text) == ["photographs-alone-cifar10.png", "photographs-alone-mnist.png"]
    assert {file.name for file in tmp_path.iterdir()} == {
        f"photographs-alone-{dataset}.{kind}" for dataset in table.datasets for kind in ("png", "svg")
    }
    unmeasured = Made(table, (), tables.make_table(table, [], scale="cpu"), None, tmp_path)
    assert APPENDICES[table.appendix](unmeasured) == ""
