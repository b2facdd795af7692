"""Calls of a model as a function of its weights, without changing the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from adv_networks.lazy import keras, tf
from adv_networks.runtime import randomness


class Weights(NamedTuple):
    """A model's variables, or tensors that replace them.

    Attributes:
        trainable: the trainable variables.
        others: BN averages and the states of random generators.
        seed: int32 [2], the seed of the model's draws, instead of these states; None if it draws nothing or uses the states.
        draws: int32, the number of draws of `mean_over_draws`.

    Examples:
        >>> import keras
        >>> from adv_networks import runtime
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
        >>> weights = runtime.Weights.of(model)
        >>> len(weights.trainable), len(weights.others)
        (2, 2)
    """

    trainable: list[tf.Variable | tf.Tensor]
    others: list[tf.Variable | tf.Tensor]
    seed: tf.Tensor | None = None
    draws: tf.Tensor | None = None

    @classmethod
    def of(cls, model: keras.Model) -> Weights:
        """The model's own variables; if they are mirrored over devices, their values on the current device."""
        groups = model.trainable_variables, model.non_trainable_variables
        return cls(*([_local(variable.value) for variable in group] for group in groups))

    @classmethod
    def for_next_call(cls, model: keras.Model) -> Weights:
        """The model's own variables, and the seed of the next call if it may draw something (`randomness`)."""
        own = cls.of(model)
        return cls(*own[:2], *randomness.next_call()) if randomness.may_draw(model) else own


def _local(variable: tf.Variable) -> tf.Variable | tf.Tensor:
    return tf.convert_to_tensor(variable) if isinstance(variable, tf.distribute.DistributedValues) else variable


@dataclasses.dataclass(frozen=True, eq=False)
class Weighted:
    """A model with other weights instead of its own; after each call `drew` has whether the call drew anything from a seed.

    Examples:
        >>> import keras, tensorflow as tf
        >>> from adv_networks import runtime
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        >>> other = runtime.Weighted(model, runtime.Weights([tf.constant([[3.0], [4.0]])], []))
        >>> runtime.raw_outputs(other, False, tf.ones((1, 2))).numpy().tolist()
        [[7.0]]
    """

    model: keras.Model
    weights: Weights
    drew: list[bool] = dataclasses.field(default_factory=list)


def discarding_statistics(
    model: keras.Model | Weighted, inputs: tf.Tensor, *, training: bool, parameters: list[tf.Tensor] | None = None
) -> tf.Tensor:
    """The output of a model, without updating its BN averages.

    Args:
        model: the model, or a model with other weights.
        inputs: [batch, …].
        training: whether BN uses the statistics of the batch.
        parameters: values that replace the trainable variables; None for the variables themselves.

    Examples:
        >>> import keras, tensorflow as tf
        >>> from adv_networks import runtime
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
        >>> outputs = runtime.discarding_statistics(model, tf.constant([[1.0, 2.0]]), training=True)
        >>> model.layers[0].moving_mean.numpy().tolist()
        [0.0, 0.0]
    """
    if not isinstance(model, Weighted):
        model = Weighted(model, Weights.of(model))
    own, (trainable, others, seed, _) = model.model, model.weights
    trainable = trainable if parameters is None else parameters
    if own._call_has_training_arg and seed is None:
        return own.stateless_call(trainable, others, inputs, training=training)[0]
    # The method of a user's model may not take `training`; Keras still tells its layers.
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
    # A generator's state has advanced if something was drawn from it.
    model.drew.append(any(scope.get_current_value(state) is not value for state, value in zip(states, before, strict=True)))
    return outputs


def raw_outputs(model: keras.Model | Weighted, training: bool, inputs: tf.Tensor) -> Any:
    """The model's outputs for its inputs, unchanged, as a function for `run_compiled`.

    Examples:
        >>> import keras, tensorflow as tf
        >>> from adv_networks import runtime
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> runtime.run_compiled(runtime.raw_outputs, model, False, tf.zeros((5, 2))).shape
        TensorShape([5, 3])
    """
    return discarding_statistics(model, inputs, training=training)


def mean_over_draws(model: keras.Model | Weighted, compute: Callable[[keras.Model | Weighted], Any]) -> Any:
    """The mean of `compute(model)`, tensors of floats, over the draws of a random model (EOT); a single call for other models.

    Athalye, Engstrom, Ilyas and Kwok, 2018, "Synthesizing robust adversarial examples": an attack on a random classifier
    follows the gradient of the expected loss.

    Examples:
        >>> import keras, tensorflow as tf
        >>> from adv_networks import runtime
        >>> image = keras.Input((1,))
        >>> model = keras.Model(image, keras.layers.Dropout(0.5)(image, training=True))  # 0 or 2 for an input of 1
        >>> def mean(model, x):
        ...     return runtime.mean_over_draws(model, lambda drawn: runtime.raw_outputs(drawn, False, x))
        >>> with runtime.drawing(0, draws=1000):
        ...     print(round(float(runtime.run_compiled(mean, model, tf.ones((1, 1)))[0, 0])))
        1
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
    """The factor of a loss before its gradient is taken through the model, because small numbers vanish in float16.

    Examples:
        >>> import keras
        >>> from adv_networks import runtime
        >>> kinds = ("float32", "mixed_float16")
        >>> [runtime.loss_scale(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, dtype=kind)])) for kind in kinds]
        [1, 1024]
    """
    # Ask the layers: a model from a file, or around another one, has the dtype of the current policy.
    own = model.model if isinstance(model, Weighted) else model
    return 2**10 if any(layer.compute_dtype == "float16" for layer in own._flatten_layers()) else 1


def returns_one_tensor(model: keras.Model) -> bool:
    """Whether a functional or sequential model returns a single tensor, not a list or dictionary.

    Examples:
        >>> import keras
        >>> from adv_networks import runtime
        >>> image = keras.Input((2,))
        >>> [runtime.returns_one_tensor(keras.Model(image, outputs)) for outputs in (image, [image])]
        [True, False]
    """
    functional = getattr(model, "_functional", None) or model  # A sequential model has a functional one inside.
    return isinstance(getattr(functional, "_outputs_struct", None), keras.KerasTensor)
