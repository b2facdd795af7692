"""Faster forms of layers, and of gradients inside loops: the same functions and gradients, up to rounding.

Keras composes BN of single operations, each a pass over memory, although TensorFlow has a fused one. TensorFlow's gradient of
a convolution with respect to an image of one channel is slow: 15 ms of the 50 ms that a step of PGD on D1 takes for 250
images on two cores, while a matrix product and a sum of shifted images take 6. D1's second convolution, which is most of what
D1 computes, takes half the time with fewer products (`winograd`), which gain little below 16 channels or 8 columns
(benchmarks). On images of up to four pixels with few channels, which the generator of the digits has inside, a dense product
is faster (`dense_convolution`).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from adv_networks.lazy import keras, tf
from adv_networks.runtime import dense_convolution, replacements, winograd

# Up to here, the overhead of a convolution costs more than the passes over memory that it saves.
_FEW_VALUES = 2**16


def accelerate(model: keras.Model) -> None:
    """Makes the layers of a model use their faster forms, in place; `model.save` writes the same file.

    Only layers in single precision have one. That of BN is for training and first derivatives, not for replicas or double
    backprop (`moments`).
    """
    for layer in model.layers:
        if layer.compute_dtype != "float32" or replacements.is_foreign(layer):
            continue
        if _is_plain_normalisation(layer):
            layer.call = functools.partial(_fused_normalisation, layer)
        elif type(layer) is keras.layers.Conv2D and _is_plain_convolution(layer):
            channels = layer.kernel.shape[2]
            if len(layer._inbound_nodes) == 1 and dense_convolution.is_faster(layer.input.shape, layer.kernel.shape):
                layer.convolution_op = functools.partial(_convolution_of_few_pixels, layer)
            elif layer.kernel_size == (5, 5) and channels == 1:
                layer.convolution_op = _convolution_of_one_channel
            elif layer.kernel_size == (5, 5) and channels >= 16:
                layer.convolution_op = functools.partial(_convolution_of_many_channels, layer)


def _is_plain_normalisation(layer: keras.layers.Layer) -> bool:
    """Whether a layer is BN with the moments of this replica's batch. Early supported releases of Keras have no renorm."""
    if type(layer) is not keras.layers.BatchNormalization:
        return False
    return layer.axis in (3, -1) and not (layer.synchronized or getattr(layer, "renorm", False))


def is_fused(layer: keras.layers.BatchNormalization) -> bool:
    """Whether a BN layer that went through `accelerate` uses its faster form in training."""
    return getattr(layer.call, "func", None) is _fused_normalisation and layer.trainable and layer.scale and layer.center


def _fused_normalisation(layer: keras.layers.BatchNormalization, inputs, training=None, mask=None):
    if not (training and is_fused(layer) and mask is None and inputs.shape.rank == 4):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    return normalise(layer, [inputs])[0]


def normalise(layer: keras.layers.BatchNormalization, parts: list[tf.Tensor]) -> list[tf.Tensor]:
    """BN in training on the parts [images, height, width, channels] of one batch; updates the layer's averages."""
    scale, offset = layer.gamma.value, layer.beta.value
    if len(parts) == 1:
        normalised, mean, variance = _normalised(parts[0], scale, offset, layer.epsilon)
        normalised = [normalised]
    else:
        *normalised, mean, variance = _normalised_jointly(layer.epsilon, scale, offset, *parts)
    for average, moment in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        average.assign(average.value * layer.momentum + moment * (1 - layer.momentum))
    return normalised


def _normalised(images: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, epsilon: float) -> tuple[tf.Tensor, ...]:
    """The normalised images and their moments."""
    unused = tf.zeros([0])
    normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images, scale=scale, offset=offset, mean=unused, variance=unused, epsilon=epsilon, is_training=True
    )
    # TensorFlow returns the unbiased variance. Keras averages the biased one, and both use the biased one to normalise.
    count = _pixels(images)
    return normalised, mean, variance * (count - 1) / count


