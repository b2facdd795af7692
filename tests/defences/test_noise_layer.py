"""The noise layer against NumPy: where it is, how large the noise is, its mean gradient, and the mean over draws."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, defences, networks, runtime
from adv_networks.attacks.gradient import loss_gradient
from adv_networks.defences.noise_layer import noisy_at_test, with_noise
from adv_networks.errors import UsageError
from adv_networks.evaluation import random_classifiers
from adv_networks.experiments import METHODS, experiment
from tests.conftest import randomised

DEVIATION = 0.8


@pytest.fixture(scope="module")
def dense():
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)]
    sequential = randomised(keras.Sequential(layers))
    return keras.Model(sequential.inputs[0], sequential.outputs[0])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((5, 4, 4, 1), np.float32), np.array([0, 1, 2, 0, 1], np.int32)


def test_layer_follows_the_first_convolution_or_dense_layer_and_changes_no_weights():
    d = networks.report_cnn((8, 8, 1), 10, 4)
    for position, before in (("convolution", keras.layers.Conv2D), ("dense", keras.layers.Dense)):
        noisy = with_noise(d, DEVIATION, position)
        kinds = [type(layer) for layer in noisy.layers]
        assert kinds.count(keras.layers.GaussianNoise) == 1
        assert kinds.index(keras.layers.GaussianNoise) == kinds.index(before) + 1
        for found, expected in zip(noisy.get_weights(), d.get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)
    with pytest.raises(UsageError, match="noise_position: expected a layer of the classifier d1, received dense"):
        with_noise(networks.d1((8, 8, 1), 10, 4), DEVIATION, "dense")


def test_mean_gradient_is_that_of_a_simulation_in_numpy(dense, images):
    (x, y), rng = images, np.random.default_rng(0)
    hidden, bias, last, last_bias = dense.get_weights()
    flat, draws = x.reshape(5, -1), 4_000
    units = np.maximum(flat @ hidden + bias, 0)
    noisy = units + DEVIATION * rng.normal(size=(draws, *units.shape))
    powers = np.exp(noisy @ last + last_bias)
    shares = powers / powers.sum(-1, keepdims=True)
    by_units = ((shares - np.eye(3)[y]) @ last.T).mean(0) * (units > 0)
    expected = (by_units @ hidden.T).reshape(x.shape)
    model = noisy_at_test(with_noise(dense, DEVIATION, "dense"), 1)
    with runtime.drawing(0, draws=draws):
        found = runtime.run_compiled(loss_gradient, model, False, tf.constant(x), tf.constant(y)).numpy()
    assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)


def test_draws_at_test_are_averaged_as_probabilities(dense, images):
    """Of many draws the outputs are log probabilities, near the simulated mean; of none there is no noise."""
    x, rng = images[0], np.random.default_rng(1)
    hidden, bias, last, last_bias = dense.get_weights()
    units = np.maximum(x.reshape(5, -1) @ hidden + bias, 0)
    powers = np.exp((units + DEVIATION * rng.normal(size=(4_000, *units.shape))) @ last + last_bias)
    expected = (powers / powers.sum(-1, keepdims=True)).mean(0)
    layered = with_noise(dense, DEVIATION, "dense")
    outputs = attacks.predict(noisy_at_test(layered, 200), x).numpy()
    np.testing.assert_allclose(np.exp(outputs).sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.exp(outputs), expected, atol=0.06)
    assert random_classifiers.is_random(noisy_at_test(layered, 2), x)
    spec = experiment("digits", "noise", noise_draws=0)
    assert METHODS["noise"].as_evaluated(layered, spec, lambda: None) is layered
    np.testing.assert_allclose(attacks.predict(layered, x), attacks.predict(dense, x), rtol=1e-5)


def test_training_draws_by_the_seed_of_the_step(dense):
    model = runtime.prepare(with_noise(dense, DEVIATION, "dense"))
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.GaussianNoise))
    zeros = tf.zeros((400, 50))
    drawn = []
    for seed in ((0, 1), (0, 1), (0, 2)):
        with runtime.dropping(seed):
            drawn.append(layer(zeros, training=True).numpy())
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).max() > DEVIATION
    assert drawn[0].std() == pytest.approx(DEVIATION, rel=0.03)
    assert np.abs(drawn[0].mean()) < 4 * DEVIATION / np.sqrt(drawn[0].size)


def test_network_starts_from_the_weights_that_it_has_without_the_layer():
    specs = [experiment("digits", method, classifier_width=4, seed=2) for method in ("standard", "noise")]
    plain, noisy = (METHODS[spec.method].build(spec, {}).d for spec in specs)
    for found, expected in zip(noisy.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert isinstance(METHODS["noise"], defences.NoiseLayer)
