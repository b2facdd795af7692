"""Methods of individual layers and models that this package replaces by faster or more exact ones, and how to undo it."""

from __future__ import annotations

from typing import Any

from adv_networks.lazy import keras

# `call` of layers and whole models, a convolution's operation, and BN's moments.
_METHODS = ("call", "convolution_op", "_moments")


def is_replaced(part: keras.Operation, name: str) -> bool:
    """Whether this layer or model has our version of the method."""
    return name in vars(part) and _is_ours(vars(part)[name])


def names(part: keras.Operation) -> frozenset[str]:
    """The methods of this layer or model that we replaced."""
    return frozenset(name for name in _METHODS if is_replaced(part, name))


def is_foreign(part: keras.Operation) -> bool:
    """Whether someone else has replaced a method of this layer or model, which then computes something unknown."""
    return any(name in vars(part) and not is_replaced(part, name) for name in _METHODS)


def take_back(model: keras.Model) -> None:
    """Undoes our replacements in a model and its layers, which get back the methods of their classes."""
    for part in model._flatten_layers():
        for name in names(part):
            del vars(part)[name]


def _is_ours(method: Any) -> bool:
    function = getattr(method, "func", method)  # The function inside a functools.partial.
    return str(getattr(function, "__module__", "")).startswith("adv_networks.runtime")
