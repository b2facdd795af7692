"""The claims of the other four sources on their own printed numbers: verdicts worked out by hand, and how many parts hold."""

import csv
import importlib.resources
import math

import pytest

from adv_networks.claims import SOURCES, Number, Verdict
from adv_networks.experiments import TABLES, experiments_of
from adv_networks.papers.published import published

HOLDS, FAILS, UNDECIDED, NOT_MEASURED = Verdict

# As printed, without allowance for the sampling error; with how many parts hold of how many where that is of interest.
PRINTED = {
    "gan_poster": {
        "1": (HOLDS, 3, 4),  # not at 0.1: 0.97 against 0.96
        "2": (HOLDS, 6, 6),
        "3": (HOLDS, 4, 4),  # 98.4 to 55.1 and 76.5; the table has 55 and 76
        # Of the rest the poster has no number.
        **dict.fromkeys("456789", (NOT_MEASURED, None, None)),
    },
    "red_blue": {
        "1": (HOLDS, 4, 4),
        "2": (HOLDS, 12, 12),
        "3a": (HOLDS, 14, 14),
        "3b": (FAILS, 12, 14),  # (1e-4, 1e-5) has 5.52, above 5.34 and 4.99
        "3c": (FAILS, 21, 28),  # (1e-5, 0) has 81.46 at 0.10; none 76.70, (1e-4, 1e-5) 74.69, (1e-5, 1e-4) 73.64 at 0.25
        "4": (HOLDS, 8, 8),
        "5a": (HOLDS, 2, 2),
        "5b": (FAILS, 0, 2),  # 85.79 < 88.42, 80.52 < 80.54
        "6": (FAILS, 3, 4),  # confidence at 0.25: 72.69 < 76.70
        "7": (HOLDS, 16, 16),
        "8": (FAILS, 0, 2),  # 96.95 to 62.29 and 4.99
        "9": (HOLDS, 8, 8),
    },
    "cifar_report": {
        "1": (HOLDS, 6, 6),
        "2": (HOLDS, 5, 5),
        "3": (HOLDS, None, None),
        "4": (HOLDS, 6, 6),
        "5": (HOLDS, 5, 5),  # 678 of 8,805 are 7.70
        "6": (HOLDS, 8, 8),
        "7": (FAILS, 1, 4),  # at 0.01 it is the reverse; at 0.05 39.6 and 3.59 points
        "8": (FAILS, 0, 2),  # 47.95 < 57.99; 7.31 points
        "9": (HOLDS, 2, 2),
        # Figures, two numbers in the text, and one example.
        **dict.fromkeys(map(str, range(10, 18)), (NOT_MEASURED, None, None)),
    },
    "survey": {
        "1": (HOLDS, 2, 2),
        "3": (HOLDS, 4, 4),
        "4": (HOLDS, 4, 4),
        "5": (HOLDS, 4, 4),
        # Of our own photographs there is nothing published.
        **{f"{number} {dataset}": (NOT_MEASURED, None, None) for dataset in ("cifar10", "mnist") for number in (2, 3, 4, 5)},
        "6": (HOLDS, None, None),
        "7": (HOLDS, 2, 2),
        "8 mnist": (HOLDS, 3, 3),
        "8 imagenet": (HOLDS, 6, 6),
        "9 mnist": (HOLDS, 2, 2),
        "9 imagenet": (HOLDS, 4, 4),
        "10": (HOLDS, 8, 8),
        "11": (HOLDS, 2, 2),
        "12": (HOLDS, 2, 2),
        **dict.fromkeys(("13", "14"), (NOT_MEASURED, None, None)),
        # A figure, and pictures.
        **dict.fromkeys(("15", "27 cifar10", "27 mnist"), (NOT_MEASURED, None, None)),
        "16": (HOLDS, 20, 20),
        "17": (HOLDS, 20, 20),
        "18": (HOLDS, 56, 56),
        "19": (HOLDS, 16, 16),
        "20": (FAILS, 4, 8),  # A and C: adversarial training has 96.5 to 98.4
        "21": (HOLDS, 12, 12),
        "22": (FAILS, 11, 12),  # B under Carlini and Wagner's: 91.6 of 96.2
        "23": (HOLDS, 4, 4),  # 11.20 to 98.43 against 88.41 to 93.57
        "24": (HOLDS, 8, 8),
        "25": (HOLDS, 8, 8),
        "26": (NOT_MEASURED, None, None),  # a figure
    },
}

