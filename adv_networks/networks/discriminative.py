"""The discriminative networks D1 and D2 (appendix, Fig. 3)."""

from __future__ import annotations

from adv_networks.experiments import DATASETS, Experiment
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
    stage,
)


def d1(input_shape: Shape, classes: int, width: int = 32, *, logits_initializer: str = "glorot_uniform") -> keras.Model:
    """D1 (Fig. 3a, MNIST): two 5×5 convolutions with ReLU and max-pooling, and a fully connected layer; no BN."""
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

    The keywords are the released code's SVHN variant: BN and ReLU before the pooling instead of after the first
    convolution, and pixels divided by 256; `convolutions` are the released code's of SVHN and CIFAR.
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
        convolutions=convolutions_of(spec),
    )
