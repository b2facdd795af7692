"""A classifier behind a defence, built by hand: what attacks get of it, what its refusals count, and what checks say of it."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, evaluation
from adv_networks.errors import UsageError
from adv_networks.evaluation import Defended, accuracy, checks, grid, target_hash, weights_hash
from adv_networks.evaluation.defended import counted_as_right, crafted_on
from adv_networks.evaluation.outcomes import FAIL, NOT_APPLICABLE, PASS, WARNING
from adv_networks.storage.records import Record

SHAPE = (1, 2, 1)
PGD = attacks.PGD(epsilon=0.4, steps=10)


def linear(weights, bias=(0.0, 0.0)):
    dense = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), dense])
    dense.set_weights([np.asarray(weights, np.float32), np.asarray(bias, np.float32)])
    return model


def by_first_pixel():
    """Class 1 where the first pixel is brighter than 0.5."""
    return linear([[-2, 2], [0, 0]], [1, -1])


def detected(limit=0.55):
    """That classifier behind a detector, which refuses images whose first pixel is at least as bright as the limit."""
    classifier = by_first_pixel()
    image = keras.Input(SHAPE)
    excess = keras.Model(image, 4 * (image[:, 0, 0] - limit))
    return Defended(
        model=classifier,
        undefended=classifier,
        rejects=lambda x: tf.reduce_any(excess(x) >= 0, 1),
        excess=excess,
        settings={"limit": limit},
    )


def images(*pixels):
    return np.asarray(pixels, np.float32).reshape(-1, *SHAPE)


def without_gradient():
    """A classifier behind a rounding, which has no gradient, and a surrogate that has that of the classifier alone."""
    classifier, image = by_first_pixel(), keras.Input(SHAPE)
    rounded = keras.Model(image, classifier(keras.ops.floor(image * 255) / 255))
    return Defended(model=rounded, surrogate=classifier, undefended=linear([[2, -2], [0, 0]]))


@pytest.mark.parametrize(
    ("labelled", "refused", "as_it_is", "attacked"),
    [(True, True, False, True), (True, False, True, True), (False, True, False, True), (False, False, False, False)],
)
def test_refusing_is_right_under_attack_and_wrong_on_an_image_as_it_is(labelled, refused, as_it_is, attacked):
    found = [counted_as_right(np.array([labelled]), np.array([refused]), kind)[0] for kind in (False, True)]
    assert found == [as_it_is, attacked]
    assert counted_as_right(np.array([labelled]), None, True)[0] == labelled


def test_accuracy_counts_refusals_so():
    defended = detected()
    x = images((0.2, 1.0), (0.6, 0.1), (0.7, 0.9), (0.9, 0.1))
    refused = np.array([False, True, True, True])
    np.testing.assert_array_equal(defended.rejects(tf.constant(x)), refused)
    assert accuracy(defended, x, np.array([0, 1, 1, 1])) == 0.25  # The first alone is labelled correctly and not refused.
    nothing = dataclasses.replace(PGD, epsilon=1e-6)
    assert accuracy(defended, x, np.array([1, 0, 0, 0]), attack=nothing, source=defended) == 0.75


@pytest.mark.parametrize("evading", [attacks.EvadingPGD(epsilon=0.4, steps=40), attacks.EvadingCarliniWagner(epsilon=0.4)])
def test_attack_that_evades_passes_the_detector_where_plain_pgd_does_not(evading):
    defended, x, y = detected(), images(*itertools.repeat((0.2, 1.0), 4)), np.zeros(4, int)
    assert accuracy(defended, x, y, attack=PGD, source=defended) == 1  # Mislabelled, and refused.
    found = evading.craft(defended.crafted_on(evading), x, y).numpy().reshape(-1, 2)
    assert ((found[:, 0] > 0.5) & (found[:, 0] < 0.55)).all()
    assert (np.abs(found - [0.2, 1.0]) <= 0.4 + 1e-6).all()
    assert accuracy(defended, x, y, attack=evading, source=defended) == 0
    strict = detected(limit=0.45)
    assert accuracy(strict, x, y, attack=evading, source=strict) == 1  # What is mislabelled is refused.
    assert accuracy(defended.model, x, y, attack=evading) == 0  # Of a classifier alone.


def test_attack_gets_the_gradient_that_it_asks_for():
    defended = without_gradient()
    networks = {"": defended.surrogate, "exact": defended.model, "none": defended.undefended}
    networks["straight_through"] = defended.surrogate
    for gradient, network in networks.items():
        assert crafted_on(defended, dataclasses.replace(PGD, gradient=gradient)) is network
    assert attacks.named("pgd:steps=3:gradient=none", 0.3) == attacks.PGD(
        epsilon=0.3, steps=3, gradient="none", text="pgd:steps=3:gradient=none"
    )
    assert '"gradient": "none"' in attacks.named("fgs:gradient=none", 0.3).settings()
    assert "gradient" not in attacks.named("fgs", 0.3).settings()
    plain = by_first_pixel()
    assert crafted_on(plain, dataclasses.replace(PGD, gradient="none")) is plain
    with pytest.raises(UsageError, match="expected exact or none, received straight_through"):
        crafted_on(plain, dataclasses.replace(PGD, gradient="straight_through"))
    with pytest.raises(
        UsageError, match="attack square: expected no gradient argument, because it follows no gradient, received exact"
    ):
        attacks.named("square:gradient=exact", 0.3)
    with pytest.raises(UsageError, match="expected one of exact, straight_through, none, received own"):
        attacks.named("pgd:gradient=own", 0.3)


def test_records_say_which_gradient_the_attack_got_and_are_told_apart_by_the_defences_settings():
    defended, other = detected(), detected(limit=0.6)
    stand_in = without_gradient()
    x, y = images((0.2, 1.0), (0.3, 0.9)), np.zeros(2, int)
    pgd_of_classifier = dataclasses.replace(PGD, gradient="none", text="pgd:gradient=none")
    targets = {"detected": defended, "rounded": stand_in, "plain": defended.model}
    records = grid(
        targets, targets, [attacks.Clean(epsilon=0.4), PGD, pgd_of_classifier], x, y,
        wanted=lambda target, source, attack: source in ("", target),
    )  # fmt: skip
    found = {(record.target, record.attack): record.gradient for record in records}
    assert found["detected", "clean"] == found["plain", "pgd"] == found["plain", "clean"] == ""
    assert (found["detected", "pgd"], found["rounded", "pgd"]) == ("exact", "straight_through")
    assert found["rounded", "pgd:gradient=none"] == "none"
    hashes = {record.target: record.target_hash for record in records}
    shares = {(record.target, record.attack): record.rejected_percent for record in records}
    assert (shares["detected", "clean"], shares["detected", "pgd"], shares["plain", "pgd"]) == (0, 100, None)
    assert hashes["plain"] == weights_hash(defended.model)
    assert target_hash(defended) == hashes["detected"] not in (target_hash(other), hashes["plain"])
    assert Record.gradient == ""


def outcomes(defended, x, y, pgd=PGD):
    found = checks.of_classifier(defended, x, y, pgd, [])
    return {check.name: check for check in found}


def test_checks_fail_on_a_detector_that_no_attack_looks_at():
    x, y, defended = images(*[(0.2, 1.0)] * 6, *[(0.6, 0.9)] * 2), np.array([0] * 8), detected()
    found = outcomes(defended, x, y)
    refusals = found["an attack that evades the detectors is not stronger"]
    assert refusals.outcome == FAIL
    assert refusals.detail.startswith("PGD 100.0%, evading 0.0%; 25.0% of the clean images are refused")
    assert found["attacks follow the defence's own gradient"].outcome == PASS
    unknown = dataclasses.replace(defended, excess=None)
    assert outcomes(unknown, x, y)["an attack that evades the detectors is not stronger"].outcome == WARNING


@pytest.mark.slow
def test_checks_fail_where_attacks_get_another_gradient_than_the_strongest():
    x, y, defended = images(*[(0.2, 1.0)] * 8), np.array([0] * 8), without_gradient()
    name = "no other gradient of the defence makes PGD stronger"
    found = outcomes(defended, x, y)
    assert found[name].outcome == PASS
    assert found["attacks follow the defence's own gradient"].outcome == WARNING
    blind = outcomes(defended, x, y, dataclasses.replace(PGD, gradient="none"))
    assert blind[name].outcome == FAIL and blind[name].detail.startswith("attacks get none; PGD by exact ")
    assert blind[name].detail.endswith("straight_through 0.0%, none 100.0%")
    assert blind["an attack that evades the detectors is not stronger"].outcome == NOT_APPLICABLE
    assert name not in {check.name for check in checks.of_classifier(defended.surrogate, x, y, PGD, [])}


def test_any_function_of_evaluation_takes_one():
    found = evaluation.evaluate(detected(), images((0.2, 1.0)), np.zeros(1, int), ["clean", "pgd"], epsilon=0.4)
    assert found == {"clean": 1, "pgd": 1, "worst": 1}


def with_two_halves_of_a_gradient():
    """A classifier whose exact gradient is zero for a dark first pixel, and a stand-in whose is zero for a bright one."""
    classifier, image = by_first_pixel(), keras.Input(SHAPE)

    def model(dark, bright):
        return keras.Model(image, classifier(keras.ops.where(image < 0.5, dark, bright)))

    still = keras.ops.stop_gradient(image)
    return Defended(model=model(still, image), surrogate=model(image, still))


def test_attack_by_each_gradient_fools_what_any_of_them_fools():
    x, y, defended = images((0.25, 1.0), (0.75, 1.0), (0.05, 1.0)), np.array([0, 1, 0]), with_two_halves_of_a_gradient()
    each = attacks.named("each_gradient:attack=pgd:steps=10:random_start=False", 0.4)

    def right(attack):
        return evaluation.correct_masks([defended], x, y, attack, defended)[0].tolist()

    found = {name: right(dataclasses.replace(each.wrapped, gradient=name)) for name in ("exact", "straight_through")}
    assert found == {"exact": [True, False, True], "straight_through": [False, True, True]}
    assert right(each) == [False, False, True]
    (record,) = grid({"a": defended}, {"a": defended}, [each], x, y)
    assert (record.gradient, record.changed_percent) == ("each", 100.0)


def test_attack_by_each_gradient_of_a_classifier_alone_is_that_attack():
    x, y = images((0.2, 1.0), (0.8, 1.0), (0.05, 1.0)), np.array([0, 1, 0])
    each = attacks.named("each_gradient:attack=pgd:steps=5", 0.2)
    one, other = (attack.craft(by_first_pixel(), x, y, seed=(0, 1)) for attack in (each, each.wrapped))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("inner", ["pgd:gradient=exact", "square", "universal", "clean", "evading_pgd"])
def test_attack_by_each_gradient_needs_an_attack_that_follows_any(inner):
    with pytest.raises(UsageError, match=f"expected an attack that follows any gradient, received {inner}"):
        attacks.named(f"each_gradient:attack={inner}", 0.2).check(classes=3)
