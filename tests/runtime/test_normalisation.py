"""BN in training against Keras' own in double precision, by the fused operation and by single ones."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import runtime
from adv_networks.runtime import kernels, normalisation
from tests.conftest import precision, randomised

pytestmark = pytest.mark.numerics


def normalised():
    return keras.Sequential([keras.Input((6, 4, 3)), keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3)])


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "single operations"])
@pytest.mark.parametrize("sizes", [[5], [2, 3]], ids=["whole", "parts"])
@pytest.mark.parametrize("sides", [(6, 4), (210, 160)], ids=["few values", "many values"])
def test_parts_of_a_batch_are_normalised_jointly_as_keras_normalises_the_batch(fused, sizes, sides):
    rng = np.random.default_rng(0)
    x, upstream = rng.normal(1, 2, (2, 5, *sides, 3))
    model = randomised(keras.Sequential([keras.Input((*sides, 3)), keras.layers.BatchNormalization()]))
    with precision("float64"):
        reference = keras.Sequential([keras.Input((*sides, 3)), keras.layers.BatchNormalization()])
    reference.set_weights(model.get_weights())

    @tf.function(autograph=False)
    def in_parts(*parts):
        outputs = normalisation.normalise(model.layers[0], list(parts), fused)
        loss = sum(
            tf.reduce_sum(out * part) for out, part in zip(outputs, tf.split(upstream.astype(np.float32), sizes), strict=True)
        )
        return tf.concat(outputs, 0), tf.concat(tf.gradients(loss, list(parts)), 0)

    found = in_parts(*tf.split(tf.constant(x, tf.float32), sizes))
    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        outputs = reference(inputs, training=True)
        loss = tf.reduce_sum(outputs * upstream)
    for part, other in zip(found, (outputs, tape.gradient(loss, inputs)), strict=True):
        np.testing.assert_allclose(part, other, rtol=0, atol=3e-5 * np.abs(other).max())
    for weight, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-5, atol=1e-6)


def test_normalisation_of_a_keras_without_renorm_is_accelerated():
    model = normalised()
    vars(model.layers[0]).pop("renorm", None)
    kernels.accelerate(model)
    assert "call" in vars(model.layers[0])


def test_batches_of_a_size_that_the_graph_does_not_know_have_the_same_moments():
    models = [normalised(), normalised()]
    x = np.random.default_rng(0).normal(1, 2, (5, 6, 4, 3)).astype(np.float32)
    outputs = []
    for model, size in zip(models, (5, None), strict=True):
        kernels.accelerate(model)
        call = tf.function(functools.partial(model, training=True), input_signature=[tf.TensorSpec([size, 6, 4, 3])])
        outputs.append(call(x))
    np.testing.assert_allclose(*outputs, atol=1e-6)
    for known, unknown in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(known, unknown, rtol=1e-6)


def test_the_form_is_among_the_choices_of_the_runtime(auto):
    assert ("BN of single operations" in runtime.choices()) == normalisation.is_fused_slow()


def test_the_form_is_measured_once():
    assert normalisation.is_fused_slow() is normalisation.is_fused_slow()
    assert normalisation.is_fused_slow.cache_info().misses == 1
