"""The table of readings: each row's runs, surrogates and the published row that it is compared with."""

from adv_networks import tables
from adv_networks.experiments import TABLES, experiment
from adv_networks.papers.direct_approach.recipes import deviations
from adv_networks.papers.published import published
from tests.tables.test_tables import record_of

TABLE = TABLES["readings"]


def cells_of(dataset, row):
    return {cell.column: cell for cell in TABLE.cells("cpu", datasets=(dataset,)) if cell.row == row}


def test_every_published_row_has_its_readings_and_every_cell_a_published_number():
    cells = TABLE.cells("cpu")
    assert {cell.published_cell for cell in cells} == {key for key in published("direct_approach") if key[0] in "12347"} - {
        key for key in published("direct_approach") if key[0] == "4" and key[2] == "adversarial network (C)"
    }
    for dataset in TABLE.datasets:
        labels = [cell.row for cell in cells if cell.dataset == dataset and cell.column == "PGD"]
        assert len(labels) == len(set(labels))
        for row in ("standard (A)", "adversarial PGD (B)", "adversarial network (C)"):
            assert {f"{row}: text", f"{row}: released"} <= set(labels)
    labels = {cell.row for cell in cells if cell.dataset == "cifar100"}
    assert not any(label.startswith("ensemble") for label in labels)


def test_text_and_released_are_those_experiments_from_their_own_surrogates():
    for protocol, label in (("paper", "text"), ("released", "released")):
        cells = cells_of("mnist", f"adversarial network (C): {label}")
        assert cells["PGD"].target == experiment("mnist", "advnet", protocol=protocol)
        for letter, method in zip("ABC", ("standard", "pgd", "advnet"), strict=True):
            assert cells[f"FGS({letter}')"].source == experiment("mnist", method, protocol=protocol, seed=1)
    # The text's are the cells of Table 1, so that they share its records.
    own = {cell.column: cell for cell in TABLES["1"].cells("cpu") if cell.row == "adversarial PGD (B)"}
    for column, cell in cells_of("mnist", "adversarial PGD (B): text").items():
        assert (cell.target, cell.source, cell.attack) == (own[column].target, own[column].source, own[column].attack)


def test_the_texts_b_c_and_eat_are_attacked_from_the_released_a_too():
    for row, method in (("adversarial PGD (B)", "pgd"), ("ensemble adversarial training", "ensemble")):
        cells = cells_of("svhn", f"{row}: text, from the released A'")
        assert cells["No Noise"].target == experiment("svhn", method)
        assert cells["PGD(A')"].source == experiment("svhn", "standard", protocol="released", seed=1)
        assert cells["PGD(B')"].source == experiment("svhn", "pgd", seed=1)
    assert not cells_of("svhn", "standard (A): text, from the released A'")


def test_a_with_both_released_rates_is_attacked_from_such_an_a():
    rates = dict(learning_rate=0.1, weight_decay=1e-4)
    cells = cells_of("mnist", "standard (A): learning_rate = 0.1 and weight_decay = 0.0001")
    assert cells["FGS"].target == experiment("mnist", "standard", **rates)
    assert cells["FGS(A')"].source == experiment("mnist", "standard", seed=1, **rates)
    assert cells["FGS(C')"].source == experiment("mnist", "advnet", seed=1)
    # CIFAR10's rate is the text's.
    assert not cells_of("cifar10", "standard (A): learning_rate = 0.1 and weight_decay = 0.0001")


def test_each_difference_is_alone_and_all_of_them_are_the_released_code():
    for dataset in TABLE.datasets:
        for method in ("standard", "pgd", "advnet", "ensemble"):
            text, released = (experiment(dataset, method, protocol=name, scale="paper") for name in ("paper", "released"))
            together = {key: value for group in deviations(dataset, method).values() for key, value in group.items()}
            flipped = experiment(dataset, method, scale="paper", **together)
            different = {key for key, value in released.settings().items() if flipped.settings().get(key) != value}
            # What is left is read neither by this training nor by its evaluation.
            assert not any(text.trains_with(key) for key in different - {"protocol", "overrides"})
    labels = {cell.row for cell in TABLE.cells("cpu", datasets=("mnist",)) if cell.row.startswith("standard (A): ")}
    assert labels == {
        f"standard (A): {reading}"
        for reading in (
            *("text", "released", "learning_rate = 0.1 and weight_decay = 0.0001", "pgd_clip_start = False"),
            *("logits_initializer = glorot_uniform", "weight_decay = 0.0001", "learning_rate = 0.1"),
        )
    }


def test_a_row_is_shown_beside_the_published_row_of_its_reading():
    cell = cells_of("mnist", "standard (A): learning_rate = 0.1")["FGS"]
    (row,) = (
        row
        for row in tables.make_table(TABLE, [record_of(cell, 30.0)], datasets=("mnist",))
        if row["measured_percent"] is not None
    )
    assert (row["row"], row["published_percent"], row["difference"]) == (cell.row, 36.35, -6.35)
    markdown = tables.as_markdown(TABLE, [row], scale="cpu")
    assert "| standard (A): learning_rate = 0.1 | 30.00 (36.35, -6.35) |" in markdown


def test_surrogates_keep_the_overrides_of_the_command():
    cells = [cell for cell in TABLE.cells("cpu", datasets=("mnist",), steps=1500) if cell.source is not None]
    assert {spec.steps for cell in cells for spec in (cell.target, cell.source)} == {1500}
