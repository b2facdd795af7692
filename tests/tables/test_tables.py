"""Tables from records: keys, empty cells, differences, and the files."""

import csv
import dataclasses
import io

import pytest
from scipy.stats import binomtest

from adv_networks import tables
from adv_networks.errors import UsageError
from adv_networks.experiments import TABLES
from adv_networks.papers.published import published
from adv_networks.storage.records import Record, hash_of_parts


def record_of(cell, accuracy, **changes):
    blank = Record(*([""] * 4), 0.0, 0.0, 0, 0, *([""] * 5), 0.0)
    known = dict(
        target=cell.target.name,
        source=tables.source_name(cell),
        attack=cell.attack.name,
        epsilon=cell.attack.epsilon,
        attack_settings=cell.attack.settings(),
        bn_evaluation=cell.target.bn_evaluation,
        accuracy_percent=accuracy,
        images=10_000,
        scale=cell.target.scale,
    )
    known |= changes
    known.setdefault("correct", round(known["accuracy_percent"] / 100 * known["images"]))
    return dataclasses.replace(blank, **known)


@pytest.mark.parametrize("name", [name for name in TABLES if name.isdigit()])
def test_cells_are_exactly_the_published_ones(name):
    own = {(cell.table, cell.dataset, cell.row, cell.column) for cell in TABLES[name].cells("cpu")}
    assert own == {key for key in published("direct_approach") if key[0] == name}


def test_missing_record_is_an_empty_cell():
    cells = TABLES["1"].cells("cpu")
    rows = tables.make_table(TABLES["1"], [record_of(cells[2], 1.239)])
    measured = [row for row in rows if row["measured_percent"] is not None]
    assert len(rows) == 27
    assert [(row["column"], row["measured_percent"], row["published_percent"], row["difference"]) for row in measured] == [
        ("PGD", 1.24, 0.26, 0.98)
    ]
    lines = list(csv.DictReader(io.StringIO(tables.as_csv(rows))))
    assert lines[0]["measured_percent"] == lines[0]["difference"] == ""
    assert (*lines[0], "metric", "changed_percent") == tables.FIELDS  # what they would say goes without saying


def test_records_of_other_runs_sources_or_epsilons_fill_no_cell():
    cell = TABLES["1"].cells("cpu")[3]
    for change in (
        dict(target="other"),
        dict(source=cell.target.name),
        dict(attack="pgd"),
        dict(attack_settings=dataclasses.replace(cell.attack, epsilon=0.2).settings()),
        dict(bn_evaluation="batch"),
        dict(steps=7),
    ):
        rows = tables.make_table(TABLES["1"], [record_of(cell, 50.0, **change)])
        assert rows[3]["measured_percent"] is None


def test_a_later_record_counts():
    cell = TABLES["1"].cells("cpu")[0]
    rows = tables.make_table(TABLES["1"], [record_of(cell, 10.0), record_of(cell, 20.0)])
    assert rows[0]["measured_percent"] == 20.0


def test_cells_of_a_name_are_of_one_network():
    """Of a run that was trained again: what was measured of the other weights is not mixed in."""
    clean, fgs, _, transfer, *_ = TABLES["1"].cells("cpu")
    own, surrogate = clean.target.name, tables.source_name(transfer)
    records = [
        record_of(clean, 10.0, target_hash="old"),
        record_of(fgs, 20.0, target_hash="old", source_hash="old"),
        record_of(transfer, 30.0, target_hash="old", source_hash="old surrogate"),
        record_of(clean, 40.0, target_hash="new"),
    ]

    def measured(*further, **networks):
        rows = tables.make_table(TABLES["1"], [*records, *further], networks=networks)
        return [row["measured_percent"] for row in rows[:4]]

    assert measured() == [40.0, None, None, None]
    assert measured(**{own: "old"}) == [10.0, 20.0, None, 30.0]
    assert measured(**{own: "old", surrogate: "new surrogate"}) == [10.0, 20.0, None, None]
    # The surrogate is known again from the records of another target.
    b_under_a = next(cell for cell in TABLES["1"].cells("cpu") if tables.source_name(cell) == surrogate != cell.target.name)
    again = record_of(b_under_a, 50.0, target=f"{own}-of-another-table", source_hash="new surrogate")
    assert measured(again, **{own: "old"}) == [10.0, 20.0, None, None]


def test_cells_of_a_data_set_are_of_one_set_of_test_images():
    cells = TABLES["4"].cells("cpu")
    mnist, cifar10 = ([cell for cell in cells if cell.dataset == name][:2] for name in ("mnist", "cifar10"))
    records = [record_of(cell, 10.0, images_hash="old") for cell in (*mnist, *cifar10)]
    rows = tables.make_table(TABLES["4"], [*records, record_of(mnist[0], 20.0, images_hash="new")])
    measured = {(row["dataset"], row["column"]): row["measured_percent"] for row in rows if row["measured_percent"] is not None}
    assert measured == {("mnist", "No Noise"): 20.0, ("cifar10", "No Noise"): 10.0, ("cifar10", "FGS"): 10.0}