# What the printed numbers decide, but the images are too few for: a difference, and its 1.96 standard deviations.
TOO_FEW_IMAGES = {
    "gan_poster": set(),
    "red_blue": {
        "2",  # confidence 76.8 and 76.7: 0.1 ± 1.2
        "3b",  # 5.52 and 5.34: 0.2 ± 0.6
        "4",  # 62.29 and 60.99: 1.3 ± 1.4
    },
    "cifar_report": set(),  # The smallest difference is 4's, 13.77 and 12.47 of 8,805: 1.3 ± 1.0
    "survey": {
        "3",  # 36.4% of 99 and 49.0% of 96: 12.6 ± 13.8
        "4",  # 36.3% of 99 and 28.4% of 96: 7.9 ± 13.1
        "5",  # ε 8, top-1, 51.0 - 26.5 and 49.0 - 30.4: 5.9 points
        "18",  # 90.5 against 90: 0.5 ± 0.6
        "19",  # 80.3 against 80: 0.3 ± 0.8
    },
}


def as_printed(source):
    return {one.claim.number: one for one in SOURCES[source].judge_published(z=0)}


@pytest.mark.parametrize("source", PRINTED)
def test_printed_numbers_give_the_verdicts_worked_out_by_hand(source):
    judged = as_printed(source)
    assert judged.keys() == PRINTED[source].keys()
    for number, (verdict, holding, parts) in PRINTED[source].items():
        assert judged[number].verdict == verdict, number
        if parts is not None:
            each = [part.verdict(SOURCES[source].published(), 0) for part in judged[number].claim.predicate.parts]
            assert (each.count(HOLDS), len(each)) == (holding, parts), number


@pytest.mark.parametrize("source", PRINTED)
def test_sampling_error_leaves_undecided_what_so_few_images_cannot_show(source):
    printed = as_printed(source)
    changed = [one for one in SOURCES[source].judge_published() if one.verdict != printed[one.claim.number].verdict]
    assert {one.verdict for one in changed} <= {UNDECIDED}
    assert {one.claim.number for one in changed} == TOO_FEW_IMAGES[source]


def test_about_a_hundred_photographs_decide_one_of_four_and_both_top_5():
    """By hand: 73.5 and 87.3% of 102 differ by 13.8 ± 10.7; 31.4 of 102 and 57.8 by 26.4 ± 13.2."""
    source = SOURCES["survey"]
    claims = {claim.number: claim.predicate for claim in source.claims}
    # In order: ε 16 top-1, top-5; ε 8 top-1, top-5.
    photos, themselves = ([part.verdict(source.published(), 1.96) for part in claims[number].parts] for number in "34")
    assert photos == [UNDECIDED, UNDECIDED, UNDECIDED, HOLDS]
    assert themselves == [UNDECIDED, HOLDS, UNDECIDED, HOLDS]


TRANSFER, SMALL, PHOTOGRAPHS = "survey-transfer", "survey-small", "photographs"


@pytest.mark.parametrize(
    ("number", "place", "cells", "verdict"),
    [
        ("15", (TRANSFER, "mnist"), {"κ 0 from A'": 12.5, "κ 20 from A'": 100.0}, HOLDS),
        ("15", (TRANSFER, "mnist"), {"κ 0 from A'": 12.5, "κ 20 from A'": 24.0}, UNDECIDED),  # 11.5 ± 7.5 points
        ("15", (TRANSFER, "mnist"), {"κ 0 from A'": 12.5, "κ 20 from A'": 12.5}, FAILS),
        ("27 mnist", (SMALL, "mnist"), {"Universal": 60.0, "One pixel": 5.0}, HOLDS),
        ("27 mnist", (SMALL, "mnist"), {"Universal": 24.0, "One pixel": 5.0}, FAILS),
        ("27 cifar10", (SMALL, "cifar10"), {"Universal": 60.0, "One pixel": 0.5}, UNDECIDED),  # 0.5 ± 1.7
    ],
)
def test_claims_on_figures_compare_what_they_name(number, place, cells, verdict):
    claim = next(claim for claim in SOURCES["survey"].claims if claim.number == number)
    numbers = {(*place, "standard (A)", column, "attack success rate"): Number(value, 200) for column, value in cells.items()}
    assert claim.predicate.verdict(numbers, 1.96) == verdict


