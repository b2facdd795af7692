"""Faster forms of two layers, and of gradients within loops: the same functions and gradients, up to rounding.

Keras composes BN of single operations, each a pass over memory, where TensorFlow has it as one. And TensorFlow's gradient of
a convolution by the image is slow where that has one channel: 15 ms of the 50 ms that a step of PGD on D1 takes for 250
images on two cores, where a matrix product and a sum of shifted images take 6 (benchmarks).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def accelerate(model: keras.Model) -> None:
    """Lets the layers of a model that have a faster form use it, in place; what `model.save` writes stays the same.

    In single precision only. BN's faster form is for training and first derivatives, not for replicas or double backprop
    (`networks.share_batch_moments`).
    """
    for layer in model.layers:
        if layer.compute_dtype != "float32":
            continue
        if type(layer) is keras.layers.BatchNormalization and layer.axis in (3, -1) and not layer.renorm:
            layer.call = functools.partial(_fused_normalisation, layer)
        elif type(layer) is keras.layers.Conv2D and _is_slow(layer):
            layer.convolution_op = _convolution_of_one_channel


def for_loops(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its graph kept apart from that of a `tf.while_loop` that calls it.

    TensorFlow gives max-pooling's gradient oneDNN's kernel only if it has visited the pooling before, and in a loop's graph
    the order of its visits varies from process to process: in one of two, 64 images of D1 took 3.7 ms in place of 0.4.
    Not for replicas that share moments, which cannot do so inside a function of the graph.
    """
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


def _fused_normalisation(layer: keras.layers.BatchNormalization, inputs, training=None, mask=None):
    if not (training and layer.trainable and layer.scale and layer.center and mask is None and inputs.shape.rank == 4):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    unused = tf.zeros([0])
    normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=layer.gamma.value,
        offset=layer.beta.value,
        mean=unused,
        variance=unused,
        epsilon=layer.epsilon,
        is_training=True,
    )
    # TensorFlow returns the unbiased variance, Keras averages the biased one, by which both normalise.
    count = tf.cast(tf.size(inputs) // inputs.shape[3], variance.dtype)
    for average, moment in ((layer.moving_mean, mean), (layer.moving_variance, variance * (count - 1) / count)):
        average.assign(average.value * layer.momentum + moment * (1 - layer.momentum))
    return normalised


def _is_slow(layer: keras.layers.Conv2D) -> bool:
    """A 5×5 convolution of one channel on the CPU, as D1 begins with."""
    return (
        layer.kernel_size == (5, 5)
        and layer.strides == layer.dilation_rate == (1, 1)
        and (layer.padding, layer.groups, layer.data_format) == ("same", 1, "channels_last")
        and layer.built
        and layer.kernel.shape[2] == 1
        and not tf.config.list_physical_devices("GPU")
    )


def _convolution_of_one_channel(images, kernel):
    return _with_faster_gradient(tf.convert_to_tensor(images), tf.convert_to_tensor(kernel))


@tf.custom_gradient
def _with_faster_gradient(images: tf.Tensor, kernel: tf.Tensor):
    def gradient(upstream):
        by_kernel = tf.raw_ops.Conv2DBackpropFilter(
            input=images, filter_sizes=tf.shape(kernel), out_backprop=upstream, strides=[1] * 4, padding="SAME"
        )
        return tf.ensure_shape(_gradient_by_image(upstream, kernel), images.shape), by_kernel

    return tf.nn.conv2d(images, kernel, 1, "SAME"), gradient


def _gradient_by_image(upstream: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """What a convolution's gradient by its image of one channel is: that of [batch, height, width, filters] and the kernel."""
    weights = tf.reshape(kernel, [25, -1])
    products = tf.matmul(weights, tf.reshape(upstream, [-1, weights.shape[1]]), transpose_b=True)
    return _sum_of_shifted(tf.reshape(products, tf.concat([[25], tf.shape(upstream)[:3]], 0)))


@functools.partial(tf.function, autograph=False, jit_compile=True)
def _sum_of_shifted(products: tf.Tensor) -> tf.Tensor:
    """Image number 5i + j, [25, batch, height, width], moved up by 2 − i and left by 2 − j, all added."""
    height, width = tf.unstack(tf.shape(products)[2:])
    padded = tf.pad(products, [[0, 0], [0, 0], [2, 2], [2, 2]])
    shifted = [padded[5 * i + j, :, 4 - i : 4 - i + height, 4 - j : 4 - j + width] for i in range(5) for j in range(5)]
    return functools.reduce(tf.add, shifted)[..., None]
