"""Faster forms of layers, and of gradients inside loops: the same functions and gradients, up to rounding.

TensorFlow's gradient of a convolution with respect to an image of one channel is slow: 15 ms of the 50 ms that a step of PGD
on D1 takes for 250 images on two cores, while a matrix product and a sum of shifted images take 6. D1's second convolution,
which is most of what D1 computes, takes half the time with fewer products (`winograd`), which gain little below 16 channels or
8 columns (benchmarks). On images of up to four pixels with few channels, which the generator of the digits has inside, a dense
product is faster (`dense_convolution`). BN has its own module, `normalisation`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from adv_networks.lazy import keras, tf
from adv_networks.runtime import dense_convolution, normalisation, replacements, winograd


def accelerate(model: keras.Model) -> None:
    """Makes the layers of a model use their faster forms, in place; `model.save` writes the same file.

    Only layers in single precision have one. That of BN is for training and first derivatives, not for replicas or double
    backprop (`moments`).
    """
    for layer in model.layers:
        if layer.compute_dtype != "float32" or replacements.is_foreign(layer):
            continue
        if normalisation.is_plain(layer):
            normalisation.accelerate(layer)
        elif type(layer) is keras.layers.Conv2D and _is_plain_convolution(layer):
            channels = layer.kernel.shape[2]
            if len(layer._inbound_nodes) == 1 and dense_convolution.is_faster(layer.input.shape, layer.kernel.shape):
                layer.convolution_op = functools.partial(_convolution_of_few_pixels, layer)
            elif layer.kernel_size == (5, 5) and channels == 1:
                layer.convolution_op = _convolution_of_one_channel
            elif layer.kernel_size == (5, 5) and channels >= 16:
                layer.convolution_op = functools.partial(_convolution_of_many_channels, layer)


def _is_plain_convolution(layer: keras.layers.Conv2D) -> bool:
    """Whether a layer is a convolution of stride 1 with a padded, odd kernel and runs on the CPU."""
    return (
        all(size % 2 for size in layer.kernel_size)
        and layer.strides == layer.dilation_rate == (1, 1)
        and (layer.padding, layer.groups, layer.data_format) == ("same", 1, "channels_last")
        and layer.built
        and not tf.config.list_physical_devices("GPU")
    )


def _convolution_of_one_channel(images: Any, kernel: Any) -> tf.Tensor:
    def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(images, kernel, 1, "SAME")

    return _convolution(convolve, _gradient_by_one_channel, images, kernel)


def _convolution_of_few_pixels(layer: keras.layers.Conv2D, images: Any, kernel: Any) -> tf.Tensor:
    if not dense_convolution.is_faster(images.shape, kernel.shape):
        return type(layer).convolution_op(layer, images, kernel)
    return dense_convolution.convolve(images, kernel)


def _convolution_of_many_channels(layer: keras.layers.Conv2D, images: Any, kernel: Any) -> tf.Tensor:
    if None in images.shape[1:] or images.shape[2] < 8:
        return type(layer).convolution_op(layer, images, kernel)
    return _convolution(winograd.convolve, winograd.gradient_by_image, images, kernel)


def _convolution(
    convolve: Callable[..., tf.Tensor], gradient_by_image: Callable[..., tf.Tensor], images: Any, kernel: Any
) -> tf.Tensor:
    """A convolution that uses these forms of it and of its image gradient; it can be differentiated any number of times.

    The derivatives of each form are written in terms of the other. Otherwise TensorFlow would differentiate the operations
    inside it, and without oneDNN it has no gradient of the dilated convolution in Winograd's form.
    """
    images, kernel = tf.convert_to_tensor(images), tf.convert_to_tensor(kernel)
    of_images, of_kernel, of_outputs = images.shape, kernel.shape, [*images.shape[:3], kernel.shape[3]]

    def by_kernel(images: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.Conv2DBackpropFilter(
            input=images, filter_sizes=of_kernel, out_backprop=upstream, strides=[1] * 4, padding="SAME"
        )

    @tf.custom_gradient
    def of(images: tf.Tensor, kernel: tf.Tensor):
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return by_image(upstream, kernel), by_kernel(images, upstream)

        # No operation may follow before the bias, or TensorFlow would not fuse the bias into the convolution.
        return convolve(images, kernel), gradient

    @tf.custom_gradient
    def by_image(upstream: tf.Tensor, kernel: tf.Tensor):
        def gradient(second: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return of(tf.ensure_shape(second, of_images), kernel), by_kernel(second, upstream)

        of_form = gradient_by_image(tf.ensure_shape(upstream, of_outputs), kernel)
        return tf.ensure_shape(of_form, of_images), gradient

    return of(images, kernel)


def _gradient_by_one_channel(upstream: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The gradient of a convolution with respect to its one-channel image; upstream is [batch, height, width, filters]."""
    weights = tf.reshape(kernel, [25, -1])
    products = tf.matmul(weights, tf.reshape(upstream, [-1, weights.shape[1]]), transpose_b=True)
    return _sum_of_shifted(tf.reshape(products, tf.concat([[25], tf.shape(upstream)[:3]], 0)))


@functools.partial(tf.function, autograph=False, jit_compile=True)
def _sum_of_shifted(products: tf.Tensor) -> tf.Tensor:
    """The sum of 25 images [25, batch, height, width]; number 5i + j is shifted up by 2 − i and left by 2 − j."""
    height, width = tf.unstack(tf.shape(products)[2:])
    padded = tf.pad(products, [[0, 0], [0, 0], [2, 2], [2, 2]])
    shifted = [padded[5 * i + j, :, 4 - i : 4 - i + height, 4 - j : 4 - j + width] for i in range(5) for j in range(5)]
    return functools.reduce(tf.add, shifted)[..., None]
