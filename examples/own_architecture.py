"""A residual classifier and a generator of your own, for `--classifier` and `--generators`, on 8×8 images with one channel."""

import keras


@keras.saving.register_keras_serializable("examples")
class Residual(keras.layers.Layer):
    """A residual block of two convolutions with BN: a layer that Keras does not have."""

    def __init__(self, filters: int, **options):
        super().__init__(**options)
        self.filters = filters
        self.convolutions = [keras.layers.Conv2D(filters, 3, padding="same", use_bias=False) for _ in range(2)]
        self.normalisations = [keras.layers.BatchNormalization() for _ in range(2)]

    def build(self, shape):
        """Builds the layers of the block, which all have the same input shape."""
        for part in (*self.convolutions, *self.normalisations):
            part.build((*shape[:-1], self.filters))

    def call(self, x, training=False):
        """The layer's output, [batch, height, width, filters]."""
        y = x
        for convolution, normalisation in zip(self.convolutions, self.normalisations, strict=True):
            y = normalisation(convolution(keras.ops.relu(y)), training=training)
        return x + y

    def get_config(self):
        """The configuration that Keras saves."""
        return {**super().get_config(), "filters": self.filters}


def classifier() -> keras.Model:
    """A classifier that returns the logits of ten classes; its inputs are pixels from 0 to 255."""
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(16, 3, padding="same")(keras.layers.Rescaling(1 / 127.5, -1)(image))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(Residual(16)(Residual(16)(x))))
    return keras.Model(image, keras.layers.Dense(10)(keras.layers.Dropout(0.1)(x)))


def generator() -> keras.Model:
    """A generator that returns perturbations in [-1,1] for images in [0,1]."""
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    return keras.Model(image, keras.layers.Conv2D(1, 3, padding="same", activation="tanh")(x))