def _pixels(images: tf.Tensor) -> float | tf.Tensor:
    """The number of values per channel: a Python number if the shape is known, which keeps graphs small."""
    if known := images.shape.num_elements():
        return float(known // images.shape[3])
    return tf.cast(tf.size(images) // images.shape[3], images.dtype)


def _sum(terms: Iterable[Any]) -> Any:
    """The sum of the terms, without the initial addition to 0 of Python's `sum`."""
    return functools.reduce(operator.add, terms)


def _normalised_jointly(epsilon: float, scale: tf.Tensor, offset: tf.Tensor, *parts: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """BN of each part with the moments of all parts together, followed by these moments, which have no gradient."""

    @tf.custom_gradient
    def of(scale: tf.Tensor, offset: tf.Tensor, *parts: tf.Tensor):
        *normalised, mean, variance = _joint_forward(epsilon, scale, offset, *parts)

        def gradient(*upstream: tf.Tensor) -> list[tf.Tensor]:
            return _joint_backward(epsilon, scale, mean, variance, parts, upstream[: len(parts)])

        return (*normalised, mean, variance), gradient

    return of(scale, offset, *parts)


@functools.partial(tf.function, autograph=False)
def _joint_forward(epsilon: float, scale: tf.Tensor, offset: tf.Tensor, *parts: tf.Tensor) -> list[tf.Tensor]:
    total = _sum(_pixels(part) for part in parts)
    shares = [_pixels(part) / total for part in parts]
    means, variances = zip(*(_normalised(part, scale, offset, epsilon)[1:] for part in parts), strict=True)
    mean = _sum(share * own for share, own in zip(shares, means, strict=True))
    within = _sum(share * own for share, own in zip(shares, variances, strict=True))
    variance = within + _sum(share * tf.square(own - mean) for share, own in zip(shares, means, strict=True))
    normalised = [
        tf.raw_ops.FusedBatchNormV3(
            x=part, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=epsilon, is_training=False
        )[0]
        for part in parts
    ]
    return [*normalised, mean, variance]


@functools.partial(tf.function, autograph=False)
def _joint_backward(
    epsilon: float,
    scale: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    parts: Sequence[tf.Tensor],
    upstream: Sequence[tf.Tensor],
) -> list[tf.Tensor]:
    """The gradients by scale, offset and parts. By x it is γ/σ (u − mean of u − x̂ · mean of u x̂); TensorFlow gives γ/σ u."""
    gradients = [
        tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=by_output,
            x=part,
            scale=scale,
            reserve_space_1=mean,
            reserve_space_2=variance,
            reserve_space_3=tf.zeros([0]),
            epsilon=epsilon,
            is_training=False,
        )[:3]
        for part, by_output in zip(parts, upstream, strict=True)
    ]
    by_scale, by_offset = (_sum(own[number] for own in gradients) for number in (1, 2))
    total = _sum(_pixels(part) for part in parts)
    slope = -scale * by_scale / (total * (variance + epsilon))
    shift = -scale * by_offset / (total * tf.sqrt(variance + epsilon)) - slope * mean
    by_parts = [tf.add_n([own[0], _line(slope, part, shift)]) for part, own in zip(parts, gradients, strict=True)]
    return [by_scale, by_offset, *by_parts]


def _line(slope: tf.Tensor, images: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """slope · images + shift, by channel."""
    if 0 < (images.shape.num_elements() or 0) <= _FEW_VALUES:
        return slope * images + shift
    # For many values, the product with a vector takes three times as long as a convolution, which takes one pass.
    # TensorFlow fuses an addition into the convolution only if it knows the shapes, unlike in loops.
    kernel = tf.reshape(tf.raw_ops.MatrixDiag(diagonal=slope), [1, 1, *slope.shape, *slope.shape])
    return tf.nn.bias_add(tf.nn.conv2d(images, kernel, 1, "VALID"), shift)


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
