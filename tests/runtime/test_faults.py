"""Gradients that oneDNN gets wrong are right in a model that was prepared."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import networks, runtime
from tests.conftest import precision, randomised

pytestmark = pytest.mark.numerics


def gradients(model, x, along):
    x, along = (tf.convert_to_tensor(part, model.compute_dtype) for part in (x, along))
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(model(x, training=False) * along)
    return tape.gradient(total, [x, *(variable.value for variable in model.trainable_variables)])


def strided(channels, strides, padding):
    layer = keras.layers.Conv2D(2 * channels, 1, strides, padding=padding)
    inner = keras.Sequential([keras.Input((9, 8, channels)), layer])
    return keras.Sequential([keras.Input((9, 8, channels)), inner])


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("channels", "strides"), [(1, 2), (2, 2), (4, (2, 3)), (6, 2), (12, 3), (16, 2)])
def test_gradients_of_strided_1x1_convolutions_are_those_in_double_precision(channels, strides, padding, runtime_mode):
    model = runtime.prepare(randomised(strided(channels, strides, padding)))
    with precision("float64"):
        reference = strided(channels, strides, padding)
    reference.set_weights(model.get_weights())
    rng = np.random.default_rng(0)
    for images in (1, 7, 64):
        x, along = (rng.normal(size=(images, *shape)) for shape in (model.input_shape[1:], model.output_shape[1:]))
        for found, expected in zip(gradients(model, x, along), gradients(reference, x, along), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_narrow_residual_networks_have_the_gradients_of_double_precision(shallow, runtime_mode):
    model = runtime.prepare(randomised(networks.d2((8, 8, 3), 4, 4)))
    with precision("float64"):
        reference = networks.d2((8, 8, 3), 4, 4)
    reference.set_weights(model.get_weights())
    rng = np.random.default_rng(0)
    x, along = rng.random((7, 8, 8, 3)), rng.normal(size=(7, 4))
    for found, expected in zip(gradients(model, x, along), gradients(reference, x, along), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
