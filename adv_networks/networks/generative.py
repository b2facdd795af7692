"""The generative networks G1, G2 and G3 (appendix, Fig. 4), and the released code's MNIST generator."""

from __future__ import annotations

import functools
import math
from typing import Any

from adv_networks.experiments import CONVEX_NORMS, DATASETS, GENERATORS, Experiment, choose, register_generator
from adv_networks.lazy import keras, tf
from adv_networks.networks.blocks import (
    DEFAULT_CONVOLUTIONS,
    Convolutions,
    Shape,
    bottleneck_of,
    convolution,
    convolutions_of,
    image_input,
    initializer_of,
    normalised_relu,
    rescaled,
    residual_multiply_adds,
    stage,
)
from adv_networks.runtime import replicas

# The last convolution's output has a norm of about 10. If all units are silent and the norm is below this, the output is
# divided by this instead of its norm, which bounds the gradient.
SHORTEST = 1e-5


def perturbation_of(x, norm: str):
    """The last layer of a generator: tanh for L∞; otherwise each image is divided by its l2 or l1 norm.

    Examples:
        >>> import keras
        >>> from adv_networks import networks
        >>> networks.perturbation_of(keras.ops.full((1, 2, 2, 1), 3.0), "l1").numpy().ravel().tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    p = choose(CONVEX_NORMS, norm, "norm")
    if p == math.inf:
        return keras.layers.Activation("tanh", dtype=keras.config.floatx(), name="perturbation")(x)
    # Not keras.ops.normalize or UnitNormalization: at zero their second derivative is NaN, and with XLA the first one is too.
    size = keras.ops.sum(keras.ops.absolute(x) if p == 1 else keras.ops.square(x), (1, 2, 3), keepdims=True)
    size = keras.ops.maximum(size, SHORTEST**p)
    return keras.ops.divide(x, size if p == 1 else keras.ops.sqrt(size))


def decoder(x, width: int, channels: int, norm: str, convolutions: Convolutions):
    """The common part of the three generators: six residual blocks, two deconvolutions, a convolution and the last layer."""
    x = stage(x, 6, 1, 4 * width, convolutions)
    initializer = convolutions.last_initializer
    for filters in (2 * width, width):
        x = normalised_relu(convolution(x, filters, 3, 2, transposed=True, initializer=initializer))
    x = convolution(x, channels, 3, use_bias=True, initializer=initializer, dtype=keras.config.floatx())
    return perturbation_of(x, norm)


def g1(
    input_shape: Shape,
    width: int = 64,
    *,
    norm: str = "linf",
    encoder_widths: tuple[int, ...] = (1, 1, 2),
    pixel_levels: int = 255,
    convolutions: Convolutions = DEFAULT_CONVOLUTIONS,
) -> keras.Model:
    """G1(k) (Fig. 4a): an autoencoder of the image; `encoder_widths` are the widths of its encoder in multiples of k.

    Examples:
        >>> from adv_networks import networks
        >>> networks.g1((32, 32, 3), 4).output_shape
        (None, 32, 32, 3)
    """
    image = image_input(input_shape)
    x = rescaled(image, pixel_levels)
    options = dict(initializer=convolutions.initializer, padding=convolutions.padding)
    for stride, multiple in zip((1, 2, 2), encoder_widths, strict=True):
        x = normalised_relu(convolution(x, multiple * width, 3, stride, **options))
    return keras.Model(image, decoder(x, width, input_shape[2], norm, convolutions), name="g1")


def g2(
    input_shape: Shape, width: int = 64, *, norm: str = "linf", convolutions: Convolutions = DEFAULT_CONVOLUTIONS
) -> keras.Model:
    """G2(k) (Fig. 4b): a decoder of Gaussian noise z with (H/4)(W/4)·4k numbers (256k on 32×32 images).

    Examples:
        >>> from adv_networks import networks
        >>> networks.g2((32, 32, 3), 4).input_shape
        (None, 1024)
    """
    bottleneck = bottleneck_of(input_shape, width)
    noise = keras.Input((math.prod(bottleneck),), name="noise")
    x = keras.layers.Reshape(bottleneck)(noise)
    return keras.Model(noise, decoder(x, width, input_shape[2], norm, convolutions), name="g2")


def g3(
    input_shape: Shape, classes: int, width: int = 64, *, norm: str = "linf", convolutions: Convolutions = DEFAULT_CONVOLUTIONS
) -> keras.Model:
    """G3(k) (Fig. 4c): a decoder of the one-hot label.

    Examples:
        >>> from adv_networks import networks
        >>> networks.g3((8, 8, 1), 10, 2).input_shape
        (None, 10)
    """
    bottleneck = bottleneck_of(input_shape, width)
    label = keras.Input((classes,), name="label")
    x = keras.layers.Dense(math.prod(bottleneck), kernel_initializer=initializer_of(convolutions.initializer))(label)
    x = keras.layers.Reshape(bottleneck)(x)
    return keras.Model(label, decoder(x, width, input_shape[2], norm, convolutions), name="g3")


def released_mnist_generator(
    input_shape: Shape, width: int = 64, *, norm: str = "linf", convolutions: Convolutions = DEFAULT_CONVOLUTIONS
) -> keras.Model:
    """The small MNIST generator of the released code: two 5×5 convolutions and two 5×5 deconvolutions, all of stride 2.

    Examples:
        >>> from adv_networks import networks
        >>> networks.released_mnist_generator((28, 28, 1), 4).output_shape
        (None, 28, 28, 1)
    """
    image = image_input(input_shape)
    x = rescaled(image)
    for filters in (width, 2 * width):
        options = dict(initializer=convolutions.initializer, padding=convolutions.padding)
        x = normalised_relu(convolution(x, filters, 5, 2, **options))
    options = dict(transposed=True, initializer=convolutions.last_initializer)
    x = normalised_relu(convolution(x, width, 5, 2, **options))
    x = convolution(x, input_shape[2], 5, 2, use_bias=True, dtype=keras.config.floatx(), **options)
    return keras.Model(image, perturbation_of(x, norm), name="released_mnist")


def generators(spec: Experiment) -> list[keras.Model]:
    """The generative networks that the experiment names, with fresh weights.

    Examples:
        >>> from adv_networks import experiments, networks
        >>> spec = experiments.experiment("digits", "advnet", generators=("g3", "released_mnist"), generator_width=2)
        >>> [g.name for g in networks.generators(spec)]
        ['g3', 'released_mnist']
    """
    return [GENERATORS[name].build(spec) for name in spec.generators]


def generator_input(generator: keras.Model, x: tf.Tensor, y: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
    """The input of `generator` for images x and labels y: x itself, noise drawn from `seed` (int32 [2]), or one-hot labels.

    Examples:
        >>> import tensorflow as tf
        >>> from adv_networks import networks
        >>> x, y = tf.zeros((2, 8, 8, 1)), tf.constant([3, 5])
        >>> networks.generator_input(networks.g3((8, 8, 1), 10, 2), x, y, tf.constant([0, 0])).shape
        TensorShape([2, 10])
    """
    kind, shape = generator.inputs[0].name, generator.inputs[0].shape
    if kind == "image" or len(shape) == 4:
        return x
    if kind == "noise":
        draw = functools.partial(tf.random.stateless_normal, seed=seed, dtype=x.dtype)
        return replicas.share_of(draw, [tf.shape(x)[0], shape[1]])
    if y is None:
        raise ValueError("y: this generator takes labels, received None")
    return tf.one_hot(y, shape[1], dtype=x.dtype)


def _options(spec: Experiment) -> dict[str, Any]:
    return dict(norm=spec.norm, convolutions=convolutions_of(spec))


def _decoder_multiply_adds(spec: Experiment, encoded: int) -> int:
    """Multiply-adds of the decoder, whose input has `encoded` channels."""
    height, width, channels = DATASETS[spec.dataset].image_shape
    pixels, k = height * width, spec.generator_width
    deconvolutions = 9 * (pixels // 16 * 4 * k * 2 * k + pixels // 4 * 2 * k * k + pixels * k * channels)
    return residual_multiply_adds(pixels // 16, encoded, 4 * k, blocks=6) + deconvolutions


def _g1_multiply_adds(spec: Experiment) -> int:
    height, width, channels = DATASETS[spec.dataset].image_shape
    pixels = height * width
    first, second, third = (multiple * spec.generator_width for multiple in spec.encoder_widths)
    encoder = 9 * (pixels * channels * first + pixels // 4 * first * second + pixels // 16 * second * third)
    return encoder + _decoder_multiply_adds(spec, third)


def _g2_multiply_adds(spec: Experiment) -> int:
    return _decoder_multiply_adds(spec, 4 * spec.generator_width)


def _g3_multiply_adds(spec: Experiment) -> int:
    height, width, _ = DATASETS[spec.dataset].image_shape
    full = DATASETS[spec.dataset].classes * height * width // 16 * 4 * spec.generator_width
    return full + _decoder_multiply_adds(spec, 4 * spec.generator_width)


def _released_multiply_adds(spec: Experiment) -> int:
    height, width, channels = DATASETS[spec.dataset].image_shape
    pixels, k = height * width, spec.generator_width
    return pixels // 4 * 25 * channels * k + pixels // 16 * 25 * 2 * k * k * 2 + pixels // 4 * 25 * k * channels


@register_generator("g1", "the paper's autoencoder of the image (Fig. 4a)", multiply_adds=_g1_multiply_adds)
def _build_g1(spec: Experiment) -> keras.Model:
    options = dict(encoder_widths=spec.encoder_widths, pixel_levels=spec.pixel_levels, **_options(spec))
    return g1(DATASETS[spec.dataset].image_shape, spec.generator_width, **options)


@register_generator("g2", "the paper's decoder of noise (Fig. 4b)", multiply_adds=_g2_multiply_adds)
def _build_g2(spec: Experiment) -> keras.Model:
    return g2(DATASETS[spec.dataset].image_shape, spec.generator_width, **_options(spec))


@register_generator("g3", "the paper's decoder of the label (Fig. 4c)", multiply_adds=_g3_multiply_adds)
def _build_g3(spec: Experiment) -> keras.Model:
    dataset = DATASETS[spec.dataset]
    return g3(dataset.image_shape, dataset.classes, spec.generator_width, **_options(spec))


@register_generator(
    "released_mnist", "the released MNIST generator, from the image: four 5×5 layers", multiply_adds=_released_multiply_adds
)
def _build_released(spec: Experiment) -> keras.Model:
    return released_mnist_generator(DATASETS[spec.dataset].image_shape, spec.generator_width, **_options(spec))