def test_worst_case_is_that_of_the_records_in_its_row():
    table = TABLES["1"].under("strong")
    own = [cell for cell in table.cells("cpu") if cell.row == "standard (A)"]
    records = {cell.column: record_of(cell, 10.0, key=cell.column) for cell in own}
    for cell in own:
        if cell.attack.kind == "worst":
            parts = hash_of_parts(records[column] for column in cell.attack.parts)
            records[cell.column] = dataclasses.replace(records[cell.column], source_hash=parts)
    column = {row["column"]: row["measured_percent"] for row in tables.make_table(table, records.values())[: len(own)]}
    assert set(column.values()) == {10.0}
    records["FGS(A')"] = dataclasses.replace(records["FGS(A')"], key="of another surrogate")
    rows = tables.make_table(table, records.values())[: len(own)]
    assert [row["column"] for row in rows if row["measured_percent"] is None] == ["Worst case"]


def test_scale_must_be_plain():
    cell = TABLES["1"].cells("cpu")[0]
    with pytest.raises(UsageError, match="expected records of one scale, received cpu, tiny"):
        tables.make_table(TABLES["1"], [record_of(cell, 1.0), record_of(cell, 1.0, scale="tiny")])
    with pytest.raises(UsageError, match="received no record"):
        tables.make_table(TABLES["1"], [])


def test_datasets_restrict_a_table():
    rows = tables.make_table(TABLES["4"], [], scale="cpu", datasets=("mnist",))
    assert {row["dataset"] for row in rows} == {"mnist"}
    assert len(rows) == 18


def test_markdown_and_text_show_measured_beside_published(tmp_path):
    cells = TABLES["1"].cells("cpu")
    rows = tables.make_table(TABLES["1"], [record_of(cells[0], 98.5)])
    tables.write(TABLES["1"], rows, tmp_path, scale="cpu", notes=["a note"])
    text = (tmp_path / "table1.md").read_text()
    assert "Scale `cpu`" in text and "- a note" in text
    assert "| standard (A) | 98.50 (99.14, -0.64) | (36.35) | (0.26) |" in text
    assert (tmp_path / "table1.csv").read_text() == tables.as_csv(rows)
    lines = tables.as_text(TABLES["1"], rows, scale="cpu").splitlines()
    assert "98.50 (99.14, -0.64)" in lines[2]
    assert len({len(line) for line in lines[1:]}) == 1


def test_generator_column_names_the_generator_of_its_run():
    cells = {(cell.row, cell.column): cell for cell in TABLES["digits"].cells("cpu")}
    cell = cells["standard (A)", "G(C)"]
    assert tables.source_name(cell) == "digits-advnet-cpu-s0/g"


@pytest.mark.parametrize(("correct", "images"), [(0, 100), (1, 10_000), (9_000, 10_000), (360, 360), (37, 128)])
def test_every_measured_cell_has_its_95_percent_interval(correct, images):
    percent = 100 * correct / images
    expected = binomtest(correct, images).proportion_ci(method="wilson")
    assert tables.wilson_interval(percent, images) == pytest.approx([100 * expected.low, 100 * expected.high], abs=1e-9)
    rows = tables.make_table(TABLES["1"], [record_of(TABLES["1"].cells("cpu")[0], percent, images=images)])
    assert (rows[0]["interval_low"], rows[0]["interval_high"]) == (round(100 * expected.low, 2), round(100 * expected.high, 2))
    assert (rows[0]["measured_least"], rows[0]["measured_most"], rows[0]["seeds"]) == (
        round(percent, 2),
        round(percent, 2),
        "0",
    )
    assert rows[1]["interval_low"] is None and rows[1]["seeds"] == ""


def test_several_seeds_are_a_mean_with_its_range(tmp_path):
    table, accuracies = TABLES["1"], {0: (98.0, 40.0), 1: (99.0,), 4: (98.45, 60.0)}
    made = []
    for seed, own in accuracies.items():
        cells = table.cells("cpu", seed=seed)
        records = [record_of(cell, accuracy, images=1_000) for cell, accuracy in zip(cells, own, strict=False)]
        made.append(tables.make_table(table, records, scale="cpu", seed=seed))
    clean, fgs, pgd, *_ = tables.over_seeds(made)
    mean = [100 * bound for bound in binomtest(985, 1_000).proportion_ci(method="wilson")]
    assert (clean["measured_percent"], clean["measured_least"], clean["measured_most"]) == (98.48, 98.0, 99.0)
    assert (clean["seeds"], clean["run"]) == ("0 1 4", " ".join(f"mnist-standard-cpu-s{seed}" for seed in accuracies))
    assert (clean["published_percent"], clean["difference"]) == (99.14, -0.66)
    assert (clean["interval_low"], clean["interval_high"]) == pytest.approx(mean, abs=0.05)
    assert (fgs["measured_percent"], fgs["measured_least"], fgs["measured_most"], fgs["seeds"]) == (50.0, 40.0, 60.0, "0 4")
    assert pgd["measured_percent"] is None and pgd["seeds"] == ""
    for *kinds, joined in (
        ["limited"] * 3,
        ["complete", "limited", "limited"],
        ["part", "complete", "part"],
        ["limited", "split", "split"],
        ["split", "subset", "subset"],
    ):
        assert tables.over_seeds([[made[0][0] | {"data": kind}] for kind in kinds])[0]["data"] == joined
    text = tables.as_text(table, tables.over_seeds(made), scale="cpu")
    assert "mean [least, most] of the seeds" in text and "98.48 [98.00, 99.00] (99.14, -0.66)" in text
