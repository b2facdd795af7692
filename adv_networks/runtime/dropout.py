"""Dropout, and noise between layers, as functions of the training step's seed.

Keras' own layer keeps the seed of its next mask in a variable, which a call that leaves the model as it is does not move on,
and which a run that goes on would have to get back. Here a step says its seed (`dropping`), from which every pass of the step
has the same mask: the attack that it crafts, and the update on what was crafted, are of one thinned network. Any other call is
Keras' own, of which `randomness` says by what seeds it draws.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from adv_networks.lazy import keras, tf
from adv_networks.runtime import replacements, replicas

# So that no mask is made of the numbers that other random operations of a step are made of.
_STREAM = 0x0D80


class _Chosen(NamedTuple):
    """What the calls of a step drop; `share` images are each adversary's on this replica."""

    seed: Any
    share: int | None


# None stands for masks as Keras has them.
_chosen: contextvars.ContextVar[_Chosen | None] = contextvars.ContextVar("dropout", default=None)


@contextlib.contextmanager
def dropping(seed: Any, *, share: int | None = None) -> Iterator[None]:
    """Calls inside, in training mode, drop what this seed says.

    Args:
        seed: int32 [2].
        share: how many of the images each adversary has, where several replicas share out the images of several
            (`replicas.distribute`).
    """
    token = _chosen.set(_Chosen(seed, share))
    try:
        yield
    finally:
        _chosen.reset(token)


def follow_seeds(model: keras.Model) -> None:
    """Makes the dropout and noise layers of a model draw by the chosen seed, in place; each has masks or noise of its own."""
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
    if layer.noise_shape is not None:  # A mask that is the same along an axis has the size 1 there.
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
    """What the layer of that number draws: this replica's rows of it."""
    seed = tf.random.experimental.stateless_fold_in(tf.random.experimental.stateless_fold_in(chosen.seed, _STREAM), number)
    adversaries = sizes[0] // chosen.share if chosen.share and replicas.count() > 1 else 1
    return replicas.share_of(functools.partial(draw, seed=seed), sizes, adversaries=adversaries)


def _sizes(inputs: tf.Tensor) -> list[Any]:
    """The shape of a tensor; sizes that the graph does not know are tensors."""
    dynamic = tf.shape(inputs)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(inputs.shape)]
