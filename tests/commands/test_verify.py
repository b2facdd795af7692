"""--verify: the committed weights are the records', and a table that they do not give is refused."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from adv_networks import data, evaluation, networks, tables
from adv_networks.experiments import TABLES
from adv_networks.storage.files import write_text
from adv_networks.storage.records import merge, read
from tests.conftest import randomised
from tests.tables.test_tables import record_of

COMMITTED = Path(__file__).parents[2] / "results" / "cpu"


def test_committed_weights_are_those_of_the_records_and_small():
    recorded = {network for record in read(COMMITTED / "records.csv") for network in record.networks.items()}
    files = sorted((COMMITTED / "weights").glob("*.keras"))
    assert [file.stem for file in files] == [f"mnist-{method}-cpu-s0" for method in ("advnet", "pgd", "standard")]
    for file in files:
        assert (file.stem, evaluation.weights_hash(evaluation.load_classifier(file, "mnist"))) in recorded
        assert file.stat().st_size < 1_000_000


@pytest.fixture
def group(made, tmp_path):
    """A copy of them, which a test may change."""
    return shutil.copytree(made, tmp_path / "results" / "tiny")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results at scale tiny: the weights of A on the digits, their records, and the table that they give."""
    directory = tmp_path_factory.mktemp("made")
    (directory / "weights").mkdir()
    model = randomised(networks.d1((8, 8, 1), 10, 4))
    model.save(directory / "weights" / "digits-standard-tiny-s0.keras")
    test, records = data.load("digits", "test", limit=128), []
    for cell in TABLES["digits"].cells("tiny")[:3]:
        percent = 100 * evaluation.accuracy(model, *test, attack=cell.attack)
        records.append(record_of(cell, percent, images=128, key=cell.column, target_hash=evaluation.weights_hash(model)))
    merge(directory / "records.csv", records)
    write_text(directory / "digits.csv", tables.as_csv(tables.make_table(TABLES["digits"], records)))
    return directory


def test_same_numbers_pass_and_another_one_is_named(run, group):
    code, output, error = run("--verify", "--scale=tiny")
    assert code == 0, error
    assert output.count("standard (A)") == 3 and "3 cells are within 0.05 points" in output
    file = group / "digits.csv"
    rows = tables.make_table(TABLES["digits"], read(group / "records.csv"))
    rows[1]["measured_percent"] += 0.78
    write_text(file, tables.as_csv(rows))
    code, output, error = run("--verify", "--scale=tiny")
    assert (code, output, error.count("\n")) == (1, "", 1)
    assert f"digits, standard (A), FGS: committed {rows[1]['measured_percent']}, now " in error


def test_later_records_of_other_weights_of_the_same_name_do_not_matter(run, group):
    """As of somebody who trained the run again and evaluated that beside the committed records."""
    records = read(group / "records.csv")
    merge(group / "records.csv", [dataclasses.replace(records[0], key="later", target_hash="0123456789abcdef")])
    code, output, error = run("--verify", "--scale=tiny")
    assert code == 0, error
    assert "3 cells are within" in output


def test_other_weights_are_refused_and_so_are_none(run, group):
    file = group / "weights" / "digits-standard-tiny-s0.keras"
    randomised(networks.d1((8, 8, 1), 10, 4), seed=5).save(file)
    code, _, error = run("--verify", "--scale=tiny")
    assert code == 1 and "expected the weights of the records" in error
    file.unlink()
    code, _, error = run("--verify", "--scale=tiny")
    assert code == 1 and "expected the weights of a table's runs, found none" in error
