"""A step of Adam on images, for attacks that move them in an unbounded space."""

from __future__ import annotations

import math

from adv_networks.attacks.geometry import per_image
from adv_networks.lazy import tf

# Kingma and Ba, 2015.
_FIRST_MOMENT, _SECOND_MOMENT, _EPSILON = 0.9, 0.999, 1e-8


def adam_step(
    w: tf.Tensor, first: tf.Tensor, second: tf.Tensor, gradient: tf.Tensor, rate: tf.Tensor, number: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A step of Adam on images: the new w and the two moments. `number` counts from 1, for all images or for each [batch]."""
    # A square that overflows would hold a pixel still for good.
    largest = math.sqrt(gradient.dtype.max) / 2
    gradient = tf.clip_by_value(gradient, -largest, largest)
    first = _FIRST_MOMENT * first + (1 - _FIRST_MOMENT) * gradient
    second = _SECOND_MOMENT * second + (1 - _SECOND_MOMENT) * gradient**2
    corrected = rate * tf.sqrt(1 - _SECOND_MOMENT**number) / (1 - _FIRST_MOMENT**number)
    return w - per_image(corrected, w) * first / (tf.sqrt(second) + _EPSILON), first, second


def at_least_single(images: tf.Tensor) -> tf.Tensor:
    """The images, in float32 if they are in half precision, where Adam's ε rounds to 0 and β₂ may round to 1."""
    return images if images.dtype.size >= 4 else tf.cast(images, tf.float32)
