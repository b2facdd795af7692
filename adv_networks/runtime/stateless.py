"""Calls of a model as a function of its weights, which change nothing in the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from adv_networks.lazy import keras, tf
from adv_networks.runtime import randomness


class Weights(NamedTuple):
    """A model's variables, or tensors that stand in for them.

    Attributes:
        trainable: those that are trained.
        others: BN averages and the states of generators of random numbers.
        seed: int32 [2], of what the model draws, instead of those states; None where it draws nothing, or as they say.
        draws: int32, over how many draws `mean_over_draws` goes.
    """

    trainable: list[tf.Variable | tf.Tensor]
    others: list[tf.Variable | tf.Tensor]
    seed: tf.Tensor | None = None
    draws: tf.Tensor | None = None

    @classmethod
    def of(cls, model: keras.Model) -> Weights:
        """The model's own variables; where they are mirrored over devices, their values on the current one."""
        groups = model.trainable_variables, model.non_trainable_variables
        return cls(*([_local(variable.value) for variable in group] for group in groups))

    @classmethod
    def for_next_call(cls, model: keras.Model) -> Weights:
        """The model's own variables, and the seed of the next call where it may draw something (`randomness`)."""
        own = cls.of(model)
        return cls(*own[:2], *randomness.next_call()) if randomness.may_draw(model) else own


def _local(variable: tf.Variable) -> tf.Variable | tf.Tensor:
    return tf.convert_to_tensor(variable) if isinstance(variable, tf.distribute.DistributedValues) else variable


@dataclasses.dataclass(frozen=True, eq=False)
class Weighted:
    """A model with other weights instead of its own; `drew` says, once it was called, whether it drew anything by a seed."""

    model: keras.Model
    weights: Weights
    drew: list[bool] = dataclasses.field(default_factory=list)


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
    own, (trainable, others, seed, _) = model.model, model.weights
    trainable = trainable if parameters is None else parameters
    if own._call_has_training_arg and seed is None:
        return own.stateless_call(trainable, others, inputs, training=training)[0]
    # A user's model whose method does not take the mode, which its layers are told all the same.
    variables = zip([*own.trainable_variables, *own.non_trainable_variables], [*trainable, *others], strict=True)
    if seed is None:
        with keras.StatelessScope(state_mapping=list(variables)):
            return own(inputs, training=training)
    states = randomness.states_of(own)
    drawn = list(zip(states, randomness.seeds_for(states, seed, inputs), strict=True))
    scope = keras.StatelessScope(state_mapping=[*variables, *drawn])
    before = [scope.get_current_value(state) for state in states]
    with scope:
        outputs = own(inputs, training=training)
    # A generator that something was drawn from has moved on.
    model.drew.append(any(scope.get_current_value(state) is not value for state, value in zip(states, before, strict=True)))
    return outputs


def raw_outputs(model: keras.Model | Weighted, training: bool, inputs: tf.Tensor) -> Any:
    """What the model returns for its inputs as they are, for `run_compiled`."""
    return discarding_statistics(model, inputs, training=training)


def mean_over_draws(model: keras.Model | Weighted, compute: Callable[[keras.Model | Weighted], Any]) -> Any:
    """The mean of `compute(model)`, tensors of floats, over the draws of a random model (EOT); of another model it as it is.

    Athalye, Engstrom, Ilyas and Kwok, 2018, "Synthesizing robust adversarial examples": an attack on a random classifier
    follows the gradient of the expected loss.
    """
    if not isinstance(model, Weighted) or model.weights.seed is None:
        return compute(model)
    own, weights, is_random = model.model, model.weights, []

    def draw(number: tf.Tensor) -> Any:
        seed = tf.random.experimental.stateless_fold_in(weights.seed, number)
        one, before = Weighted(own, weights._replace(seed=seed)), randomness.random_operations()
        computed = compute(one)
        is_random.append(any(one.drew) or randomness.random_operations() > before)
        return computed

    first = draw(tf.constant(0))
    if not is_random[0]:
        return first

    def add(number: tf.Tensor, total: Any) -> tuple[tf.Tensor, Any]:
        return number + 1, tf.nest.map_structure(tf.add, total, draw(number))

    total = tf.while_loop(lambda number, _: number < weights.draws, add, (tf.constant(1), first), parallel_iterations=1)[1]
    return tf.nest.map_structure(lambda part: part / tf.cast(weights.draws, part.dtype), total)


def loss_scale(model: keras.Model | Weighted) -> int:
    """What to multiply a loss by before its gradient is taken through the model: small numbers vanish in float16."""
    # The model's own type tells nothing: one from a file, or around another, has the current policy's.
    own = model.model if isinstance(model, Weighted) else model
    return 2**10 if any(layer.compute_dtype == "float16" for layer in own._flatten_layers()) else 1


def returns_one_tensor(model: keras.Model) -> bool:
    """Whether a functional or sequential model returns one tensor, and no list or dictionary of them."""
    functional = getattr(model, "_functional", None) or model  # which a sequential model has within
    return isinstance(getattr(functional, "_outputs_struct", None), keras.KerasTensor)


def last_operations(model: keras.Model) -> Iterator[Any]:
    """The layers and operations that made a functional model's output, the last first, until one that takes several tensors.

    Those of a model within it are among them; one of a user's own class is there itself.
    """
    outputs = getattr(model, "outputs", None)
    while outputs and len(outputs) == 1:
        operation, node, _ = outputs[0]._keras_history
        yield from (
            last_operations(operation) if isinstance(operation, keras.Model) and hasattr(operation, "outputs") else [operation]
        )
        outputs = operation._inbound_nodes[node].input_tensors
