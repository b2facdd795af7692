"""BN folded into convolutions in inference, against Keras' own layers in double precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from adv_networks import networks, runtime
from tests.conftest import precision, randomised

pytestmark = [pytest.mark.numerics, pytest.mark.usefixtures("auto")]


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
    """A layer that calls others, of which the graph knows nothing."""

    def __init__(self, *others):
        super().__init__()
        self.others = list(others)

    def call(self, x):
        for other in self.others:
            x = other(x)
        return x


class CallsMethod(layers.Layer):
    """A layer that calls the method of a model, which does not say whether this is training."""

    def __init__(self):
        super().__init__()
        self.inner = chain(layers.Conv2D(5, 3), layers.BatchNormalization())

    def call(self, x):
        return self.inner.call(x)


class OwnCall(keras.Model):
    """A functional model with a `call` of its own."""

    def call(self, x):
        return super().call(2 * x)


def subclassed():
    image = keras.Input((8, 6, 4))
    return OwnCall(image, layers.BatchNormalization()(layers.Conv2D(4, 3)(image)))


def with_mask():
    image, mask = keras.Input((8, 6, 4)), keras.Input((6, 4))
    return keras.Model([image, mask], layers.BatchNormalization()(layers.Conv2D(4, 3)(image), mask=mask))


def called_elsewhere(*, deeper, both):
    """A layer calls the convolution, or it and BN, too, before or after they are called in the graph."""
    image, parts = keras.Input((8, 6, 4)), (layers.Conv2D(4, 3), layers.BatchNormalization())
    inside = parts[1](parts[0](image))
    elsewhere = Calls(*parts[: 1 + both])(image)
    for _ in range(2 * deeper):
        elsewhere = layers.ReLU()(elsewhere)
    return keras.Model(image, inside + elsewhere)


def nested_features():
    """A nested model returns the output of the convolution."""
    image, other, convolution = keras.Input((8, 6, 4)), keras.Input((8, 6, 4)), layers.Conv2D(4, 3)
    features = keras.Model(other, convolution(other))
    return keras.Model(image, layers.BatchNormalization()(convolution(image)) + layers.ReLU()(layers.ReLU()(features(image))))


FOLDED = {
    "convolution": lambda: chain(layers.Conv2D(5, 3), layers.BatchNormalization(epsilon=0.1)),
    "strided, padded, without bias": lambda: chain(
        layers.Conv2D(5, 3, 2, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU()
    ),
    "groups": lambda: chain(layers.Conv2D(6, 3, groups=2), layers.BatchNormalization()),
    "dilated": lambda: chain(layers.Conv2D(6, 3, dilation_rate=2), layers.BatchNormalization(scale=False)),
    "depthwise": lambda: chain(layers.DepthwiseConv2D(3, 2, depth_multiplier=3), layers.BatchNormalization(center=False)),
    "nested": lambda: chain(layers.Rescaling(2), chain(layers.Conv2D(5, 3), layers.BatchNormalization())),
    "also in a layer": lambda: called_elsewhere(deeper=False, both=False),
    "first in a layer": lambda: called_elsewhere(deeper=True, both=False),
    "in a layer with BN": lambda: called_elsewhere(deeper=False, both=True),
    "also in a nested model": nested_features,
    "d2": lambda: networks.d2((16, 16, 4), 3, 2),
}
LEFT = {
    "shared": shared,
    "two outputs": with_two_outputs,
    "twice": twice,
    "batch statistics": batch_statistics,
    "call of its own": subclassed,
    "regularised outputs": lambda: chain(layers.Conv2D(5, 3, activity_regularizer="l2"), layers.BatchNormalization()),
    "half precision": lambda: chain(layers.Conv2D(5, 3, dtype="float16"), layers.BatchNormalization(dtype="float16")),
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
    # Rescaling, and the BN of the layer that calls it itself.
    others = sum(type(layer) is layers.Rescaling for layer in model.layers) + (name == "in a layer with BN")
    runtime.prepare(model)
    assert normalised_images(other) > others
    assert normalised_images(model) == others


@pytest.mark.parametrize("name", LEFT)
def test_other_convolutions_are_keras_own(name):
    model, other = twin_of(LEFT[name])
    runtime.prepare(model)
    x = images_for(model)
    try:
        expected = tf.nest.flatten([other(x, training=False), other.losses])
    except tf.errors.AbortedError:  # TensorFlow asks the processor, not oneDNN's limit on it, whether oneDNN has float16.
        pytest.skip("oneDNN, limited to AVX2 on a processor that has float16, has no convolution of it")
    outputs = tf.nest.flatten([model(x, training=False), model.losses])
    for part, one in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(part, one, rtol=1e-5, atol=1e-5)
    assert normalised_images(model)


def test_bn_with_a_mask_is_keras_own():
    model, other = twin_of(with_mask)
    runtime.prepare(model)
    x = [tf.ones((7, 8, 6, 4)), tf.ones((7, 6, 4))]
    np.testing.assert_array_equal(model(x, training=False), other(x, training=False))


TRAINED = FOLDED | {"call of its own": subclassed, "call of an inner method": lambda: chain(CallsMethod())}


@pytest.mark.parametrize("name", ["convolution", "nested", "call of its own", "call of an inner method"])
def test_training_is_that_of_keras(name):
    model, other = twin_of(TRAINED[name])
    runtime.prepare(model)
    x = images_for(model)
    np.testing.assert_allclose(model(x, training=True), other(x, training=True), atol=1e-5)
    for weight, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(x, training=False), other(x, training=False), atol=1e-5)


def test_layers_that_come_and_go_later_count():
    model = randomised(chain(layers.Conv2D(5, 3), layers.BatchNormalization()))
    runtime.prepare(model)
    x = images_for(model)
    convolved = keras.Model(model.inputs, model.layers[0].output)(x)
    model.pop()
    np.testing.assert_array_equal(model(x, training=False), convolved)
    model.add(layers.BatchNormalization(epsilon=0.5))
    np.testing.assert_allclose(model(x, training=False), convolved / np.sqrt(1.5), rtol=1e-5, atol=1e-6)
    assert not normalised_images(model)


def test_layers_that_several_models_share_are_folded_where_they_fit():
    model = randomised(chain(layers.Conv2D(5, 3), layers.BatchNormalization(), layers.ReLU()))
    features = keras.Model(model.inputs, model.layers[0].output)
    flat = runtime.flattened(chain(layers.Rescaling(1), model))
    expected = features(images_for(model)), model(images_for(model))
    for part in (features, model, flat):
        runtime.prepare(part)
    np.testing.assert_array_equal(features(images_for(model), training=False), expected[0])
    np.testing.assert_allclose(flat(images_for(model), training=False), expected[1], atol=1e-5)
    assert [normalised_images(part) for part in (model, flat)] == [0, 1]


def test_a_plain_runtime_folds_nothing():
    runtime.configure("plain")
    model = runtime.prepare(FOLDED["convolution"]())
    assert normalised_images(model) == 1
