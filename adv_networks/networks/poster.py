"""The poster's classifier and generator, as in its authors' public code.

Both pad images with black and normalise them by the mean and standard deviation of MNIST's padded training images.
"""

from __future__ import annotations

from adv_networks.experiments import DATASETS, Experiment, register_classifier, register_generator
from adv_networks.lazy import keras
from adv_networks.networks.blocks import Shape, logits_of
from adv_networks.networks.generative import perturbation_of

# Mean and standard deviation of MNIST's training images in [0,1], padded to 32×32.
MEAN, DEVIATION = 0.100, 0.277
_SIDE = 32  # Classifiers pad smaller images to this side.
_MULTIPLE = 16  # Generators pad sides to a multiple of this.
_UNITS = 200


def _padding(sides: tuple[int, int], padded: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """The padding before and after each side."""
    missing = [after - before for before, after in zip(sides, padded, strict=True)]
    return tuple((number // 2, number - number // 2) for number in missing)


def _normalised(image, padding):
    return keras.layers.Rescaling(1 / DEVIATION, -MEAN / DEVIATION)(keras.layers.ZeroPadding2D(padding)(image))


def poster_d(input_shape: Shape, classes: int, width: int = 32) -> keras.Model:
    """Two 5×5 convolutions of `width` and twice that, pooled by 3 and by 2, and a layer of 200; tanh throughout, no padding.

    Examples:
        >>> from adv_networks import networks
        >>> networks.poster_d((28, 28, 1), 10).count_params()
        105506
    """
    image = keras.Input(input_shape, name="image")
    sides = input_shape[:2]
    x = _normalised(image, _padding(sides, _classified(sides)))
    for filters, pooled in ((width, 3), (2 * width, 2)):
        x = keras.layers.MaxPooling2D(pooled)(keras.layers.Conv2D(filters, 5, activation="tanh")(x))
    x = keras.layers.Dense(_UNITS, "tanh")(keras.layers.Flatten()(x))
    return keras.Model(image, logits_of(x, classes), name="poster_d")


def _classified(sides: tuple[int, int]) -> tuple[int, int]:
    return max(_SIDE, sides[0]), max(_SIDE, sides[1])


def _generated(sides: tuple[int, int]) -> tuple[int, int]:
    return -(-sides[0] // _MULTIPLE) * _MULTIPLE, -(-sides[1] // _MULTIPLE) * _MULTIPLE


def poster_g(input_shape: Shape, width: int = 8, *, intensity: float = 1.0, norm: str = "linf") -> keras.Model:
    """Four strided 4×4 convolutions of `width`, 2, 4 and 8 times that, and four deconvolutions back; BN, weights N(0, 0.02²).

    In L∞ the last layer is tanh, clipped at ±`intensity` and divided by it, so all larger values become equal. The generators
    of `generative` compute I · tanh instead.

    Args:
        input_shape: shape of an image.
        width: n, the number of filters of the first convolution.
        intensity: I, the largest perturbation, on the scale of tanh.
        norm: norm of the perturbation: linf, l2 or l1.

    Examples:
        >>> from adv_networks import networks
        >>> networks.poster_g((28, 28, 1), 2, intensity=0.5).output_shape
        (None, 28, 28, 1)
    """
    image = keras.Input(input_shape, name="image")
    padding = _padding(input_shape[:2], _generated(input_shape[:2]))
    x = _normalised(image, padding)
    options = dict(use_bias=False, kernel_initializer=keras.initializers.RandomNormal(stddev=0.02))
    for number in range(4):
        x = keras.layers.Conv2D(2**number * width, 4, 2, **options)(keras.layers.ZeroPadding2D(1)(x))
        x = keras.layers.LeakyReLU(negative_slope=0.2)(_batch_normalised(x) if number else x)
    for multiple in (4, 2, 1):
        x = keras.layers.Conv2DTranspose(multiple * width, 4, 2, padding="same", **options)(x)
        x = keras.layers.ReLU()(_batch_normalised(x))
    options["dtype"] = keras.config.floatx()
    x = keras.layers.Conv2DTranspose(input_shape[2], 4, 2, padding="same", **options)(x)
    x = keras.layers.Cropping2D(padding)(x)
    perturbation = perturbation_of(x, norm)
    if norm == "linf":
        perturbation = keras.ops.maximum(keras.ops.minimum(keras.ops.divide(perturbation, intensity), 1.0), -1.0)
    return keras.Model(image, perturbation, name="poster_g")


def _batch_normalised(x):
    scale = keras.initializers.RandomNormal(1.0, 0.02)
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=scale)(x)


def intensity_of(spec: Experiment) -> float:
    """I for an experiment's ε: in units of normalised images, as in the poster, or on the [0,1] pixel scale."""
    return spec.epsilon / (DEVIATION if spec.intensity_unit == "normalised" else 1)


def _classifier_multiply_adds(spec: Experiment) -> int:
    height, width, channels = DATASETS[spec.dataset].image_shape
    (height, width), total = _classified((height, width)), 0
    for filters, pooled in ((spec.classifier_width, 3), (2 * spec.classifier_width, 2)):
        height, width = height - 4, width - 4
        total += height * width * 25 * channels * filters
        height, width, channels = height // pooled, width // pooled, filters
    return total + _UNITS * (height * width * channels + DATASETS[spec.dataset].classes)


def _generator_multiply_adds(spec: Experiment) -> int:
    height, width, channels = DATASETS[spec.dataset].image_shape
    height, width = _generated((height, width))
    pixels, n = height * width, spec.generator_width
    encoder = 16 * (pixels // 4 * channels * n + pixels // 16 * 2 * n**2 + pixels // 64 * 8 * n**2 + pixels // 256 * 32 * n**2)
    decoder = 16 * (pixels // 256 * 32 * n**2 + pixels // 64 * 8 * n**2 + pixels // 16 * 2 * n**2 + pixels // 4 * n * channels)
    return encoder + decoder


@register_classifier(
    "poster_d",
    "the poster's network: 5×5 convolutions on padded images, tanh",
    settings=dict(classifier_width=32),
    multiply_adds=_classifier_multiply_adds,
)
def _build_classifier(spec: Experiment) -> keras.Model:
    dataset = DATASETS[spec.dataset]
    return poster_d(dataset.image_shape, dataset.classes, spec.classifier_width)


@register_generator(
    "poster_g",
    "the poster's autoencoder of the image, clipped at ±I",
    settings=dict(generator_width=8),
    multiply_adds=_generator_multiply_adds,
)
def _build_generator(spec: Experiment) -> keras.Model:
    shape = DATASETS[spec.dataset].image_shape
    return poster_g(shape, spec.generator_width, intensity=intensity_of(spec), norm=spec.norm)
