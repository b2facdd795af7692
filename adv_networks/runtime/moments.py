"""BN in training that is correct on several replicas and under double backprop."""

from __future__ import annotations

import functools
from typing import Any

from adv_networks.lazy import keras
from adv_networks.runtime import replicas


def share_batch_moments(model: keras.Model) -> None:
    """Makes BN in training take its moments over all replicas, and corrects their second derivatives, in place.

    TensorFlow's moments treat the mean inside the variance as a constant. First derivatives are still right, because the
    gradient there is zero, but second derivatives are wrong. The layers of nested models count.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer._moments = functools.partial(_moments, layer)


def _moments(layer: keras.layers.BatchNormalization, inputs: Any, mask: Any) -> tuple[Any, Any]:
    """Mean and variance of each channel."""
    axes = [axis for axis in range(len(inputs.shape)) if axis != layer.axis % len(inputs.shape)]
    mean = replicas.mean(keras.ops.mean(inputs, axes, keepdims=True))
    return keras.ops.squeeze(mean, axes), replicas.mean(keras.ops.mean(keras.ops.square(inputs - mean), axes))
