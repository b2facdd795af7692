"""A layer whose gradient is replaced by another one (BPDA). Importing this loads TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adv_networks.lazy import keras, tf


class StraightThrough(keras.layers.Layer):
    """f(x) with the gradient of the identity, for an f that changes images little and has no useful gradient.

    (Athalye, Carlini and Wagner, 2018, "Obfuscated gradients give a false sense of security", Section 4.1: backward pass
    differentiable approximation by the identity.)
    """

    def __init__(self, inner: Callable[[Any], Any], **options: Any):
        """Takes f, a layer or other function from images [batch, height, width, channels] to images of the same shape."""
        super().__init__(**options)
        self.inner = inner

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """f(images)."""
        return _in_place_of(images, tf.stop_gradient(self.inner(images)))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape of the images."""
        return input_shape


@tf.custom_gradient
def _in_place_of(x: tf.Tensor, value: tf.Tensor) -> Any:
    """The value, with the gradient of x."""
    return tf.identity(value), lambda upstream: (upstream, tf.zeros_like(upstream))
