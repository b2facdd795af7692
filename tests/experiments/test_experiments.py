"""The declared recipes against the paper's numbers, and how experiments are resolved and named."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from adv_networks.errors import UsageError
from adv_networks.experiments import ATTACKS, DATASETS, METHODS, PROTOCOLS, SCALES, TABLES, bundles, experiment, results_group
from adv_networks.networks import costs

# Table of recipes as the paper's Sections 4.1-4.3 and appendix state them:
# ε, D, η_D, drops, weight decay, G's optimiser, η_G, momentum or β1.
RECIPES = {
    "mnist": (0.3, "d1", 0.01, (), 1e-3, "adam", 0.002, 0.5),
    "svhn": (0.05, "d2", 0.01, (0.5,), 1e-5, "sgd", 0.01, 0.9),
    "cifar10": (0.03125, "d2", 0.1, (0.5,), 1e-5, "adam", 0.002, 0.5),
    "cifar100": (0.03125, "d2", 0.1, (0.5,), 1e-5, "adam", 0.002, 0.5),
}


@pytest.mark.parametrize("dataset", RECIPES)
def test_paper_recipe(dataset):
    spec = experiment(dataset, "advnet", scale="paper")
    fields = (
        *("epsilon", "classifier", "learning_rate", "learning_rate_drops", "weight_decay"),
        *("generator_optimizer", "generator_learning_rate", "generator_momentum"),
    )
    assert tuple(getattr(spec, field) for field in fields) == RECIPES[dataset]
    assert (spec.steps, spec.batch_size, spec.momentum) == (200_000, 64, 0.9)
    assert (spec.generator_steps, spec.adversarial_weight, spec.gradient_penalty) == (5, 1.0, 0.01)
    assert (spec.generators, spec.generator_width) == (("g1",), 64)
    assert spec.finite_difference_step == pytest.approx(spec.generator_learning_rate / 10)
    assert (spec.pgd_steps, spec.pgd_step_fraction) == (10, 0.25)


def test_released_protocol_differs_where_the_released_code_does():
    mnist, cifar = (experiment(name, "advnet", protocol="released", scale="paper") for name in ("mnist", "cifar10"))
    assert (mnist.regulariser_sign, cifar.regulariser_sign) == (-1, -1)
    assert cifar.finite_difference_step == pytest.approx(0.01)
    assert (mnist.discriminator_period, mnist.generators, mnist.generator_optimizer) == (5, ("released_mnist",), "sgd")
    assert (cifar.augment_pad, cifar.bn_evaluation, cifar.encoder_widths) == (2, "batch", (1, 2, 4))
    assert experiment("mnist", "standard", protocol="released").learning_rate == 0.1
    assert experiment("cifar10", "ensemble", protocol="released").learning_rate_drops == (0.5, 0.75)
    assert experiment("svhn", "pgd", protocol="released").pixel_levels == 256


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("method", METHODS)
def test_a_scale_changes_only_how_much_is_computed(dataset, method):
    amounts = {"scale", "steps", "classifier_width", "generator_width", "train_images", "test_images", "validation"}
    specs = [experiment(dataset, method, scale=scale).settings() for scale in SCALES]
    for other in specs[1:]:
        assert {key for key in other if other[key] != specs[0][key]} <= amounts


def test_overrides_are_named_and_those_that_change_nothing_are_not():
    spec = experiment("mnist", "advnet", seed=3, epsilon=0.2, generator_width=8, protocol="released", learning_rate_drops=())
    assert spec.name == "mnist-advnet-cpu-s3-released-epsilon=0.2-learning_rate_drops=none"
    assert experiment("mnist", "advnet", epsilon=0.3) == experiment("mnist", "advnet")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"epsilon": 0.0}, "epsilon: expected a value above 0 and of at most 1, received 0.0"),
        ({"epsilon": 1.5}, "received 1.5"),
        ({"epsilon": None}, "epsilon: expected a value of type float, received None"),
        ({"learning_rate": float("nan")}, "received nan"),
        ({"learning_rate": float("inf")}, "received inf"),
        ({"steps": 2.5}, "steps: expected a value of type int, received 2.5"),
        ({"steps": 10**20}, "steps: expected a value of at least 1 and of at most 2147483647"),
        ({"learning_rate_drops": (0.7, 0.5)}, "expected ascending values"),
        ({"steps": 0}, "steps: expected a value of at least 1 and of at most 2147483647, received 0"),
        ({"regulariser": "fancy"}, "expected one of fd, exact, none, received fancy"),
        ({"encoder_widths": (1, 2)}, "encoder_widths: expected 3 values, received 2"),
        ({"generators": ()}, "generators: expected 1 values, received 0"),
        ({"generators": "g7"}, "generators: expected one of g1, g2, g3, released_mnist, poster_g, received g7"),
        ({"colour": 1}, "received colour"),
        ({"norm": "l3", "epsilon": 0.1}, "norm: expected one of linf, l2, l1, received l3"),
        ({"norm": "l2"}, r"epsilon: expected a value with norm l2 \(the recipe's is for linf\), received none"),
        ({"norm": "l1"}, "epsilon: expected a value with norm l1"),
        ({"norm": "l2", "epsilon": 28.1}, "epsilon: expected a value above 0 and of at most 28, received 28.1"),
        ({"norm": "l1", "epsilon": 784.1}, "epsilon: expected a value above 0 and of at most 784, received 784.1"),
        ({"norm": "linf", "epsilon": 1.1}, "of at most 1, received 1.1"),
        ({"norm": "l2", "epsilon": 0}, "received 0"),
    ],
)
def test_bad_overrides_say_what_was_expected(overrides, message):
    with pytest.raises(UsageError, match=message):
        experiment("mnist", "advnet", **overrides)


@pytest.mark.parametrize(("norm", "largest"), [("linf", 1), ("l2", 3072**0.5), ("l1", 3072)])
def test_largest_epsilon_takes_any_image_to_any_other(norm, largest):
    assert experiment("cifar10", "advnet", norm=norm, epsilon=largest).epsilon == largest
    with pytest.raises(UsageError, match="epsilon: expected a value above 0 and of at most"):
        experiment("cifar10", "advnet", norm=norm, epsilon=largest * 1.001)


@pytest.mark.parametrize("epsilon", [0.3, 2.0])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_epsilon_of_another_norm_is_kept_even_if_it_is_the_recipes(norm, epsilon):
    spec = experiment("mnist", "advnet", norm=norm, epsilon=epsilon)
    assert spec.overrides == (("epsilon", epsilon), ("norm", norm))
    assert spec.name == f"mnist-advnet-cpu-s0-epsilon={epsilon:g}-norm={norm}"
    assert experiment("mnist", "advnet", **dict(spec.overrides)) == spec
    cells = TABLES["1"].cells("cpu", norm=norm, epsilon=epsilon)
    assert {(cell.target.norm, cell.target.epsilon, (cell.source or cell.target).norm) for cell in cells} == {
        (norm, epsilon, norm)
    }


def test_norm_of_the_recipe_is_no_override():
    assert experiment("mnist", "advnet", norm="linf") == experiment("mnist", "advnet")


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_have_the_norm_of_their_experiment(name):
    attack = experiment("mnist", "advnet", norm="l2", epsilon=2.0).attack(name)
    if ATTACKS[name].kind.needs_ball:
        assert (attack.norm, attack.epsilon) == (("linf", 0) if name in ("clean", "photo") else ("l2", 2))


def test_ensemble_training_is_of_linf_only():
    with pytest.raises(UsageError, match="norm: expected linf for method ensemble, received l2"):
        experiment("mnist", "ensemble", norm="l2", epsilon=2.0)


def test_start_of_the_step_to_own_examples_needs_them():
    assert experiment("mnist", "ensemble", own_examples=True, fgs_start="ball").own.fgs_start == "ball"
    with pytest.raises(UsageError, match=r"^fgs_start: expected image without own_examples, received ball$"):
        experiment("mnist", "ensemble", fgs_start="ball")


def test_bad_seed_says_what_was_expected():
    with pytest.raises(UsageError, match="seed: expected a value from 0 to"):
        experiment("mnist", "advnet", seed=-1)


def test_paper_scale_holds_out_only_what_the_released_code_does():
    held_out = {dataset: experiment(dataset, "pgd", scale="paper").validation for dataset in RECIPES}
    assert held_out == {"mnist": 5_000, "svhn": 0, "cifar10": 0, "cifar100": 0}


def test_ensemble_needs_the_standard_run_of_its_own_settings():
    (needed,) = experiment("mnist", "ensemble", seed=2, weight_decay=0.1).needs().values()
    assert needed == experiment("mnist", "standard", seed=2, weight_decay=0.1)
    assert needed.needs() == {}


@pytest.mark.parametrize(
    ("method", "overrides", "read"),
    [
        ("standard", dict(epsilon=0.1, generator_width=4, pgd_steps=20, weight_decay=0.1), dict(weight_decay=0.1)),
        ("pgd", dict(epsilon=0.1, generator_width=4, pgd_steps=20, bn_evaluation="batch"), dict(epsilon=0.1, pgd_steps=20)),
        ("advnet", dict(pgd_clip_start=False, bn_evaluation="batch", regulariser="none"), dict(regulariser="none")),
        ("generator", dict(regulariser="none", generators=("g2",), test_images=10), dict(generators=("g2",))),
        ("ensemble", dict(bn_evaluation="batch", generators=("g2",)), dict(bn_evaluation="batch")),
    ],
)
def test_a_run_is_named_after_the_overrides_that_its_training_reads(method, overrides, read):
    spec = experiment("mnist", method, **overrides)
    assert spec.trained() == experiment("mnist", method, **read)
    assert spec.name == spec.trained().name
    assert spec.settings() != spec.trained().settings()


def test_tables_5_and_6_have_the_papers_generators_at_every_scale():
    for scale, narrow, wide in (("paper", 8, 64), ("cpu", 2, 16)):
        for table, role in (("5", "source"), ("6", "target")):
            cells = TABLES[table].cells(scale)
            found = {cell.row: getattr(cell, role) for cell in cells}
            assert {row: (spec.generators, spec.generator_width) for row, spec in found.items()} == {
                "autoencoder (8 filters)": (("g1",), narrow),
                "autoencoder (64 filters)": (("g1",), wide),
                "random Gaussian": (("g2",), wide),
                "label": (("g3",), wide),
            }
    assert TABLES["6"].cells("cpu")[7].target == experiment("cifar10", "advnet")


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("6", dict(generator_width=8), "generator_width: expected no override with table 6, whose rows set it, received 8"),
        ("6", dict(generators=["g1"]), r"generators: expected no override with table 6, .*, received g1$"),
        ("5", dict(generators=("g1", "g2")), "generators: expected no override with table 5, .*, received g1_g2"),
        ("regulariser", dict(regulariser="none"), "regulariser: expected no override with table regulariser"),
        ("protocol", dict(bn_evaluation="batch", datasets=("mnist",)), "bn_evaluation: expected no override"),
        ("protocol", dict(protocol="released"), "protocol: expected paper with table protocol, whose .*, received released"),
    ],
)
def test_what_tells_a_tables_rows_apart_is_not_overridden(table, options, message):
    with pytest.raises(UsageError, match=message):
        TABLES[table].cells("cpu", **options)
    others = dict(steps=3, epsilon=0.1)
    assert {cell.target.steps for cell in TABLES[table].cells("cpu", **others)} == {3}
    assert TABLES["3"].cells("cpu", generator_width=8, generators=("g2",), regulariser="none", protocol="released")


def test_table_5_attacks_four_classifiers_with_generators_trained_against_the_first():
    cells = {cell.column: cell for cell in TABLES["5"].cells("paper", seed=3) if cell.row == "label"}
    attacked = {column: (cell.target.method, cell.target.seed) for column, cell in cells.items()}
    assert attacked == {
        "Test Acc on Original (A)": ("standard", 3),
        "standard (A')": ("standard", 4),
        "adversarial PGD (B)": ("pgd", 3),
        "adversarial network (C)": ("advnet", 3),
    }
    (source,) = {cell.source for cell in cells.values()}
    assert source.needs() == {"classifier": cells["Test Acc on Original (A)"].target}
    optimizer = (source.generator_optimizer, source.generator_learning_rate, source.generator_momentum, source.generator_steps)
    assert (source.method, *optimizer, source.steps) == ("generator", "sgd", 0.01, 0.9, 1, 200_000)


def test_the_papers_tables_take_34_trainings():
    cells = [cell for name in TABLES if name.isdigit() for cell in TABLES[name].cells("paper")]
    specs = {spec.trained() for cell in cells for spec in (cell.target, cell.source) if spec}
    assert len(specs | {needed for spec in specs for needed in spec.needs().values()}) == 34


def test_surrogates_have_the_next_seed_and_their_own_method():
    cells = {(cell.row, cell.column): cell for cell in TABLES["1"].cells("cpu", seed=4)}
    cell = cells["adversarial network (C)", "PGD(B')"]
    assert (cell.target.method, cell.target.seed, cell.source.method, cell.source.seed) == ("advnet", 4, "pgd", 5)
    assert (cell.attack.kind, cell.attack.epsilon, cell.attack.steps) == ("pgd", 0.3, 10)
    assert cells["standard (A)", "PGD"].source is None


def test_results_of_the_same_overrides_are_in_one_place_however_they_are_given():
    expected = Path("results/cpu-generators=g1_g2-learning_rate_drops=0.5")
    for generators, drops in ((["g1", "g2"], ["0.5"]), (("g1", "g2"), (0.5,))):
        assert results_group(Path("results"), "cpu", generators=generators, learning_rate_drops=drops) == expected


def test_names_stay_short_enough_for_file_systems_and_tell_settings_apart():
    overrides = dict(
        learning_rate=0.02, momentum=0.8, weight_decay=1e-4, generator_learning_rate=0.003, generator_momentum=0.6,
        generator_steps=3, generator_width=5, classifier_width=6, batch_size=32, adversarial_weight=0.5, pgd_steps=3,
    )  # fmt: skip
    specs = [experiment("mnist", "advnet+ensemble", steps=steps, **overrides) for steps in (7, 8)]
    names = [spec.name for spec in specs] + [results_group(Path(), "cpu", **dict(spec.overrides)).name for spec in specs]
    assert len(set(names)) == 4 and all(150 < len(name) < 180 for name in names)


def test_importing_experiments_loads_no_tensorflow():
    code = "import sys, adv_networks.experiments, adv_networks.networks.costs; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_protocol_and_method_resolves_for_every_data_set():
    for dataset in DATASETS:
        for method in METHODS:
            for protocol in PROTOCOLS:
                assert costs.training_flops(experiment(dataset, method, protocol=protocol)) > 0


def test_protocol_table_has_each_deviation_of_the_released_code_alone_and_all_together():
    for dataset, switches in (("mnist", 11), ("cifar10", 10)):
        rows = {cell.row: cell.target for cell in TABLES["protocol"].cells("paper", datasets=(dataset,))}
        paper, released = rows.pop("paper"), rows.pop("released")
        assert released == experiment(dataset, "advnet", protocol="released", scale="paper")
        together = {}
        for label, spec in rows.items():
            assert spec.protocol == "paper" and spec.overrides and label.startswith("paper, but ")
            together |= {key: value for key, value in spec.overrides if key != "compare_regulariser"}
        flipped = experiment(dataset, "advnet", scale="paper", **together).settings()
        ignored = ("protocol", "overrides")
        assert {k: v for k, v in flipped.items() if k not in ignored} == {
            k: v for k, v in released.settings().items() if k not in ignored
        }
        assert len(rows) == switches
        assert paper.trained() == experiment(dataset, "advnet", scale="paper", compare_regulariser=True)
        shared = [label for label, spec in rows.items() if spec.trained() == paper.trained()]
        assert sorted(shared) == ["paper, but bn_evaluation = batch", "paper, but pgd_clip_start = False"]


def test_regulariser_table_crosses_the_product_with_the_number_of_steps_and_shares_the_protocols_run():
    specs = {cell.target for cell in TABLES["regulariser"].cells("cpu", datasets=("mnist",), steps=1500)}
    assert {(spec.regulariser, spec.generator_steps) for spec in specs} == {
        (name, count) for name in ("fd", "exact", "none") for count in (1, 5)
    }
    assert TABLES["protocol"].cells("cpu", steps=1500)[0].target in specs


def test_strong_suite_adds_its_columns_and_the_worst_of_all_but_the_worst():
    table = TABLES["1"].under("strong")
    assert table.columns[:9] == TABLES["1"].columns
    cells = [cell for cell in table.cells("cpu") if cell.row == "adversarial PGD (B)"]
    by_column = {cell.column: cell for cell in cells}
    assert by_column["AutoAttack"].attack.parts == ("APGD-CE", "APGD-T", "FAB-T", "Square")
    assert set(by_column["Worst case"].attack.parts) == set(by_column) - {"AutoAttack", "Worst case"}
    fresh = by_column["Fresh G"]
    assert fresh.source.name == "mnist-generator-cpu-s0-against=pgd"
    assert fresh.source.needs() == {"classifier": fresh.target.trained()}
    assert TABLES["1"].under("paper") is TABLES["1"]


def test_strong_suite_of_few_classes_leaves_out_what_needs_more_and_says_so(monkeypatch):
    """The difference of logits ratio takes three classes, towards targets four; AutoAttack without APGD-T is none."""
    for classes, missing in ((2, {"APGD-T", "APGD-DLR", "AutoAttack"}), (3, {"APGD-T", "AutoAttack"}), (4, set())):
        monkeypatch.setitem(DATASETS, "few", dataclasses.replace(DATASETS["digits"], name="few", classes=classes))
        few = dataclasses.replace(TABLES["1"], datasets=("few",)).under("strong")
        full = TABLES["1"].under("strong")
        labels = {column.label for column in few.columns}
        assert {column.label for column in full.columns} - labels == missing
        assert len(few.left_out) == len(missing - {"AutoAttack"})
        assert all(f"received {classes}." in line for line in few.left_out)
        assert set(few.columns[-1].worst_of) == labels - {"AutoAttack", "Worst case"}


def test_fresh_generator_is_trained_against_its_row_with_all_its_settings():
    for name in ("4", "6", "protocol"):
        for cell in TABLES[name].under("strong").cells("cpu", epsilon=0.01):
            if cell.column == "Fresh G":
                assert cell.source.needs() == {"classifier": cell.target.trained()}
    (undefended,) = {
        cell.source.trained() for cell in TABLES["3"].under("strong").cells("cpu") if cell.column == "Fresh G"
        and cell.target.method == "standard"
    }  # fmt: skip
    assert undefended.name == "cifar10-generator-cpu-s0"


def test_strong_suite_is_for_classifiers():
    with pytest.raises(UsageError, match="attack_suite: expected classifiers to attack with strong, received table 5"):
        TABLES["5"].under("strong")
    with pytest.raises(UsageError, match="attack_suite: expected one of paper, strong, survey, survey_small, received weak"):
        TABLES["1"].under("weak")


def test_scale_divides_the_steps_of_strong_attacks_only():
    for scale, queries, steps in (("tiny", 100, 2), ("cpu", 5_000, 100)):
        spec = experiment("mnist", "pgd", scale=scale, pgd_steps=7)
        assert (spec.attack("square").steps, spec.attack("apgd_ce").steps, spec.attack("pgd").steps) == (queries, steps, 7)
        assert spec.attack("restarted_pgd").epsilon == 0.3


def test_columns_of_one_row_and_with_settings_of_their_own():
    """The poster's table: two rows of one run, each with attacks of its own, of four intensities."""
    cells = TABLES["poster-1"].cells("cpu")
    assert [(cell.row, cell.column) for cell in cells] == [
        (row, intensity) for row in ("FastGrad", "GAN") for intensity in ("0.1", "0.3", "0.5", "0.7")
    ]
    assert {cell.target.trained().name for cell in cells} == {"mnist-standard-cpu-s0-poster"}
    assert [round(cell.attack.epsilon / 0.277, 6) for cell in cells] == [0.1, 0.3, 0.5, 0.7] * 2
    for cell in cells[4:]:
        assert (cell.source.method, cell.source.epsilon, cell.source.against) == ("generator", cell.attack.epsilon, "standard")
        assert cell.is_white_box and cell.source.needs()["classifier"] == cell.target.trained()
    with pytest.raises(UsageError, match="epsilon: expected no override with table poster-1"):
        TABLES["poster-1"].cells("cpu", epsilon=0.1)
    pixel = {cell.attack.epsilon for cell in TABLES["poster-pixel"].cells("cpu")}
    assert pixel == {0.1, 0.3, 0.5, 0.7}


