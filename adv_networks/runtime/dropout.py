"""Dropout, and noise between layers, as functions of the training step's seed.

Keras' own layers keep the seed of the next mask in a variable. A call that does not change the model does not advance it, and a
continued run would have to restore it. Here a step sets its seed (`dropping`), and every pass of the step uses the same mask:
it crafts attacks on the same thinned network that it then updates. All other calls behave as in Keras, with seeds from
`randomness`.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from adv_networks.lazy import keras, tf
from adv_networks.runtime import replacements, replicas

# Keeps the numbers of masks apart from those of the step's other random operations.
_STREAM = 0x0D80


class _Chosen(NamedTuple):
    """What the calls of a step drop; each adversary has `share` images on this replica."""

    seed: Any
    share: int | None


# None means Keras' own masks.
_chosen: contextvars.ContextVar[_Chosen | None] = contextvars.ContextVar("dropout", default=None)


@contextlib.contextmanager
def dropping(seed: Any, *, share: int | None = None) -> Iterator[None]:
    """Context in which calls in training mode draw their masks from this seed.

    Args:
        seed: int32 [2].
        share: the number of images of each adversary, if several replicas divide the images of several adversaries
            (`replicas.distribute`).

    Examples:
        >>> import keras, tensorflow as tf
        >>> from adv_networks import runtime
        >>> model = runtime.prepare(keras.Sequential([keras.Input((8,)), keras.layers.Dropout(0.5)]))
        >>> with runtime.dropping(tf.constant([0, 1])):
        ...     first, second = (model(tf.ones((1, 8)), training=True) for _ in range(2))
        >>> bool(tf.reduce_all(first == second))
        True
    """
    token = _chosen.set(_Chosen(seed, share))
    try:
        yield
    finally:
        _chosen.reset(token)


def follow_seeds(model: keras.Model) -> None:
    """Makes the dropout and noise layers of a model draw from the chosen seed, in place; each draws different numbers."""
    layers = [layer for layer in model._flatten_layers() if type(layer) in (keras.layers.Dropout, keras.layers.GaussianNoise)]
    for number, layer in enumerate(layers):
        if not replacements.is_foreign(layer):
            call = _drop if isinstance(layer, keras.layers.Dropout) else _add_noise
            layer.call = functools.partial(call, layer, number)


def _drop(layer: keras.layers.Dropout, number: int, inputs: Any, training: bool = False) -> Any:
    chosen = _chosen.get()
    if chosen is None:
        return type(layer).call(layer, inputs, training=training)
    if not training or not layer.rate:
        return inputs
    sizes = _sizes(inputs)
    if layer.noise_shape is not None:  # A mask that is constant along an axis has size 1 there.
        sizes = [size if own is None else own for own, size in zip(layer.noise_shape, sizes, strict=True)]
    drawn = _drawn(chosen, number, tf.random.stateless_uniform, sizes)
    return tf.where(drawn < layer.rate, tf.zeros([], inputs.dtype), inputs / (1 - layer.rate))


def _add_noise(layer: keras.layers.GaussianNoise, number: int, inputs: Any, training: bool = False) -> Any:
    chosen = _chosen.get()
    if chosen is None:
        return type(layer).call(layer, inputs, training=training)
    if not training or not layer.stddev:
        return inputs
    drawn = _drawn(chosen, number, tf.random.stateless_normal, _sizes(inputs))
    return inputs + layer.stddev * tf.cast(drawn, inputs.dtype)


def _drawn(chosen: _Chosen, number: int, draw: Callable[..., tf.Tensor], sizes: list[Any]) -> tf.Tensor:
    """This replica's rows of what layer `number` draws."""
    seed = tf.random.experimental.stateless_fold_in(tf.random.experimental.stateless_fold_in(chosen.seed, _STREAM), number)
    adversaries = sizes[0] // chosen.share if chosen.share and replicas.count() > 1 else 1
    return replicas.share_of(functools.partial(draw, seed=seed), sizes, adversaries=adversaries)


def _sizes(inputs: tf.Tensor) -> list[Any]:
    """The shape of a tensor; sizes that are unknown when the graph is built are tensors."""
    dynamic = tf.shape(inputs)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(inputs.shape)]
