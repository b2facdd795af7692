"""Shapes, parameter counts and costs of the networks, against numbers worked out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import costs, networks
from adv_networks.experiments import experiment

SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_classifiers_return_logits_and_generators_bounded_perturbations(shape):
    x = np.random.default_rng(0).random((2, *shape), np.float32)
    for model in (networks.d1(shape, 10), networks.d2(shape, 100)):
        assert model(x, training=False).shape == (2, model.output_shape[1])
    noise = np.random.default_rng(1).normal(size=(2, shape[0] * shape[1] // 16 * 4 * 4)).astype(np.float32)
    label = np.eye(10, dtype=np.float32)[:2]
    generators = {
        networks.g1(shape, 4): x,
        networks.g2(shape, 4): noise,
        networks.g3(shape, 10, 4): label,
        networks.released_mnist_generator(shape, 4): x,
    }
    for model, inputs in generators.items():
        perturbation = keras.ops.convert_to_numpy(model(inputs, training=True))
        assert perturbation.shape == x.shape
        assert 0 < np.abs(perturbation).max() <= 1


def test_sides_that_are_no_multiples_of_four_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 4, received \(30, 30, 1\)"):
        networks.g1((30, 30, 1))


def test_parameter_counts_by_hand():
    # D1: 5·5·1·32 + 32, 5·5·32·64 + 64, 7·7·64·10 + 10.
    assert networks.d1((28, 28, 1), 10).count_params() == 832 + 51_264 + 31_370
    d2 = networks.d2((32, 32, 3), 10)
    stem = 27 * 16 + 4 * 16

    def block(channels, filters, projected):
        own = 9 * channels * filters + 9 * filters * filters + 2 * 4 * filters
        return own + (channels * filters + 4 * filters if projected else 0)

    stages = sum(block(c, f, True) + 2 * block(f, f, False) for c, f in ((16, 16), (16, 32), (32, 64)))
    assert d2.count_params() == stem + stages + 64 * 10 + 10
    trainable = sum(np.prod(variable.shape) for variable in d2.trainable_variables)
    assert 0.27e6 < trainable < 0.28e6


# Worked out on paper from Fig. 4 on 32×32×3 images and 10 classes. G1(k): encoder 27k + 27k², six residual blocks
# 224k² + 5·288k², decoder 90k² + 27k, BN and the last bias; G2(k) starts from 4k channels: 304k² for the first block; G3(k)
# adds the fully connected layer of 10·256k weights and 256k biases. Multiply-adds: per layer the weights times the positions.
BY_HAND = {
    ("g1", 8): (1781 * 8**2 + 290 * 8 + 3, 119_168 * 8**2 + 55_296 * 8),
    ("g1", 64): (7_313_539, 491_651_072),
    ("g2", 64): (7_527_875, 496_697_344),
    ("g3", 64): (7_527_875 + 2_816 * 64, 496_697_344 + 2_560 * 64),
}


@pytest.mark.parametrize(("name", "width"), BY_HAND)
def test_generators_have_the_parameters_and_multiply_adds_counted_by_hand(name, width):
    spec = experiment("cifar10", "advnet", scale="paper", generators=(name,), generator_width=width)
    (generator,) = networks.generators(spec)
    assert (generator.count_params(), costs.generator_multiply_adds(spec, name)) == BY_HAND[name, width]


def test_classifiers_have_the_multiply_adds_counted_by_hand():
    d1, d2 = (experiment(name, "standard", scale="paper") for name in ("mnist", "cifar10"))
    assert costs.classifier_multiply_adds(d1) == 28**2 * 25 * 32 + 14**2 * 25 * 32 * 64 + 7**2 * 64 * 10 == 10_693_760
    assert costs.classifier_multiply_adds(d2) == 41_075_328


@pytest.mark.parametrize("variant", [{}, {"generators": ("g2",)}, {"generators": ("g3",)}, {"encoder_widths": (1, 2, 4)}])
def test_costs_count_the_multiply_adds_of_the_actual_layers(variant):
    spec = experiment("cifar10", "advnet", scale="paper", generator_width=8, **variant)
    assert costs.classifier_multiply_adds(spec) == _counted(networks.classifier(spec))
    assert costs.generator_multiply_adds(spec, spec.generators[0]) == _counted(*networks.generators(spec))


def test_costs_count_the_networks_of_mnist():
    for protocol in ("paper", "released"):
        spec = experiment("mnist", "advnet", protocol=protocol)
        assert costs.classifier_multiply_adds(spec) == _counted(networks.classifier(spec))
        assert costs.generator_multiply_adds(spec, spec.generators[0]) == _counted(*networks.generators(spec))


def _counted(model):
    """Multiply-adds from the built layers: kernel size times the positions it is applied at."""
    total = 0
    for layer in model.layers:
        kernel = next((weight for weight in layer.weights if weight.name == "kernel"), None)
        if kernel is not None:
            transposed = isinstance(layer, keras.layers.Conv2DTranspose)
            shape = layer.input.shape if transposed else layer.output.shape
            total += int(np.prod(kernel.shape)) * (int(np.prod(shape[1:3])) if len(shape) == 4 else 1)
    return total


def test_inputs_are_rescaled_from_the_unit_range():
    model = networks.d2((8, 8, 1), 10, pixel_levels=256)
    rescaling = next(layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling))
    np.testing.assert_allclose(rescaling(np.float32([0, 1])), [-1, 2 * 255 / 256 - 1])


def test_released_svhn_classifier_normalises_before_pooling_only():
    names = [
        type(layer).__name__ for layer in networks.d2((8, 8, 1), 10, stem_normalisation=False, final_normalisation=True).layers
    ]
    assert names[2:4] == ["Conv2D", "Conv2D"]
    assert names[-4:] == ["BatchNormalization", "ReLU", "GlobalAveragePooling2D", "Dense"]


def test_stateless_parameters_stand_in_for_the_models_own():
    model, other = networks.g1((8, 8, 1), 4), networks.g1((8, 8, 1), 4)
    x = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    before = [weight.copy() for weight in model.get_weights()]
    parameters = [variable.value for variable in other.trainable_variables]
    output = networks.discarding_statistics(model, x, training=True, parameters=parameters)
    np.testing.assert_allclose(output, other(x, training=True), atol=1e-6)
    for weight, unchanged in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, unchanged)


def test_batch_means_are_differentiated_twice_without_changing_the_network(float64):
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(scale=False, epsilon=1e-5)])
    x = tf.constant(np.random.default_rng(0).normal(1, 2, (6, 3)))
    before = model(x, training=True), model.get_weights()
    networks.share_batch_moments(model)
    model.set_weights([np.zeros(3), np.zeros(3), np.ones(3)])
    np.testing.assert_allclose(model(x, training=True), before[0], atol=1e-12)
    for weight, expected in zip(model.get_weights(), before[1], strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-12)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(model(x, training=True) ** 3)
        return tape.gradient(total, x)

    direction = tf.constant(np.random.default_rng(1).normal(size=(6, 3)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        along = tf.reduce_sum(gradient(x) * direction)
    finite = (gradient(x + 1e-6 * direction) - gradient(x - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(tape.gradient(along, x), finite, rtol=1e-6, atol=1e-7)
