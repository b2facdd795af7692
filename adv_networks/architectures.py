"""Networks of one architecture share graphs, which take the weights as arguments: to trace D2's attacks takes seconds.

That would be spent again on every classifier of a table.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import NamedTuple

import keras
import tensorflow as tf

from adv_networks import cores

# What this package replaces in layers and models, which then compute otherwise.
_REPLACED = {"call", "convolution_op", "_moments"}

_representatives: dict[Hashable, keras.Model] = {}
_architectures: weakref.WeakKeyDictionary[keras.Model, Hashable | None] = weakref.WeakKeyDictionary()


class Weights(NamedTuple):
    """Of a network: its variables, or what stands in for them."""

    trainable: list[tf.Variable | tf.Tensor]
    others: list[tf.Variable | tf.Tensor]

    @classmethod
    def of(cls, model: keras.Model) -> Weights:
        """A network's own; of mirrored variables the values on the current device."""
        return cls(
            *(
                [_local(variable.value) for variable in own]
                for own in (model.trainable_variables, model.non_trainable_variables)
            )
        )


def _local(variable: tf.Variable) -> tf.Variable | tf.Tensor:
    return tf.convert_to_tensor(variable) if isinstance(variable, tf.distribute.DistributedValues) else variable


class Weighted:
    """A network with weights in place of its own."""

    def __init__(self, model: keras.Model, weights: Weights):
        self.weights, self.compute_dtype = weights, model.compute_dtype
        self.stateless_call = model.stateless_call


def representative(model: keras.Model) -> keras.Model:
    """The first network of the model's architecture that was asked for; the model itself where its layers do not tell that."""
    if model not in _architectures:
        _architectures[model] = _architecture(model)
    key = _architectures[model]
    # setdefault, as several threads may come here at once.
    return model if key is None else _representatives.setdefault(key, model)


def _architecture(model: keras.Model) -> Hashable | None:
    """What tells the model from those that compute otherwise; None where it has layers or functions that do not tell."""
    activations = filter(None, (getattr(layer, "activation", None) for layer in model.layers))
    if not cores.is_known(model) or not all(getattr(own, "__module__", "").startswith("keras.") for own in activations):
        return None
    text = model.to_json()
    for number, layer in enumerate(model.layers):
        # As itself and as what another takes; the same word may also be a setting's value.
        for before in ('"name": ', "["):
            text = text.replace(f'{before}"{layer.name}"', f"{before}{number}")
    return text, *(frozenset(_REPLACED & vars(part).keys()) for part in (model, *model.layers))
