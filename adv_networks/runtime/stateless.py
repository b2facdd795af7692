"""Calls of a model as a function of its weights, which change nothing in the model."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from adv_networks.lazy import keras, tf


class Weights(NamedTuple):
    """A model's variables, or tensors that stand in for them."""

    trainable: list[tf.Variable | tf.Tensor]
    others: list[tf.Variable | tf.Tensor]

    @classmethod
    def of(cls, model: keras.Model) -> Weights:
        """The model's own variables; where they are mirrored over devices, their values on the current one."""
        groups = model.trainable_variables, model.non_trainable_variables
        return cls(*([_local(variable.value) for variable in group] for group in groups))


def _local(variable: tf.Variable) -> tf.Variable | tf.Tensor:
    return tf.convert_to_tensor(variable) if isinstance(variable, tf.distribute.DistributedValues) else variable


@dataclasses.dataclass(frozen=True, eq=False)
class Weighted:
    """A model with other weights in place of its own."""

    model: keras.Model
    weights: Weights


def discarding_statistics(
    model: keras.Model | Weighted, inputs: tf.Tensor, *, training: bool, parameters: list[tf.Tensor] | None = None
) -> tf.Tensor:
    """The output of a model, which leaves its BN averages as they are.

    Args:
        model: the model, or a model with other weights.
        inputs: [batch, …].
        training: whether BN uses the statistics of the batch.
        parameters: stand in for the trainable variables, by value; None for the variables themselves.
    """
    if not isinstance(model, Weighted):
        model = Weighted(model, Weights.of(model))
    own, (trainable, others) = model.model, model.weights
    trainable = trainable if parameters is None else parameters
    if own._call_has_training_arg:
        return own.stateless_call(trainable, others, inputs, training=training)[0]
    # A user's model whose method does not take the mode, which its layers are told all the same.
    variables = zip([*own.trainable_variables, *own.non_trainable_variables], [*trainable, *others], strict=True)
    with keras.StatelessScope(state_mapping=list(variables)):
        return own(inputs, training=training)


def loss_scale(model: keras.Model | Weighted) -> int:
    """What to multiply a loss by before its gradient is taken through the model: small numbers vanish in float16."""
    # The model's own type tells nothing: one from a file, or around another, has the current policy's.
    own = model.model if isinstance(model, Weighted) else model
    return 2**10 if any(layer.compute_dtype == "float16" for layer in own._flatten_layers()) else 1
