"""A perceptron with one hidden layer and dropout: that of the red and blue report, with a tutorial's width and rates.

The report says one hidden layer, but gives neither its width nor a dropout rate. It names a Theano tutorial, whose network has
625 units per layer, drops 0.2 of the pixels and 0.5 of the hidden units, and starts from N(0, 0.01²) without biases.
"""

from __future__ import annotations

import math

from adv_networks.experiments import DATASETS, Experiment, register_classifier
from adv_networks.lazy import keras
from adv_networks.networks.blocks import Shape


def mlp(input_shape: Shape, classes: int, width: int = 625, *, input_dropout: float = 0.2, dropout: float = 0.5) -> keras.Model:
    """Images in [0,1] to logits: dropout of pixels, `width` ReLUs, their dropout, and one matrix; no biases.

    The images are not rescaled, so that a dropped pixel is black.

    Examples:
        >>> from adv_networks import networks
        >>> networks.mlp((28, 28, 1), 10).count_params()  # 784 · 625 + 625 · 10
        496250
    """
    image = keras.Input(input_shape, name="image")
    options = dict(use_bias=False, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01))
    x = keras.layers.Dropout(input_dropout)(keras.layers.Flatten()(image))
    x = keras.layers.Dropout(dropout)(keras.layers.Dense(width, "relu", **options)(x))
    logits = keras.layers.Dense(classes, dtype=keras.config.floatx(), name="logits", **options)(x)
    return keras.Model(image, logits, name="mlp")


def _multiply_adds(spec: Experiment) -> int:
    dataset = DATASETS[spec.dataset]
    return (math.prod(dataset.image_shape) + dataset.classes) * spec.classifier_width


@register_classifier(
    "mlp",
    "one hidden layer of ReLUs, with dropout of pixels and units",
    settings=dict(classifier_width=625),
    multiply_adds=_multiply_adds,
    drops=True,
)
def _build(spec: Experiment) -> keras.Model:
    dataset, rates = DATASETS[spec.dataset], dict(input_dropout=spec.input_dropout, dropout=spec.dropout)
    return mlp(dataset.image_shape, dataset.classes, spec.classifier_width, **rates)
