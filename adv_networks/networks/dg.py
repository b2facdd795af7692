"""The classifiers of Defense-GAN (Samangouei, Kabkab and Chellappa, 2018, appendix A, Table 7)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from adv_networks.experiments import DATASETS, Experiment, register_classifier
from adv_networks.lazy import keras
from adv_networks.networks.blocks import Shape, logits_of


class _Convolution(NamedTuple):
    filters: int
    kernel: int
    stride: int
    padding: str


# A float is a dropout rate; an integer is the number of units of a dense layer.
_Layer = _Convolution | float | int
_STRIDED = _Convolution(64, 5, 2, "valid")
_OF_B: tuple[_Layer, ...] = (
    _Convolution(64, 8, 2, "same"), _Convolution(128, 6, 2, "valid"), _Convolution(128, 5, 1, "valid"),
)  # fmt: skip
LAYERS: Mapping[str, tuple[_Layer, ...]] = MappingProxyType(
    {
        "a": (_Convolution(64, 5, 1, "same"), _STRIDED, 0.25, 128, 0.5),
        "b": (0.2, *_OF_B, 0.5),
        "c": (_Convolution(128, 3, 1, "same"), _STRIDED, 0.25, 128, 0.5),
        "d": (200, 0.5, 200),
        "e": (200, 200),
        "f": _OF_B,
    }
)
# On smaller images, a convolution without padding has no pixel left.
_LEAST_SIDES = {"a": 5, "b": 27, "c": 5, "f": 27}


def dg(letter: str, input_shape: Shape, classes: int) -> keras.Model:
    """One of the six classifiers, by its lower-case letter: ReLU after each layer, images in [0,1] without rescaling.

    Args:
        letter: a to f; f is b without dropout.
        input_shape: shape of an image.
        classes: number of classes.

    Examples:
        >>> from adv_networks import networks
        >>> networks.dg("e", (28, 28, 1), 10).count_params()
        199210
    """
    image = x = keras.Input(input_shape, name="image")
    for layer in LAYERS[letter]:
        if isinstance(layer, _Convolution):
            x = keras.layers.Conv2D(layer.filters, layer.kernel, layer.stride, layer.padding, activation="relu")(x)
        elif isinstance(layer, float):
            x = keras.layers.Dropout(layer)(x)
        else:
            x = keras.layers.Dense(layer, "relu")(_flat(x))
    return keras.Model(image, logits_of(_flat(x), classes), name=f"dg_{letter}")


def _flat(x: Any) -> Any:
    return keras.layers.Flatten()(x) if len(x.shape) > 2 else x


def _multiply_adds(letter: str, spec: Experiment) -> int:
    height, width, channels = DATASETS[spec.dataset].image_shape
    total, units = 0, None
    for layer in LAYERS[letter]:
        if isinstance(layer, _Convolution):
            height, width = (_side(size, layer) for size in (height, width))
            total += height * width * layer.kernel**2 * channels * layer.filters
            channels = layer.filters
        elif not isinstance(layer, float):
            total += (units or height * width * channels) * layer
            units = layer
    return total + (units or height * width * channels) * DATASETS[spec.dataset].classes


def _side(size: int, layer: _Convolution) -> int:
    return -(-(size - (layer.kernel - 1) * (layer.padding == "valid")) // layer.stride)


def _builder(letter: str) -> Callable[[Experiment], keras.Model]:
    def build(spec: Experiment) -> keras.Model:
        return dg(letter, DATASETS[spec.dataset].image_shape, DATASETS[spec.dataset].classes)

    return build


for _letter, _layers in LAYERS.items():
    register_classifier(
        f"dg_{_letter}",
        f"Defense-GAN's model {_letter.upper()}",
        settings=dict(optimizer="adam", learning_rate=0.001, weight_decay=0.0),
        multiply_adds=functools.partial(_multiply_adds, _letter),
        drops=any(isinstance(_layer, float) for _layer in _layers),
        least_side=_LEAST_SIDES.get(_letter, 1),
    )(_builder(_letter))
