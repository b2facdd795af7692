"""Random draws of models in compiled graphs: new ones at every call, and a function of a seed.

A graph takes a model's state by value and discards what the call changes in it. Keras' random generators keep their position in
that state, so dropout at inference would have the same mask in every call. Here each call gets a new seed instead.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import itertools
from collections.abc import Iterator

from adv_networks.lazy import keras, np, tf

# The default number of draws over which the gradient of a random model is averaged.
DRAWS = 10
# TensorFlow's own random operations, which take no seed from here.
_RANDOM_OPERATIONS = frozenset(
    {"RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal", "Multinomial", "RandomGamma"}
)


@dataclasses.dataclass(frozen=True)
class _Stream:
    """The seeds of the next calls, and the number of draws over which a gradient is averaged."""

    numbers: tuple[int, ...]
    draws: int
    calls: Iterator[int] = dataclasses.field(default_factory=itertools.count)


# Outside `drawing`, all calls of the process share one stream.
_OF_PROCESS = _Stream((), DRAWS)
_stream: contextvars.ContextVar[_Stream] = contextvars.ContextVar("stream", default=_OF_PROCESS)


@contextlib.contextmanager
def drawing(*seed: int, draws: int = DRAWS) -> Iterator[None]:
    """Context in which the draws of random models are a function of the seed, the order of the calls, and their inputs.

    Args:
        *seed: whole numbers.
        draws: number of draws over which gradients are averaged (EOT).

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks, runtime
        >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> x, y = np.zeros((2, 4, 4, 1), np.uint8), np.array([0, 1])
        >>> with runtime.drawing(3, draws=20):
        ...     adversarial = attacks.fgs(model, x, y, 0.3)
    """
    token = _stream.set(_Stream(tuple(number % 2**32 for number in seed), draws))
    try:
        yield
    finally:
        _stream.reset(token)


def may_draw(model: keras.Model) -> bool:
    """Whether calls of the model may be random. Keras' own layers declare it; other layers may always be.

    Examples:
        >>> import keras
        >>> from adv_networks import runtime
        >>> layers = keras.layers.Dropout(0.5), keras.layers.ReLU()
        >>> [runtime.may_draw(keras.Sequential([keras.Input((2,)), layer])) for layer in layers]
        [True, False]
    """
    return any(
        layer._seed_generators or isinstance(layer, keras.layers.Lambda) or not type(layer).__module__.startswith("keras.")
        for layer in model._flatten_layers()
    )


def next_call() -> tuple[tf.Tensor, tf.Tensor]:
    """The seed of the next call, int32 [2], and the number of draws, int32."""
    _global_state()  # Create it now, because a graph cannot.
    stream = _stream.get()
    state = np.random.SeedSequence([*stream.numbers, next(stream.calls)]).generate_state(2)
    return tf.constant(state.view(np.int32)), tf.constant(stream.draws)


def states_of(model: keras.Model) -> list[keras.Variable]:
    """The states of the generators that a model's layers draw from, including Keras' global generator."""
    return [generator.state for layer in model._flatten_layers() for generator in layer._seed_generators] + [_global_state()]


def seeds_for(states: list[keras.Variable], seed: tf.Tensor, inputs: tf.Tensor) -> list[tf.Tensor]:
    """The values that replace the states in a call with these inputs.

    They depend on the inputs, so they also differ between the calls in a graph's loop.
    """
    fold = tf.random.experimental.stateless_fold_in
    seed = fold(seed, tf.reduce_sum(tf.bitcast(tf.cast(inputs, tf.float32), tf.int32)))
    return [tf.cast(fold(seed, number), state.dtype) for number, state in enumerate(states)]


def random_operations() -> int:
    """The number of operations in the graph being built that draw without a seed of ours."""
    return sum(operation.type in _RANDOM_OPERATIONS for operation in tf.compat.v1.get_default_graph().get_operations())


def _global_state() -> keras.Variable:
    from keras.src.random import seed_generator

    return seed_generator.global_seed_generator().state
