"""A network for the report on CIFAR10, which shows its own network only in a figure.

The text says: several convolutions, two dense layers at the end, two dropouts. The sizes are those of Carlini and Wagner's
CIFAR10 network; the dropout rates and the normalisation are our choice.
"""

from __future__ import annotations

from adv_networks.experiments import DATASETS, Experiment, register_classifier
from adv_networks.lazy import keras
from adv_networks.networks.blocks import Shape, logits_of

_UNITS = 256
# Mean and standard deviation of each channel of CIFAR10's training images, in [0,1].
_MEANS, _DEVIATIONS = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def report_cnn(input_shape: Shape, classes: int, width: int = 64, *, dropout: float = 0.5) -> keras.Model:
    """Two 3×3 convolutions of `width` and two of twice that, pooling after each pair, and a layer of 256.

    All layers have ReLU, and convolutions are padded. The dropout rate is `dropout` for the dense layer's units and half of it
    for the last feature maps. Images in [0,1] are normalised by the statistics of CIFAR10's channels; images without three
    channels by the mean of these statistics.

    Examples:
        >>> from adv_networks import networks
        >>> networks.report_cnn((32, 32, 3), 10).count_params()
        2360138
    """
    image = keras.Input(input_shape, name="image")
    x = _normalised(image)
    for filters in (width, 2 * width):
        for _ in range(2):
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(keras.layers.Dropout(dropout / 2)(x))
    x = keras.layers.Dropout(dropout)(keras.layers.Dense(_UNITS, "relu")(x))
    return keras.Model(image, logits_of(x, classes), name="report_cnn")


def _normalised(image):
    if image.shape[3] == len(_MEANS):
        scale = [1 / deviation for deviation in _DEVIATIONS]
        return keras.layers.Rescaling(scale, [-mean * factor for mean, factor in zip(_MEANS, scale, strict=True)])(image)
    mean, deviation = (sum(values) / len(values) for values in (_MEANS, _DEVIATIONS))
    return keras.layers.Rescaling(1 / deviation, -mean / deviation)(image)


def _multiply_adds(spec: Experiment) -> int:
    height, width, channels = DATASETS[spec.dataset].image_shape
    total = 0
    for filters in (spec.classifier_width, 2 * spec.classifier_width):
        total += height * width * 9 * (channels + filters) * filters
        height, width, channels = height // 2, width // 2, filters
    return total + _UNITS * (height * width * channels + DATASETS[spec.dataset].classes)


@register_classifier(
    "report_cnn",
    "the CIFAR10 report's network: 3×3 convolutions with padding, two dense layers, two dropouts",
    settings=dict(classifier_width=64),
    multiply_adds=_multiply_adds,
    drops=True,
    least_side=4,
)
def _build(spec: Experiment) -> keras.Model:
    dataset = DATASETS[spec.dataset]
    return report_cnn(dataset.image_shape, dataset.classes, spec.classifier_width, dropout=spec.dropout)
