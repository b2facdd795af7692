"""Carlini and Wagner's MNIST network, which defensive distillation and MagNet are measured on too."""

from __future__ import annotations

from adv_networks.experiments import DATASETS, Experiment, register_classifier
from adv_networks.lazy import keras
from adv_networks.networks.blocks import Shape, logits_of

_UNITS = 200


def cnn_cw(input_shape: Shape, classes: int, width: int = 32, *, dropout: float = 0.5) -> keras.Model:
    """Two 3×3 convolutions of `width`, two of twice that, pooling after each pair, and two layers of 200, dropout between them.

    All layers have ReLU, and convolutions have no padding. Images in [0,1] are shifted to [-0.5, 0.5].

    Examples:
        >>> from adv_networks import networks
        >>> networks.cnn_cw((28, 28, 1), 10).count_params()
        312202
    """
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Rescaling(1, -0.5)(image)
    for filters in (width, 2 * width):
        for _ in range(2):
            x = keras.layers.Conv2D(filters, 3, activation="relu")(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Dense(_UNITS, "relu")(keras.layers.Flatten()(x))
    x = keras.layers.Dense(_UNITS, "relu")(keras.layers.Dropout(dropout)(x))
    return keras.Model(image, logits_of(x, classes), name="cnn_cw")


def _multiply_adds(spec: Experiment) -> int:
    height, width, channels = DATASETS[spec.dataset].image_shape
    total = 0
    for filters in (spec.classifier_width, 2 * spec.classifier_width):
        for _ in range(2):
            height, width = height - 2, width - 2
            total += height * width * 9 * channels * filters
            channels = filters
        height, width = height // 2, width // 2
    return total + _UNITS * (height * width * channels + _UNITS + DATASETS[spec.dataset].classes)


# Images of 16 pixels a side are reduced to one pixel.
@register_classifier(
    "cnn_cw",
    "Carlini and Wagner's network: 3×3 convolutions without padding, two dense layers with dropout",
    settings=dict(classifier_width=32),
    multiply_adds=_multiply_adds,
    drops=True,
    least_side=16,
)
def _build(spec: Experiment) -> keras.Model:
    dataset = DATASETS[spec.dataset]
    return cnn_cw(dataset.image_shape, dataset.classes, spec.classifier_width, dropout=spec.dropout)
