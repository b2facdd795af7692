"""What random models draw in compiled graphs: anew at every call, and as a function of a seed.

A graph takes a model's state by value and drops what the call would have changed in it. Keras' generators of random numbers
keep their place in that state, so that dropout at inference would have the same mask in every call. Here each call gets a seed
of its own instead of that state.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from adv_networks.lazy import keras, tf

# Over how many draws the gradient of a random model is averaged, unless something else is asked for.
DRAWS = 10
# What operations of TensorFlow's own draw by, which no seed is given here.
_RANDOM_OPERATIONS = frozenset(
    {"RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal", "Multinomial", "RandomGamma"}
)


@dataclasses.dataclass(frozen=True)
class _Stream:
    """The seeds of the calls to come, and over how many draws a gradient is the mean."""

    numbers: tuple[int, ...]
    draws: int
    calls: Iterator[int] = dataclasses.field(default_factory=itertools.count)


# Outside of `drawing` all calls of the process are one stream.
_OF_PROCESS = _Stream((), DRAWS)
_stream: contextvars.ContextVar[_Stream] = contextvars.ContextVar("stream", default=_OF_PROCESS)


@contextlib.contextmanager
def drawing(*seed: int, draws: int = DRAWS) -> Iterator[None]:
    """In its context, what random models draw is a function of the seed, the order of the calls, and their inputs.

    Args:
        *seed: whole numbers.
        draws: over how many draws gradients are averaged (EOT).

    Example:
        >>> from adv_networks import runtime
        >>> with runtime.drawing(3, draws=20):
        ...     x_adv = attacks.pgd(model, x, y, 0.3)
    """
    token = _stream.set(_Stream(tuple(number % 2**32 for number in seed), draws))
    try:
        yield
    finally:
        _stream.reset(token)


def may_draw(model: keras.Model) -> bool:
    """Whether calls of the model may be random, as far as its layers say: Keras' own say so, others may do anything."""
    return any(
        layer._seed_generators or isinstance(layer, keras.layers.Lambda) or not type(layer).__module__.startswith("keras.")
        for layer in model._flatten_layers()
    )


def next_call() -> tuple[tf.Tensor, tf.Tensor]:
    """The seed of the next call, int32 [2], and the number of draws, int32."""
    _global_state()  # No graph could make it.
    stream = _stream.get()
    state = np.random.SeedSequence([*stream.numbers, next(stream.calls)]).generate_state(2)
    return tf.constant(state.view(np.int32)), tf.constant(stream.draws)


def states_of(model: keras.Model) -> list[keras.Variable]:
    """The states of the generators that a model's layers draw from, Keras' own for all layers included."""
    return [generator.state for layer in model._flatten_layers() for generator in layer._seed_generators] + [_global_state()]


def seeds_for(states: list[keras.Variable], seed: tf.Tensor, inputs: tf.Tensor) -> list[tf.Tensor]:
    """What stands in for the states in a call with those inputs.

    They differ from call to call of a graph's loop too, as the inputs do.
    """
    fold = tf.random.experimental.stateless_fold_in
    seed = fold(seed, tf.reduce_sum(tf.bitcast(tf.cast(inputs, tf.float32), tf.int32)))
    return [tf.cast(fold(seed, number), state.dtype) for number, state in enumerate(states)]


def random_operations() -> int:
    """How many operations the graph that is being built has that draw without a seed of ours."""
    return sum(operation.type in _RANDOM_OPERATIONS for operation in tf.compat.v1.get_default_graph().get_operations())


def _global_state() -> keras.Variable:
    from keras.src.random import seed_generator

    return seed_generator.global_seed_generator().state
