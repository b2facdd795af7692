"""The paper's networks (appendix, Figs. 2-4), all built from one residual block.

Classifiers take images in [0,1] and return logits; their first layer rescales to the paper's [-1,1]. Generators return a
perturbation of the image's shape, in [-1,1] or of l2 or l1 norm 1 (`norm`), and the name of their input ("image", "noise" or
"label") says what they take.
The last layer always computes in Keras' own floating type; the others, under a mixed policy, in less (`computing_in`).
Image sides are multiples of 4. He-normal kernels, BN momentum 0.997 and ε 1e-5, and the projection shortcut in the first
block of every stage are those of the authors' released code, where the paper is silent; so are D1's Glorot kernels.
Experiments start D1's last layer at zero, which is ours (`logits_initializer`): from random values PGD training on MNIST at
the paper's learning rate silences the second convolution within 100 steps, whichever the kernels (docs/choices.md).
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from adv_networks.errors import UsageError
from adv_networks.experiments import DATASETS, NORMS, Experiment, choose
from adv_networks.runtime import discarding_statistics as discarding_statistics
from adv_networks.runtime import loss_scale as loss_scale
from adv_networks.runtime import replicas

Shape = tuple[int, int, int]

# What the last convolution returns has a norm of about 10. An image shorter than this, all units being silent, is not brought
# to norm 1, only divided by this, which bounds the gradient there.
SHORTEST = 1e-5


def _convolution(
    x,
    filters: int,
    kernel_size: int,
    stride: int = 1,
    *,
    use_bias: bool = False,
    transposed: bool = False,
    initializer: str = "he_normal",
    **options,
):
    layer = keras.layers.Conv2DTranspose if transposed else keras.layers.Conv2D
    return layer(filters, kernel_size, stride, padding="same", use_bias=use_bias, kernel_initializer=initializer, **options)(x)


def _normalise(x):
    return keras.layers.BatchNormalization(momentum=0.997, epsilon=1e-5)(x)


def _normalised_relu(x):
    return keras.layers.ReLU()(_normalise(x))


def residual_block(x, kernel_size: int, stride: int, filters: int, *, project: bool):
    """residual-block(d, s, k) of Fig. 2; with `project` the shortcut is a 1×1 convolution and BN."""
    shortcut = _normalise(_convolution(x, filters, 1, stride)) if project else x
    x = _normalised_relu(_convolution(x, filters, kernel_size, stride))
    x = _normalise(_convolution(x, filters, kernel_size))
    return keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))


def _stage(x, blocks: int, stride: int, filters: int):
    for block in range(blocks):
        x = residual_block(x, 3, stride if block == 0 else 1, filters, project=block == 0)
    return x


def _check_sides(input_shape: Shape) -> None:
    if input_shape[0] % 4 or input_shape[1] % 4:
        raise UsageError(f"image sides: expected multiples of 4, received {tuple(input_shape)}")


def _image(input_shape: Shape):
    _check_sides(input_shape)
    return keras.Input(input_shape, name="image")


def _bottleneck(input_shape: Shape, width: int) -> Shape:
    """Where encoder and decoder meet: a quarter of the image's sides, 4k channels."""
    _check_sides(input_shape)
    return input_shape[0] // 4, input_shape[1] // 4, 4 * width


def _rescaled(image, pixel_levels: int = 255):
    return keras.layers.Rescaling(2 * 255 / pixel_levels, -1)(image)


def _logits(x, classes: int, initializer: str = "glorot_uniform"):
    return keras.layers.Dense(classes, kernel_initializer=initializer, dtype=keras.config.floatx(), name="logits")(x)


def d1(input_shape: Shape, classes: int, width: int = 32, *, logits_initializer: str = "glorot_uniform") -> keras.Model:
    """D1 (Fig. 3a, MNIST): two 5×5 convolutions with ReLU and max-pooling, and a fully connected layer; no BN."""
    image = _image(input_shape)
    x = _rescaled(image)
    for filters in (width, 2 * width):
        x = keras.layers.MaxPooling2D(2)(
            keras.layers.ReLU()(_convolution(x, filters, 5, use_bias=True, initializer="glorot_uniform"))
        )
    return keras.Model(image, _logits(keras.layers.Flatten()(x), classes, logits_initializer), name="d1")


def d2(
    input_shape: Shape,
    classes: int,
    width: int = 16,
    *,
    stem_normalisation: bool = True,
    final_normalisation: bool = False,
    pixel_levels: int = 255,
) -> keras.Model:
    """D2 (Fig. 3b, SVHN and CIFAR): three stages of three residual blocks, average pooling, a fully connected layer.

    The keywords are the released code's SVHN variant: BN and ReLU before the pooling instead of after the first
    convolution, and pixels divided by 256.
    """
    image = _image(input_shape)
    x = _convolution(_rescaled(image, pixel_levels), width, 3, use_bias=not stem_normalisation)
    x = _normalised_relu(x) if stem_normalisation else x
    for stride, filters in ((1, width), (2, 2 * width), (2, 4 * width)):
        x = _stage(x, 3, stride, filters)
    x = _normalised_relu(x) if final_normalisation else x
    return keras.Model(image, _logits(keras.layers.GlobalAveragePooling2D()(x), classes), name="d2")


