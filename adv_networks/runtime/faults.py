"""Faults of TensorFlow's kernels that silently give wrong numbers, and how the layers of a model avoid them."""

from __future__ import annotations

import functools
from typing import Any

from adv_networks.lazy import keras, tf
from adv_networks.runtime import chosen, replacements

# The smallest number of channels for which the gradient was right with every instruction set that was tried.
_ENOUGH_CHANNELS = 16


def avoid_faults(model: keras.Model) -> None:
    """Makes layers whose gradients oneDNN gets wrong compute them in another way, in place.

    In TensorFlow 2.21, the gradient of a strided 1×1 convolution with respect to its kernel is wrong by up to its own size with
    fewer than 8 channels (AVX2). With 4, 8 or 12 channels and odd batches it writes outside its memory (AVX-512). Instead, the
    pixels that such a convolution skips are removed before it.
    """
    if not chosen.uses_onednn():
        return
    for layer in model._flatten_layers():
        if type(layer) is keras.layers.Conv2D and _is_strided_1x1(layer) and not replacements.is_foreign(layer):
            layer.convolution_op = functools.partial(_convolve_what_is_kept, layer)


def _is_strided_1x1(layer: keras.layers.Conv2D) -> bool:
    return (
        layer.kernel_size == (1, 1)
        and layer.strides != (1, 1)
        and (layer.groups, layer.data_format) == (1, "channels_last")
        and layer.built
        and layer.kernel.shape[2] < _ENOUGH_CHANNELS
    )


def _convolve_what_is_kept(layer: keras.layers.Conv2D, images: Any, kernel: Any) -> tf.Tensor:
    """The convolution of images [batch, height, width, channels]; a 1×1 kernel needs no padding of any kind."""
    rows, columns = layer.strides
    return tf.nn.conv2d(images[:, ::rows, ::columns], kernel, 1, "VALID")