@pytest.mark.parametrize(("iterative", "verdict"), [((1.9, 3.7), HOLDS), ((1.9, 4.3), FAILS)])
def test_the_iterative_attack_changes_less_at_both_epsilons(iterative, verdict):
    claim = next(claim for claim in SOURCES["survey"].claims if claim.number == "2 mnist")
    numbers = {
        (PHOTOGRAPHS, "mnist", f"{attack} {epsilon}", "standard (A)", "mean l2"): Number(value, None)
        for attack, values in (("fast", (2.1, 4.2)), ("iter. basic", iterative))
        for epsilon, value in zip(("0.1", "0.2"), values, strict=True)
    }
    assert claim.predicate.verdict(numbers, 1.96) == verdict


@pytest.mark.parametrize("source", PRINTED)
def test_claims_are_in_one_line_on_published_cells_of_their_source(source):
    claims = SOURCES[source].claims
    assert {claim.section for claim in claims} == SOURCES[source].sections.keys()
    assert len({claim.number for claim in claims}) == len({claim.text for claim in claims}) == len(claims)
    for claim in claims:
        assert claim.text and "\n" not in claim.text and "|" not in claim.text and len(claim.title) <= 128
        if PRINTED[source][claim.number][0] is not NOT_MEASURED:
            assert set(claim.predicate.cells()) <= published(source).keys(), claim.number


# What appendices write, which is of no single evaluation.
DERIVED = {"poster-curves", "report-latent", "survey-distillation-gradients"}


def test_claims_without_published_numbers_rest_on_cells_that_are_measured():
    """Those of the tables that there are, and those that appendices derive."""
    cells = {cell.measured_cell for table in TABLES.values() for cell in table.on(("mnist",)).cells("paper")}
    unpublished = [
        claim for source in PRINTED for claim in SOURCES[source].claims if PRINTED[source][claim.number][0] is NOT_MEASURED
    ]
    for claim in unpublished:
        assert {key for key in claim.predicate.cells() if key[0] not in DERIVED} <= cells, claim.number


# What is of a single image.
NOT_IN_TABLES = {"one horse", "one horse, labelled a cat"}


@pytest.mark.parametrize("source", ["gan_poster", "red_blue", "cifar_report"])
def test_every_published_number_has_its_cell(source):
    cells = {cell.published_cell for table in TABLES.values() if table.paper == source for cell in table.cells("paper")}
    assert {key for key in published(source) if key[2] not in NOT_IN_TABLES} <= cells


def test_every_table_of_attacks_and_defences_is_in_some_claim():
    used = {key for source in PRINTED for claim in SOURCES[source].claims for key in claim.predicate.cells()}
    tables = {key[0] for key in used}
    of_ours = {"1", "poster-game", "photographs", "report-noise", "report-contrastive"}
    of_ours |= {"survey-defensegan-steps", "survey-transfer", "survey-small"}
    assert tables == {key[0] for source in PRINTED for key in published(source)} | of_ours | DERIVED


def test_every_published_number_of_the_lecture_has_its_cell_but_those_on_imagenet():
    """Read from the file itself; of one table the lecture does not say the data set."""
    cells = {cell.published_cell for table in TABLES.values() if table.paper == "survey" for cell in table.cells("paper")}
    file = importlib.resources.files("adv_networks").joinpath("published", "other_tables.csv")
    lines = [line for line in csv.DictReader(file.read_text(encoding="utf-8").splitlines()) if line["source"] == "survey"]
    places = [(line["table"], line["dataset"].replace("unstated", "mnist"), line["row"], line["column"]) for line in lines]
    metrics = [() if line["metric"] == "accuracy" else (line["metric"],) for line in lines]
    printed = {(*place, *metric) for place, metric in zip(places, metrics, strict=True) if place[1] != "imagenet"}
    assert len(printed) == 252 and printed <= cells
    claimed = {key for claim in SOURCES["survey"].claims for key in claim.predicate.cells()}
    assert {key for key in printed if key[0] == "survey-magnet-grey"} <= claimed


