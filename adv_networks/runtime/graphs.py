"""Networks of one architecture share graphs, which take the weights as arguments: to trace D2's attacks takes seconds.

That would be spent again on every classifier of a table. Only networks that this package made itself, and that nobody changes
afterwards, take part (`share_graphs`): what another computes its configuration need not tell.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import NamedTuple

import keras
import tensorflow as tf

# What this package replaces in layers and models, which then compute otherwise.
_REPLACED = {"call", "convolution_op", "_moments"}

_representatives: dict[Hashable, keras.Model] = {}
_architectures: weakref.WeakKeyDictionary[keras.Model, Hashable] = weakref.WeakKeyDictionary()


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
        self.weights = weights
        self.stateless_call, self._flatten_layers = model.stateless_call, model._flatten_layers


def share_graphs(model: keras.Model) -> None:
    """Lets a network of `networks`, which is to stay as it is but for its weights, share graphs with others like it."""
    text = model.to_json()
    for number, part in enumerate((model, *model.operations)):
        # As itself and as what another takes; the same word may also be a setting's value.
        for before in ('"name": ', "["):
            text = text.replace(f'{before}"{part.name}"', f"{before}{number}")
    _architectures[model] = text, *(frozenset(_REPLACED & vars(part).keys()) for part in (model, *model.layers))


def representative(model: keras.Model) -> keras.Model:
    """The first network of the model's architecture that was asked for; the model itself if it does not share graphs."""
    key = _key(model)
    if key is None:
        return model
    # setdefault, as several threads may come here at once.
    found = _representatives.setdefault(key, model)
    if _key(found) != key:  # It was frozen since.
        found = _representatives[key] = model
    return found


def _key(model: keras.Model) -> Hashable | None:
    """What networks have in common that share graphs: the architecture, and which weights are trained, which can change."""
    architecture = _architectures.get(model)
    return architecture and (architecture, *(variable.trainable for variable in model.variables))
