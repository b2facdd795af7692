"""The discriminative networks D1 and D2 (appendix, Fig. 3)."""

from __future__ import annotations

from adv_networks.experiments import DATASETS, Experiment, find_classifier, register_classifier
from adv_networks.lazy import keras
from adv_networks.networks.blocks import (
    DEFAULT_CONVOLUTIONS,
    Convolutions,
    Shape,
    convolution,
    convolutions_of,
    image_input,
    logits_of,
    normalised_relu,
    rescaled,
    residual_multiply_adds,
    stage,
)


def d1(input_shape: Shape, classes: int, width: int = 32, *, logits_initializer: str = "glorot_uniform") -> keras.Model:
    """D1 (Fig. 3a, MNIST): two 5×5 convolutions with ReLU and max-pooling, and a fully connected layer; no BN.

    Examples:
        >>> from adv_networks import networks
        >>> networks.d1((28, 28, 1), 10).count_params()
        83466
    """
    image = image_input(input_shape)
    x = rescaled(image)
    for filters in (width, 2 * width):
        x = keras.layers.MaxPooling2D(2)(
            keras.layers.ReLU()(convolution(x, filters, 5, use_bias=True, initializer="glorot_uniform"))
        )
    return keras.Model(image, logits_of(keras.layers.Flatten()(x), classes, logits_initializer), name="d1")


def d2(
    input_shape: Shape,
    classes: int,
    width: int = 16,
    *,
    stem_normalisation: bool = True,
    final_normalisation: bool = False,
    pixel_levels: int = 255,
    convolutions: Convolutions = DEFAULT_CONVOLUTIONS,
) -> keras.Model:
    """D2 (Fig. 3b, SVHN and CIFAR): three stages of three residual blocks, average pooling, a fully connected layer.

    The keyword arguments give the released code's SVHN variant, which has BN and ReLU before the pooling instead of after the
    first convolution and divides pixels by 256, and its convolutions for SVHN and CIFAR.

    Examples:
        >>> from adv_networks import networks
        >>> layers = networks.d2((32, 32, 3), 10).layers
        >>> sum(type(layer).__name__ == "Conv2D" for layer in layers)  # the first, two per block, and three shortcuts
        22
    """
    image = image_input(input_shape)
    initializer = convolutions.initializer
    x = convolution(rescaled(image, pixel_levels), width, 3, use_bias=not stem_normalisation, initializer=initializer)
    x = normalised_relu(x) if stem_normalisation else x
    for stride, filters in ((1, width), (2, 2 * width), (2, 4 * width)):
        x = stage(x, 3, stride, filters, convolutions)
    x = normalised_relu(x) if final_normalisation else x
    last = initializer if initializer == "truncated_normal" else "glorot_uniform"
    return keras.Model(image, logits_of(keras.layers.GlobalAveragePooling2D()(x), classes, last), name="d2")


def classifier(spec: Experiment) -> keras.Model:
    """The discriminative network that the experiment names, with fresh weights.

    Examples:
        >>> from adv_networks import experiments, networks
        >>> spec = experiments.experiment("mnist", "standard", classifier="mlp", classifier_width=100)
        >>> networks.classifier(spec).output_shape
        (None, 10)
    """
    return find_classifier(spec.classifier).build(spec)


def _residual_stages(spec: Experiment) -> int:
    """Multiply-adds of D2 on one image."""
    height, width, channels = DATASETS[spec.dataset].image_shape
    pixels, w = height * width, spec.classifier_width
    stages = [(pixels, w, w), (pixels // 4, w, 2 * w), (pixels // 16, 2 * w, 4 * w)]
    products = sum(residual_multiply_adds(*stage, blocks=3) for stage in stages)
    return pixels * 9 * channels * w + products + 4 * w * DATASETS[spec.dataset].classes


def _two_convolutions(spec: Experiment) -> int:
    """Multiply-adds of D1 on one image."""
    height, width, channels = DATASETS[spec.dataset].image_shape
    pixels, classes, w = height * width, DATASETS[spec.dataset].classes, spec.classifier_width
    return pixels * 25 * channels * w + pixels // 4 * 25 * w * 2 * w + pixels // 16 * 2 * w * classes


@register_classifier("d1", "the paper's MNIST network: two 5×5 convolutions (Fig. 3a)", multiply_adds=_two_convolutions)
def _build_d1(spec: Experiment) -> keras.Model:
    dataset, initializer = DATASETS[spec.dataset], spec.logits_initializer
    return d1(dataset.image_shape, dataset.classes, spec.classifier_width, logits_initializer=initializer)


@register_classifier("d2", "the paper's SVHN and CIFAR network: nine residual blocks (Fig. 3b)", multiply_adds=_residual_stages)
def _build_d2(spec: Experiment) -> keras.Model:
    dataset = DATASETS[spec.dataset]
    return d2(
        dataset.image_shape,
        dataset.classes,
        spec.classifier_width,
        stem_normalisation=spec.stem_normalisation,
        final_normalisation=spec.final_normalisation,
        pixel_levels=spec.pixel_levels,
        convolutions=convolutions_of(spec),
    )
