"""MagNet's two autoencoders for MNIST (Meng and Chen, 2017, "MagNet: a two-pronged defense", Table 2)."""

from __future__ import annotations

from adv_networks.errors import UsageError
from adv_networks.lazy import keras
from adv_networks.networks.blocks import Shape

# The weight of the squared activations in the loss, as in the authors' code.
_ACTIVITY = 1e-9


def _convolution(x, filters: int):
    """A 3×3 convolution with a sigmoid."""
    regularizer = keras.regularizers.L2(_ACTIVITY)
    return keras.layers.Conv2D(filters, 3, padding="same", activation="sigmoid", activity_regularizer=regularizer)(x)


def pooling_autoencoder(input_shape: Shape, width: int = 3) -> keras.Model:
    """Autoencoder I, with a bottleneck of half the image's sides: from images in [0,1] to images in [0,1] of the same shape.

    Raises:
        UsageError: sides that are not even.
    """
    if input_shape[0] % 2 or input_shape[1] % 2:
        raise UsageError(f"image sides: expected even ones, received {tuple(input_shape)}")
    image = keras.Input(input_shape, name="image")
    x = _convolution(keras.layers.AveragePooling2D(2)(_convolution(image, width)), width)
    x = _convolution(keras.layers.UpSampling2D(2)(_convolution(x, width)), width)
    return keras.Model(image, _convolution(x, input_shape[2]), name="pooling_autoencoder")


def flat_autoencoder(input_shape: Shape, width: int = 3) -> keras.Model:
    """Autoencoder II, at full size: from images in [0,1] to images in [0,1] of the same shape."""
    image = keras.Input(input_shape, name="image")
    x = _convolution(_convolution(image, width), width)
    return keras.Model(image, _convolution(x, input_shape[2]), name="flat_autoencoder")


def autoencoder_multiply_adds(input_shape: Shape, width: int) -> int:
    """Multiply-adds of both autoencoders on one image."""
    height, side, channels = input_shape
    ends, middle = 9 * width * channels, 9 * width * width
    return height * side * (4 * ends + 2 * middle) + height * side * middle // 2
