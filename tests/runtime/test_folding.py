"""BN that convolutions take over in inference, against Keras' own layers in double precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import networks, runtime
from tests.conftest import precision, randomised

pytestmark = [pytest.mark.numerics, pytest.mark.usefixtures("auto")]

layers = keras.layers


def chain(*parts, shape=(8, 6, 4)):
    return keras.Sequential([keras.Input(shape), *parts])


def shared():
    """The output of the convolution goes to BN and elsewhere."""
    image = keras.Input((8, 6, 4))
    x = layers.Conv2D(4, 3)(image)
    return keras.Model(image, layers.BatchNormalization()(x) + x)


def with_two_outputs():
    image = keras.Input((8, 6, 4))
    x = layers.Conv2D(4, 3)(image)
    return keras.Model(image, [x, layers.BatchNormalization()(x)])


def twice():
    """One convolution and one BN for two images."""
    image, convolution, normalisation = keras.Input((8, 6, 4)), layers.Conv2D(4, 3), layers.BatchNormalization()
    return keras.Model(image, normalisation(convolution(image)) + normalisation(convolution(2 * image)))


def batch_statistics():
    image = keras.Input((8, 6, 4))
    return keras.Model(image, layers.BatchNormalization()(layers.Conv2D(4, 3)(image), training=True))


class Calls(layers.Layer):
    """A layer that calls another one, of which the graph knows nothing."""

    def __init__(self, other):
        super().__init__()
        self.others = [other]

    def call(self, x):
        return self.others[0](x)


def behind_the_graph():
    image, convolution = keras.Input((8, 6, 4)), layers.Conv2D(4, 3)
    return keras.Model(image, layers.BatchNormalization()(convolution(image)) + Calls(convolution)(image))


FOLDED = {
    "convolution": lambda: chain(layers.Conv2D(5, 3), layers.BatchNormalization(epsilon=0.1)),
    "strided, padded, without bias": lambda: chain(
        layers.Conv2D(5, 3, 2, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU()
    ),
    "groups": lambda: chain(layers.Conv2D(6, 3, groups=2), layers.BatchNormalization()),
    "dilated": lambda: chain(layers.Conv2D(6, 3, dilation_rate=2), layers.BatchNormalization(scale=False)),
    "depthwise": lambda: chain(layers.DepthwiseConv2D(3, 2, depth_multiplier=3), layers.BatchNormalization(center=False)),
    "nested": lambda: chain(layers.Rescaling(2), chain(layers.Conv2D(5, 3), layers.BatchNormalization())),
    "d2": lambda: networks.d2((16, 16, 4), 3, 2),
}
LEFT = {
    "shared": shared,
    "two outputs": with_two_outputs,
    "twice": twice,
    "batch statistics": batch_statistics,
    "behind the graph": behind_the_graph,
    "activation": lambda: chain(layers.Conv2D(5, 3, activation="relu"), layers.BatchNormalization()),
    "other axis": lambda: chain(layers.Conv2D(5, 3), layers.BatchNormalization(axis=1)),
    "unknown size": lambda: chain(layers.Conv2D(5, 3), layers.BatchNormalization(), shape=(None, None, 4)),
    "large kernel": lambda: chain(layers.Conv2D(5, 8), layers.BatchNormalization(), shape=(8, 8, 4)),
    "two precisions": lambda: chain(layers.Conv2D(5, 3, dtype="float64"), layers.BatchNormalization()),
}


def twin_of(make):
    """A model, and Keras' own layers with the same weights."""
    model, other = make(), make()
    other.set_weights(randomised(model).get_weights())
    return model, other


def images_for(model):
    shape = [side or 8 for side in model.input_shape[1:]]
    return tf.constant(np.random.default_rng(0).normal(size=(7, *shape)), model.compute_dtype)


def derivatives(model, x, along):
    """Outputs in inference, and the gradient of <outputs, along> by image and weights."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = model(x, training=False)
        total = tf.reduce_sum(outputs * along)
    return [outputs, *tape.gradient(total, [x, *(variable.value for variable in model.trainable_variables)])]


def normalised_images(model, *, training=False):
    """How many operations of a model's graph scale the seven images, or what became of them."""
    traced = tf.function(lambda x: model(x, training=training)).get_concrete_function(images_for(model))
    scaled = [
        operation for operation in traced.graph.get_operations() if operation.type in ("Mul", "RealDiv", "FusedBatchNormV3")
    ]
    return sum(operation.outputs[0].shape[:1] == [7] for operation in scaled)


@pytest.mark.parametrize("name", FOLDED)
def test_outputs_and_gradients_are_those_of_keras(name):
    with precision("float64"):
        model, other = twin_of(FOLDED[name])
    runtime.prepare(model)
    x = images_for(model)
    along = np.random.default_rng(1).normal(size=(7, *model.output_shape[1:]))
    for part, expected in zip(derivatives(model, x, along), derivatives(other, x, along), strict=True):
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", FOLDED)
def test_nothing_passes_over_the_outputs_to_normalise_them(name):
    model, other = twin_of(FOLDED[name])
    rescalings = sum(type(layer) is layers.Rescaling for layer in model.layers)
    runtime.prepare(model)
    assert normalised_images(other) > rescalings
    assert normalised_images(model) == rescalings


@pytest.mark.parametrize("name", LEFT)
def test_other_convolutions_are_keras_own(name):
    model, other = twin_of(LEFT[name])
    runtime.prepare(model)
    x = images_for(model)
    for part, expected in zip(tf.nest.flatten(model(x)), tf.nest.flatten(other(x)), strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-5)
    assert normalised_images(model)


@pytest.mark.parametrize("name", ["convolution", "nested"])
def test_training_is_that_of_keras(name):
    model, other = twin_of(FOLDED[name])
    runtime.prepare(model)
    x = images_for(model)
    np.testing.assert_allclose(model(x, training=True), other(x, training=True), atol=1e-5)
    for weight, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(x), other(x), atol=1e-5)


def test_layers_that_come_and_go_later_count():
    model = randomised(chain(layers.Conv2D(5, 3), layers.BatchNormalization()))
    runtime.prepare(model)
    x = images_for(model)
    convolved = keras.Model(model.inputs, model.layers[0].output)(x)
    model.pop()
    np.testing.assert_array_equal(model(x), convolved)
    model.add(layers.BatchNormalization(epsilon=0.5))
    np.testing.assert_allclose(model(x), convolved / np.sqrt(1.5), rtol=1e-5, atol=1e-6)


def test_layers_that_several_models_share_are_folded_where_they_fit():
    model = randomised(chain(layers.Conv2D(5, 3), layers.BatchNormalization(), layers.ReLU()))
    features = keras.Model(model.inputs, model.layers[0].output)
    flat = runtime.flattened(chain(layers.Rescaling(1), model))
    expected = features(images_for(model)), model(images_for(model))
    for part in (features, model, flat):
        runtime.prepare(part)
    np.testing.assert_array_equal(features(images_for(model)), expected[0])
    np.testing.assert_allclose(flat(images_for(model)), expected[1], atol=1e-5)
    assert [normalised_images(part) for part in (model, flat)] == [0, 1]


def test_a_plain_runtime_folds_nothing():
    runtime.configure("plain")
    model = runtime.prepare(FOLDED["convolution"]())
    assert normalised_images(model) == 1
