"""The faster forms of layers against the same layers in double precision, where Keras' own are used."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import defences, evaluation, networks
from adv_networks.attacks.auto_pgd import ascend
from adv_networks.attacks.fast_adaptive_boundary import approach_boundary
from adv_networks.attacks.gradient import gradient_attack
from adv_networks.experiments import experiment
from adv_networks.runtime import kernels
from tests.conftest import precision, randomised

pytestmark = pytest.mark.numerics


def one_channel():
    return keras.Sequential([keras.Input((8, 12, 1)), keras.layers.Conv2D(6, 5, padding="same")])


def many_channels():
    return keras.Sequential([keras.Input((6, 9, 16)), keras.layers.Conv2D(5, 5, padding="same")])


def few_pixels():
    return keras.Sequential([keras.Input((1, 3, 4)), keras.layers.Conv2D(5, (3, 5), padding="same")])


def normalised():
    return keras.Sequential([keras.Input((6, 4, 3)), keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3)])


def derivatives(model, x, first, second, third):
    """Outputs, the gradient of <outputs, first> by image and weights, and of a convolution the second derivatives.

    These are of <the gradient by image, second> + <the gradient by kernel, third>, by first, image and kernel.
    """
    x, first, second, third = (tf.convert_to_tensor(part, model.compute_dtype) for part in (x, first, second, third))
    values = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape(persistent=True) as outer:
        outer.watch([first, x])
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = model(x, training=True)
            total = tf.reduce_sum(outputs * first)
        gradients = tape.gradient(total, [x, *values])
        along = tf.reduce_sum(gradients[0] * second) + tf.reduce_sum(gradients[1] * third)
    twice = outer.gradient(along, [first, x, values[0]]) if isinstance(model.layers[0], keras.layers.Conv2D) else []
    return [part.numpy() for part in (outputs, *gradients, *twice)]


@pytest.mark.parametrize("make", [one_channel, many_channels, few_pixels, normalised])
def test_outputs_gradients_and_averages_are_those_of_keras(make):
    rng = np.random.default_rng(0)
    model = randomised(make())
    kernels.accelerate(model)
    assert "call" in vars(model.layers[0]) or "convolution_op" in vars(model.layers[0])
    with precision("float64"):
        reference = make()
    reference.set_weights(model.get_weights())
    x = rng.normal(1, 2, (5, *model.input_shape[1:]))
    sizes = (5, *model.output_shape[1:]), x.shape, model.trainable_variables[0].shape
    arguments = x, *(rng.normal(size=size) for size in sizes)
    found, expected = derivatives(model, *arguments), derivatives(reference, *arguments)
    for part, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, other, rtol=0, atol=3e-5 * np.abs(other).max())
    for weight, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-5, atol=1e-6)


def test_second_derivatives_of_the_convolution_reach_its_kernel():
    model = randomised(one_channel())
    kernels.accelerate(model)
    x, ones = np.ones([2, 8, 12, 1]), np.ones([2, 8, 12, 6])
    by_kernel = derivatives(model, x, ones, np.ones_like(x), np.zeros([5, 5, 1, 6]))[-1]
    # Each weight meets as many pixels as its window fits: the gradient by image is linear in the kernel.
    rows, columns = (np.array([n - 2, n - 1, n, n - 1, n - 2]) for n in (8, 12))
    np.testing.assert_allclose(by_kernel[:, :, 0, 0], 2 * np.outer(rows, columns), rtol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(4, 5, strides=2, padding="same"),
        keras.layers.Conv2D(4, 5),
        keras.layers.Conv2D(4, 3, padding="same"),
        keras.layers.Conv2D(4, 2, padding="same"),
        keras.layers.Conv2D(4, 5, padding="same", dtype="float64"),
        keras.layers.BatchNormalization(axis=1),
        keras.layers.BatchNormalization(synchronized=True),
        keras.layers.BatchNormalization(dtype="float64"),
    ],
    ids=lambda layer: layer.name,
)
def test_other_layers_are_left_alone(layer):
    model = keras.Sequential([keras.Input((8, 8, 1)), layer])
    kernels.accelerate(model)
    assert not {"call", "convolution_op"} & vars(layer).keys()


@pytest.mark.parametrize(("shape", "width"), [((8, 7, 16), 7), ((8, None, 16), 9), ((None, 9, 16), 9)])
def test_convolutions_of_narrow_images_and_of_those_of_no_known_size_are_keras_own(shape, width):
    model = randomised(keras.Sequential([keras.Input(shape), keras.layers.Conv2D(4, 5, padding="same")]))
    x = np.random.default_rng(0).normal(size=(2, 8, width, 16)).astype(np.float32)
    call = tf.function(lambda x: model(x), input_signature=[tf.TensorSpec([None, *shape])])
    before = call(x).numpy()
    kernels.accelerate(model)
    assert "convolution_op" in vars(model.layers[0])
    again = tf.function(lambda x: model(x), input_signature=[tf.TensorSpec([None, *shape])])
    np.testing.assert_array_equal(again(x), before)


@pytest.mark.parametrize(
    ("side", "kernel_size", "channels", "is_dense"),
    [(1, 1, 512, True), (1, 3, 512, True), (2, 3, 64, True), (2, 3, 80, False), (2, 1, 8, False), (3, 3, 8, False)],
)
def test_convolutions_are_dense_where_the_dense_matrix_is_small(side, kernel_size, channels, is_dense):
    layer = keras.layers.Conv2D(channels, kernel_size, padding="same")
    kernels.accelerate(keras.Sequential([keras.Input((side, side, channels)), layer]))
    assert ("convolution_op" in vars(layer)) == is_dense


def test_inference_is_keras_own():
    model = randomised(normalised())
    x = np.random.default_rng(0).normal(size=(2, 6, 4, 3)).astype(np.float32)
    before = model(x, training=False).numpy(), model.get_weights()
    kernels.accelerate(model)
    np.testing.assert_array_equal(model(x, training=False), before[0])
    for weight, other in zip(model.get_weights(), before[1], strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize(
    "attack",
    [
        lambda d, x, y: gradient_attack(d, x, y, 0.3, 0.1, 2, "linf"),
        lambda d, x, y: ascend(d, "dlr", x, x, y, None, tf.constant(0.3), tf.constant([0, 1])),
        lambda d, x, y: approach_boundary(d, x, y, 1 - y, tf.constant(2)),
    ],
    ids=["pgd", "apgd", "fab"],
)
def test_loops_keep_the_gradient_of_pooling_in_a_graph_of_its_own(auto, attack):
    d = networks.d1((8, 8, 1), 4, 2)
    traced = tf.function(lambda x, y: attack(d, x, y)).get_concrete_function(tf.zeros([2, 8, 8, 1]), tf.zeros([2], tf.int32))
    functions = traced.graph.as_graph_def().library.function
    pooling = [function for function in functions if any(node.op == "MaxPoolGrad" for node in function.node_def)]
    assert pooling
    assert all(function.attr["_noinline"].b for function in pooling)


def test_players_and_loaded_models_are_accelerated_and_saved_as_they_were(auto, tmp_path):
    spec = experiment("mnist", "advnet", scale="tiny", generator_width=1)
    players = defences.make_players(spec)
    accelerated = [layer for layer in players.d.layers if "convolution_op" in vars(layer)]
    assert [layer.kernel.shape for layer in accelerated] == [(5, 5, 1, 32), (5, 5, 32, 64)]
    assert not any("convolution_op" in vars(layer) for layer in players.g.layers)
    assert all("call" in vars(layer) for layer in players.g.layers if isinstance(layer, keras.layers.BatchNormalization))
    players.d.save(tmp_path / "d.keras")
    loaded, plain = evaluation.load_model(tmp_path / "d.keras"), keras.models.load_model(tmp_path / "d.keras")
    x = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    np.testing.assert_allclose(loaded(x), plain(x), atol=1e-6)
    assert [("convolution_op" in vars(layer)) for layer in loaded.layers].count(True) == 2
    assert not any("convolution_op" in vars(layer) for layer in plain.layers)