def test_substitutes_learn_the_defended_classifier_that_they_attack():
    cells = {cell.measured_cell[2:]: cell for cell in TABLES["survey-defensegan-black"].cells("paper")}
    assert len(cells) == 56 + 16  # and Defense-GAN's on clean images, which are not published
    cell = cells["B/E", "Defense-GAN-Rec"]
    assert (cell.source, cell.target.own.behind, cell.target.classifier) == (None, "reconstructed", "dg_b")
    clean = [cells["B/E", f"no attack, Defense-GAN-{name}"] for name in ("Rec", "Orig")]
    assert [(cell.attack.kind, cell.target.own.behind) for cell in clean] == [("clean", "reconstructed"), ("clean", "standard")]
    assert (cell.attack.network, cell.attack.wrapped.epsilon, cell.is_white_box) == ("dg_e", 0.3, False)
    assert cells["D/B", "adversarial training 0.15"].target.epsilon == 0.15


def test_white_box_attacks_follow_the_gradient_of_the_published_row_and_those_of_ours():
    cells = {cell.measured_cell[2:]: cell for cell in TABLES["survey-defensegan-white"].cells("paper")}
    gradients = {"": "none", ", straight-through": "straight_through", ", through the descent": "exact"}
    for attack in ("FGSM 0.3", "RAND+FGSM 0.3/0.05", "CW L2"):
        found = {name: cells[f"{attack} / model C", f"Defense-GAN{name}"].attack.gradient for name in gradients}
        assert found == gradients
    assert not cells["FGSM 0.3 / model C", "MagNet"].attack.gradient


@pytest.mark.parametrize("table", ["survey-defensegan-white", "survey-defensegan-black"])
def test_defenses_beside_defense_gan_are_those_of_the_published_numbers(table):
    """MagNet refuses no image, and FGSM adversarial training learns from clean images too; a CPU can pay for the descent."""
    for cell in TABLES[table].cells("cpu"):
        own, column = cell.target.own, cell.column
        if column == "MagNet":
            assert own.magnet_parts == "reformer"
        if "Defense-GAN" in column:
            assert (own.projection_steps, own.projection_restarts) == (100, 4)
        if column.startswith("adversarial training"):
            assert own.fgs_clean_weight == 0.5


def test_lectures_ensemble_training_adds_the_models_own_examples():
    rows = {cell.row: cell.target.own for cell in TABLES["survey-ensemble"].cells("cpu")}
    assert all(own.own_examples for row, own in rows.items() if "A_adv-ens" in row)
    assert all(own.fgs_clean_weight == 0.5 for row, own in rows.items() if row.startswith("A_adv ("))
    assert len(rows) == 5


def test_one_gan_and_one_magnet_stand_in_front_of_all_classifiers():
    """Their training knows none; records tell apart what they stand in front of."""
    cells = [cell for table in TABLES.values() if table.paper == "survey" for cell in table.cells("paper", datasets=("mnist",))]
    runs = {spec.name for spec in experiments_of(cells)}
    in_front = {"mnist-defense_gan-paper-s0", "mnist-magnet-paper-s0", "mnist-magnet_grey-paper-s0"}
    assert {name for name in runs if "defense_gan" in name or "magnet" in name} == in_front
    assert {f"mnist-standard-paper-s0-classifier=dg_{letter}" for letter in "abcd"} < runs
    targets = {cell.target.target_name for cell in cells if cell.target.method == "defense_gan"}
    descent = "projection_restarts=4-projection_steps=100"
    assert {f"mnist-defense_gan-paper-s0-classifier=dg_{letter}-{descent}" for letter in "abcd"} < targets
    cell = next(cell for cell in cells if cell.measured_cell[2:] == ("A/B", "Defense-GAN-Rec"))
    assert cell.target.behind().name == "mnist-reconstructed-paper-s0-classifier=dg_a" in runs


def test_suite_without_a_ball_shows_success_and_its_own_norm():
    cells = [cell for cell in TABLES["1"].under("survey").cells("cpu") if not math.isfinite(cell.attack.epsilon)]
    assert {cell.metric.split()[-1] for cell in cells} == {"rate", "l2", "linf", "l0"}
    assert all(cell.metric in ("attack success rate", f"median {cell.attack.norm}") for cell in cells)
