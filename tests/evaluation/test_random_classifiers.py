"""Random classifiers, against a Monte-Carlo simulation in NumPy of the same network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, data, evaluation, runtime
from adv_networks.attacks.gradient import loss_gradient
from adv_networks.evaluation import random_classifiers
from adv_networks.evaluation.grid import grid
from adv_networks.experiments import ATTACKS
from adv_networks.storage.records import Outcome

KINDS = ("dropout", "noise")
RATE, DEVIATION = 0.5, 1.0


class Dropout(keras.layers.Dropout):
    """Dropout that inference has too."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


class Noise(keras.layers.GaussianNoise):
    """Noise that inference has too."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


@pytest.fixture(scope="module")
def digits():
    images, labels = data.load("digits", "train")
    return images[:200], labels[:200]


@pytest.fixture(scope="module")
def models(digits):
    """A linear classifier by the classes' mean images, of images with pixels dropped or with noise."""
    x, y = data.load("digits", "train")
    means = np.stack([(x[y == label] / 255).reshape(-1, 64).mean(0) for label in range(10)], 1)
    made = {}
    for kind, layer in zip(KINDS, (Dropout(RATE), Noise(DEVIATION)), strict=True):
        dense = keras.layers.Dense(10)
        made[kind] = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), layer, dense])
        dense.set_weights([2 * means, -(means**2).sum(0)])
    return made


def monte_carlo(kind, model, x, y, draws):
    """The accuracy and the mean gradient of the summed cross-entropy by the images, over so many draws."""
    rng, (weights, bias) = np.random.default_rng(0), model.layers[-1].get_weights()
    correct, gradient = [], np.zeros((len(x), 64))
    for _ in range(draws):
        flat = x.reshape(len(x), -1)
        factor = (rng.random(flat.shape) >= RATE) / (1 - RATE) if kind == "dropout" else np.ones(flat.shape)
        noise = DEVIATION * rng.normal(size=flat.shape) if kind == "noise" else 0
        logits = (flat * factor + noise) @ weights + bias
        correct.append((logits.argmax(1) == y).mean())
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        gradient += factor * ((shares - np.eye(10)[y]) @ weights.T) / draws
    return 100 * np.mean(correct), gradient.reshape(x.shape)


@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_is_within_its_interval_of_the_monte_carlo_mean(kind, models, digits):
    images, labels = digits
    expected, _ = monte_carlo(kind, models[kind], images / np.float32(255), labels, 400)
    (mask,) = evaluation.correct_masks([models[kind]], images, labels, attacks.Clean(), None)
    assert mask.shape == (random_classifiers.DRAWS, len(images))
    mean, low, high = random_classifiers.interval_over_draws(mask)
    assert low <= expected <= high
    assert high - low < 5
    assert mean == pytest.approx(100 * evaluation.accuracy(models[kind], images, labels))  # again the same draws


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_that_of_the_expected_loss(kind, models, digits):
    images, labels = (part[:8] for part in digits)
    x, y = tf.constant(images / np.float32(255)), tf.constant(labels, tf.int32)
    with runtime.drawing(0, draws=3_000):
        found = runtime.run_compiled(loss_gradient, models[kind], False, x, y).numpy()
    _, expected = monte_carlo(kind, models[kind], x.numpy(), labels, 3_000)
    assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)
    with runtime.drawing(0, draws=1):
        single = runtime.run_compiled(loss_gradient, models[kind], False, x, y).numpy()
    assert np.linalg.norm(single - expected) > 0.1 * np.linalg.norm(expected)
    assert runtime.trace_counts(models[kind])["loss_gradient"] == 1


def test_what_is_drawn_is_new_at_every_call_and_a_function_of_the_seed(models, digits):
    x = digits[0][:4]
    for model in models.values():
        first, second = (attacks.predict(model, x).numpy() for _ in range(2))
        assert np.abs(first - second).max() > 0.1
        with runtime.drawing(5):
            third, fourth = (attacks.predict(model, x).numpy() for _ in range(2))
        with runtime.drawing(5):
            np.testing.assert_array_equal(attacks.predict(model, x), third)
        assert np.abs(third - fourth).max() > 0.1


def test_attack_follows_the_expected_loss_and_repeats_itself(models, digits):
    """One draw's gradient is mostly noise; the mean of many takes more away."""
    images, labels = (part[:100] for part in digits)
    by_draws = [attacks.named(f"fgs:draws={draws}", 0.15) for draws in (1, 30)]
    one, many = (evaluation.accuracy(models["noise"], images, labels, attack=attack) for attack in by_draws)
    assert many < one
    assert evaluation.accuracy(models["noise"], images, labels, attack=by_draws[1]) == many
    assert '"draws": 30' in by_draws[1].settings()
    assert "draws" not in attacks.named("pgd", 0.3).settings()  # records from before keep their keys
    assert "draws" in ATTACKS["apgd_ce"].fields
    assert "draws" not in ATTACKS["square"].fields


@pytest.mark.parametrize(
    "name", ["apgd_ce:steps=3:draws=2", pytest.param("pgd:restarts=2:steps=2:draws=2", marks=pytest.mark.slow)]
)
def test_strong_attacks_take_a_random_classifier(name, models, digits):
    images, labels = (part[:20] for part in digits)
    attack = attacks.named(name, 0.3)
    clean, attacked = (evaluation.accuracy(models["dropout"], images, labels, attack=one) for one in (None, attack))
    assert attacked < clean


def test_records_and_outcomes_have_the_draws(models, digits):
    images, labels = (part[:13] for part in digits)
    outcomes = {}
    (record,) = grid({"m": models["noise"]}, {}, [attacks.Clean()], images, labels, outcomes=outcomes)
    mask = outcomes[record.key]
    assert (record.draws, record.images, record.correct) == (10, 13, int(mask.sum()))
    assert record.fault() is None
    outcome = Outcome.of(record.key, mask)
    assert outcome.fault() is None
    np.testing.assert_array_equal(outcome.array(), mask)


def test_worst_case_is_the_attack_under_which_an_image_is_right_least_often():
    first = np.array([[1, 1, 0], [1, 0, 0]], bool)
    second = np.array([[1, 0, 1], [0, 0, 1]], bool)
    np.testing.assert_array_equal(random_classifiers.worst_case([first, second]), [[1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(random_classifiers.worst_case([first[0], second[0]]), [1, 0, 0])


def test_dropout_that_inference_has_not_is_not_random(digits):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(3)])
    assert runtime.may_draw(model)
    assert not random_classifiers.is_random(model, digits[0])