def test_transfer_is_of_generators_against_another_seed_and_another_network():
    cells = {(cell.row, cell.column): cell for cell in TABLES["poster-game"].cells("cpu")}
    other, mlp = (cells[row, "G 0.3"] for row in ("D' (another seed)", "MLP"))
    assert other.source.needs()["classifier"].seed == 1 and other.target.seed == 0
    assert (mlp.target.classifier, mlp.source.classifier) == ("mlp", "poster_d")
    assert mlp.source == cells["D frozen", "G 0.3"].source
    assert not other.is_white_box and not mlp.is_white_box
    learning = cells["D alternating", "G 0.3"]
    assert learning.source is None and learning.target.name == "mnist-alternating-cpu-s0-poster-epsilon=0.0831"


def test_nine_regularisations_are_nine_runs_with_twice_lambda_2_as_weight_decay():
    runs = {}
    for name in ("redblue-1", "redblue-2"):
        runs |= {cell.row: cell.target for cell in TABLES[name].cells("cpu")}
    assert len({spec.name for spec in runs.values()}) == len(runs) == 9
    chosen = runs["l1=0.0001 l2=1e-05"]
    assert (chosen.weight_l1, chosen.weight_decay, chosen.optimizer, chosen.classifier) == (1e-4, 2e-5, "rmsprop", "mlp")


def test_trained_networks_of_the_report_are_attacked_at_their_own_epsilon():
    for cell in TABLES["report-2"].cells("cpu"):
        assert cell.attack.epsilon == float(cell.column.split()[-1])
        if cell.target.method != "standard":
            assert cell.target.epsilon == cell.attack.epsilon
    pgd = next(cell for cell in TABLES["report-1"].cells("cpu") if (cell.row, cell.column) == ("PGD", "0.05"))
    assert pgd.attack.step_fraction * 0.05 == pytest.approx(2 / 255, rel=1e-5) and not pgd.attack.random_start


def test_tables_made_together_are_of_one_source():
    assert bundles()["redblue"] == ("redblue-1", "redblue-2", "redblue-3", "redblue-further")
    for parts in bundles().values():
        assert len({TABLES[name].paper for name in parts}) == 1
    assert all(table.paper for table in TABLES.values())