def _perturbation(x, norm: str):
    """The last layer of a generator: tanh (L∞), or each image over its own l2 or l1 norm."""
    p = choose(NORMS, norm, "norm")
    if p == math.inf:
        return keras.layers.Activation("tanh", dtype=keras.config.floatx(), name="perturbation")(x)
    # Not keras.ops.normalize or UnitNormalization: at zero their second derivative is NaN, with XLA the first one too.
    size = keras.ops.sum(keras.ops.absolute(x) if p == 1 else keras.ops.square(x), (1, 2, 3), keepdims=True)
    size = keras.ops.maximum(size, SHORTEST**p)
    return keras.ops.divide(x, size if p == 1 else keras.ops.sqrt(size))


def _decoder(x, width: int, channels: int, norm: str):
    """The part that the three generators share: six residual blocks, two deconvolutions, a convolution and the last layer."""
    x = _stage(x, 6, 1, 4 * width)
    for filters in (2 * width, width):
        x = _normalised_relu(_convolution(x, filters, 3, 2, transposed=True))
    return _perturbation(_convolution(x, channels, 3, use_bias=True, dtype=keras.config.floatx()), norm)


def g1(
    input_shape: Shape,
    width: int = 64,
    *,
    norm: str = "linf",
    encoder_widths: tuple[int, ...] = (1, 1, 2),
    pixel_levels: int = 255,
) -> keras.Model:
    """G1(k) (Fig. 4a): autoencoder of the image; `encoder_widths` are its encoder's widths in k."""
    image = _image(input_shape)
    x = _rescaled(image, pixel_levels)
    for stride, multiple in zip((1, 2, 2), encoder_widths, strict=True):
        x = _normalised_relu(_convolution(x, multiple * width, 3, stride))
    return keras.Model(image, _decoder(x, width, input_shape[2], norm), name="g1")


def g2(input_shape: Shape, width: int = 64, *, norm: str = "linf") -> keras.Model:
    """G2(k) (Fig. 4b): decoder of Gaussian noise z of (H/4)(W/4)·4k numbers (256k on 32×32 images)."""
    bottleneck = _bottleneck(input_shape, width)
    noise = keras.Input((math.prod(bottleneck),), name="noise")
    x = keras.layers.Reshape(bottleneck)(noise)
    return keras.Model(noise, _decoder(x, width, input_shape[2], norm), name="g2")


def g3(input_shape: Shape, classes: int, width: int = 64, *, norm: str = "linf") -> keras.Model:
    """G3(k) (Fig. 4c): decoder of the one-hot label."""
    bottleneck = _bottleneck(input_shape, width)
    label = keras.Input((classes,), name="label")
    x = keras.layers.Dense(math.prod(bottleneck), kernel_initializer="he_normal")(label)
    x = keras.layers.Reshape(bottleneck)(x)
    return keras.Model(label, _decoder(x, width, input_shape[2], norm), name="g3")


def released_mnist_generator(input_shape: Shape, width: int = 64, *, norm: str = "linf") -> keras.Model:
    """The small MNIST generator of the released code: two 5×5 convolutions and two 5×5 deconvolutions, all of stride 2."""
    image = _image(input_shape)
    x = _rescaled(image)
    for filters in (width, 2 * width):
        x = _normalised_relu(_convolution(x, filters, 5, 2))
    x = _normalised_relu(_convolution(x, width, 5, 2, transposed=True))
    x = _convolution(x, input_shape[2], 5, 2, use_bias=True, transposed=True, dtype=keras.config.floatx())
    return keras.Model(image, _perturbation(x, norm), name="released_mnist")


def classifier(spec: Experiment) -> keras.Model:
    """The discriminative network that the experiment names, with fresh weights."""
    dataset = DATASETS[spec.dataset]
    if spec.classifier == "d1":
        return d1(dataset.image_shape, dataset.classes, spec.classifier_width, logits_initializer=spec.logits_initializer)
    return d2(
        dataset.image_shape,
        dataset.classes,
        spec.classifier_width,
        stem_normalisation=spec.stem_normalisation,
        final_normalisation=spec.final_normalisation,
        pixel_levels=spec.pixel_levels,
    )


def generators(spec: Experiment) -> list[keras.Model]:
    """The generative networks that the experiment names, with fresh weights."""
    dataset = DATASETS[spec.dataset]
    shape, width, norm = dataset.image_shape, spec.generator_width, spec.norm
    make = {
        "g1": lambda: g1(shape, width, norm=norm, encoder_widths=spec.encoder_widths, pixel_levels=spec.pixel_levels),
        "g2": lambda: g2(shape, width, norm=norm),
        "g3": lambda: g3(shape, dataset.classes, width, norm=norm),
        "released_mnist": lambda: released_mnist_generator(shape, width, norm=norm),
    }
    return [make[name]() for name in spec.generators]


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Networks made inside have that precision: float32, which here stands for Keras' own, or one of its mixed policies."""
    before = keras.config.dtype_policy()
    if precision != "float32":
        keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def generator_input(generator: keras.Model, x: tf.Tensor, y: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
    """What `generator` takes for images x and labels y: x itself, noise drawn from `seed` (int32 [2]), or one-hot labels."""
    kind, shape = generator.inputs[0].name, generator.inputs[0].shape
    if kind == "image":
        return x
    if kind == "noise":
        draw = functools.partial(tf.random.stateless_normal, seed=seed, dtype=x.dtype)
        return replicas.share_of(draw, [tf.shape(x)[0], shape[1]])
    if y is None:
        raise ValueError("y: this generator takes labels, received None")
    return tf.one_hot(y, shape[1], dtype=x.dtype)
