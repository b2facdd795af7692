"""Models within models, made flat: the same layers, outputs and weights."""

import keras
import numpy as np

from adv_networks import runtime
from tests.conftest import randomised


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = keras.layers.Dense(3)

    def call(self, x):
        return self.inner(x)


def test_layers_of_inner_models_become_the_models_own():
    layers = keras.layers
    image = keras.Input((8, 8, 1))
    x = layers.Dropout(0.5)(layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(image)))
    inner = keras.Model(image, layers.Add()([x, 2 * x]))
    head = keras.Sequential([keras.Input((6, 6, 4)), layers.Flatten(), keras.Sequential([layers.Dense(5), layers.ReLU()])])
    nested = randomised(keras.Sequential([keras.Input((8, 8, 1)), layers.Rescaling(2, -1), inner, head, Subclassed()]))
    flat = runtime.flattened(nested)
    kinds = [type(layer).__name__ for layer in flat.layers[1:]]
    assert kinds == ["Rescaling", "Conv2D", "BatchNormalization", "Dropout", "Add", "Flatten", "Dense", "ReLU", "Subclassed"]
    images = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(flat(images, training=False), nested(images, training=False))
    flat(images, training=True)
    for one, other in zip(flat.get_weights(), nested.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert runtime.flattened(flat) is flat
