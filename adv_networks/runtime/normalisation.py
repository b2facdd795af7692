"""BN in training: a faster form of Keras' own, with the same outputs, gradients and averages, up to rounding.

Keras composes BN of single operations, each a pass over memory. TensorFlow has a fused operation, which takes the moments of
the images that it is given. Where cores share a batch, the moments are those of all its parts. On some processors, the fused
operation takes several times as long as single ones if oneDNN is limited to AVX2 (benchmarks); there it is not used.
"""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from adv_networks.lazy import keras, tf
from adv_networks.runtime.caching import caches

# Up to here, the overhead of a convolution costs more than the passes over memory that it saves.
_FEW_VALUES = 2**16
# Above this, its products with zeros cost more.
_FEW_CHANNELS = 32
# The fused operation takes 0.3 to 1.2 times as long as a product and a sum, but 3.1 to 4.7 times where it is slow. A limit far
# from both makes the choice the same in every process.
_SLOW = 2


def is_plain(layer: keras.layers.Layer) -> bool:
    """Whether a layer is BN with the moments of this replica's batch. Early supported releases of Keras have no renorm."""
    if type(layer) is not keras.layers.BatchNormalization:
        return False
    return layer.axis in (3, -1) and not (layer.synchronized or getattr(layer, "renorm", False))


def accelerate(layer: keras.layers.BatchNormalization) -> None:
    """Makes a plain BN layer use its faster form in training, in place."""
    layer.call = functools.partial(_faster_call, layer)


def is_accelerated(layer: keras.layers.BatchNormalization) -> bool:
    """Whether a BN layer that went through `accelerate` uses its faster form in training."""
    return getattr(layer.call, "func", None) is _faster_call and layer.trainable and layer.scale and layer.center


def _faster_call(layer: keras.layers.BatchNormalization, inputs, training=None, mask=None):
    if not (training and is_accelerated(layer) and mask is None and inputs.shape.rank == 4):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    return normalise(layer, [inputs])[0]


def normalise(layer: keras.layers.BatchNormalization, parts: list[tf.Tensor], fused: bool | None = None) -> list[tf.Tensor]:
    """BN in training on the parts [images, height, width, channels] of one batch; updates the layer's averages.

    By default it is `fused` unless that is slow here.
    """
    fused = not is_fused_slow() if fused is None else fused
    scale, offset = layer.gamma.value, layer.beta.value
    if len(parts) == 1 and fused:
        normalised, mean, variance = _normalised(parts[0], scale, offset, layer.epsilon)
        normalised = [normalised]
    else:
        *normalised, mean, variance = _normalised_jointly(layer.epsilon, fused, scale, offset, *parts)
    for average, moment in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        average.assign(average.value * layer.momentum + moment * (1 - layer.momentum))
    return normalised


@caches.results
def is_fused_slow() -> bool:
    """Whether TensorFlow's fused operation takes much longer here than a product and a sum; measured once, in 0.1 s."""
    if tf.config.list_physical_devices("GPU"):
        return False
    with tf.init_scope():
        images, vector = tf.zeros([32, 32, 32, 16]), tf.ones([16])
        fused = tf.function(lambda: _inferred(images, vector, vector, vector, vector, 1e-3), autograph=False)
        single = tf.function(lambda: images * vector + vector, autograph=False)
        fused_seconds, single_seconds = (min(_seconds(call) for _ in range(8)) for call in (fused, single))
    return fused_seconds > _SLOW * single_seconds


def _seconds(call: Callable[[], tf.Tensor]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


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


def _normalised_jointly(
    epsilon: float, fused: bool, scale: tf.Tensor, offset: tf.Tensor, *parts: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """BN of each part with the moments of all parts together, followed by these moments, which have no gradient."""

    @tf.custom_gradient
    def of(scale: tf.Tensor, offset: tf.Tensor, *parts: tf.Tensor):
        forward = _fused_forward if fused else _forward_by_operations
        *normalised, mean, variance = forward(epsilon, scale, offset, *parts)

        def gradient(*upstream: tf.Tensor) -> list[tf.Tensor]:
            return _backward(epsilon, scale, mean, variance, parts, upstream[: len(parts)])

        return (*normalised, mean, variance), gradient

    return of(scale, offset, *parts)


@functools.partial(tf.function, autograph=False)
def _fused_forward(epsilon: float, scale: tf.Tensor, offset: tf.Tensor, *parts: tf.Tensor) -> list[tf.Tensor]:
    total = _sum(_pixels(part) for part in parts)
    shares = [_pixels(part) / total for part in parts]
    means, variances = zip(*(_normalised(part, scale, offset, epsilon)[1:] for part in parts), strict=True)
    mean = _sum(share * own for share, own in zip(shares, means, strict=True))
    within = _sum(share * own for share, own in zip(shares, variances, strict=True))
    variance = within + _sum(share * tf.square(own - mean) for share, own in zip(shares, means, strict=True))
    return [*(_inferred(part, scale, offset, mean, variance, epsilon) for part in parts), mean, variance]


def _inferred(
    images: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor, epsilon: float
) -> tf.Tensor:
    """The images, normalised by given moments."""
    return tf.raw_ops.FusedBatchNormV3(
        x=images, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=epsilon, is_training=False
    )[0]


@functools.partial(tf.function, autograph=False)
def _forward_by_operations(epsilon: float, scale: tf.Tensor, offset: tf.Tensor, *parts: tf.Tensor) -> list[tf.Tensor]:
    axes, total = [0, 1, 2], _sum(_pixels(part) for part in parts)
    mean = _sum(tf.reduce_sum(part, axes) for part in parts) / total
    variance = _sum(tf.reduce_sum(tf.math.squared_difference(part, mean), axes) for part in parts) / total
    slope = scale * tf.math.rsqrt(variance + epsilon)
    return [*(_line(slope, part, offset - slope * mean) for part in parts), mean, variance]


@functools.partial(tf.function, autograph=False)
def _backward(
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
    if images.shape[3] > _FEW_CHANNELS or 0 < (images.shape.num_elements() or 0) <= _FEW_VALUES:
        return slope * images + shift
    # Otherwise the product with a vector takes up to three times as long as a convolution, which takes one pass.
    # TensorFlow fuses an addition into the convolution only if it knows the shapes, unlike in loops.
    kernel = tf.reshape(tf.raw_ops.MatrixDiag(diagonal=slope), [1, 1, *slope.shape, *slope.shape])
    return tf.nn.bias_add(tf.nn.conv2d(images, kernel, 1, "VALID"), shift)
