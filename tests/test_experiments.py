"""The declared recipes against the paper's numbers, and how experiments are resolved and named."""

import subprocess
import sys

import pytest

from adv_networks import costs
from adv_networks.errors import UsageError
from adv_networks.experiments import ATTACKS, DATASETS, METHODS, PROTOCOLS, SCALES, TABLES, experiment

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
    assert (spec.generator, spec.generator_width) == ("g1", 64)
    assert spec.finite_difference_step == pytest.approx(spec.generator_learning_rate / 10)
    assert (spec.pgd_steps, spec.pgd_step_fraction) == (10, 0.25)


def test_released_protocol_differs_where_the_released_code_does():
    mnist, cifar = (experiment(name, "advnet", protocol="released", scale="paper") for name in ("mnist", "cifar10"))
    assert (mnist.regulariser_sign, cifar.regulariser_sign) == (-1, -1)
    assert cifar.finite_difference_step == pytest.approx(0.01)
    assert (mnist.discriminator_period, mnist.generator, mnist.generator_optimizer) == (5, "released_mnist", "sgd")
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
        ({"colour": 1}, "received colour"),
        ({"norm": "l3", "epsilon": 0.1}, "norm: expected one of linf, l2, l1, received l3"),
        ({"norm": "l2"}, r"epsilon: expected a value with norm l2 \(the recipe's is of linf\), received none"),
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
    assert (attack.norm, attack.epsilon) == (("linf", 0) if name == "clean" else ("l2", 2))


def test_ensemble_training_is_of_linf_only():
    with pytest.raises(UsageError, match="norm: expected linf for method ensemble, received l2"):
        experiment("mnist", "ensemble", norm="l2", epsilon=2.0)


def test_bad_seed_says_what_was_expected():
    with pytest.raises(UsageError, match="seed: expected a value from 0 to"):
        experiment("mnist", "advnet", seed=-1)


def test_paper_scale_holds_out_only_what_the_released_code_does():
    held_out = {dataset: experiment(dataset, "pgd", scale="paper").validation for dataset in RECIPES}
    assert held_out == {"mnist": 5_000, "svhn": 0, "cifar10": 0, "cifar100": 0}


def test_ensemble_needs_the_standard_run_of_its_own_settings():
    needed = experiment("mnist", "ensemble", seed=2, epsilon=0.1).needs()
    assert needed == experiment("mnist", "standard", seed=2, epsilon=0.1)
    assert needed.needs() is None


def test_surrogates_have_the_next_seed_and_their_own_method():
    cells = {(cell.row, cell.column): cell for cell in TABLES["1"].cells("cpu", seed=4)}
    cell = cells["adversarial network (C)", "PGD(B')"]
    assert (cell.target.method, cell.target.seed, cell.source.method, cell.source.seed) == ("advnet", 4, "pgd", 5)
    assert (cell.attack.kind, cell.attack.epsilon, cell.attack.steps) == ("pgd", 0.3, 10)
    assert cells["standard (A)", "PGD"].source is None


def test_importing_experiments_loads_no_tensorflow():
    code = "import sys, adv_networks.experiments, adv_networks.costs; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_protocol_and_method_resolves_for_every_data_set():
    for dataset in DATASETS:
        for method in METHODS:
            for protocol in PROTOCOLS:
                assert costs.training_flops(experiment(dataset, method, protocol=protocol)) > 0
