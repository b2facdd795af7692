"""Batches shared out among the cores: each takes its part of the images through a whole network, one operation at a time.

TensorFlow by itself shares every operation out. Those of a small network then wait for one another's threads, and what one
core has written the other has to fetch: on two cores a step of the adversarial network took up to a quarter longer
(benchmarks).
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from adv_networks.runtime import kernels

# What networks that are trained here consist of beside BN: each treats every image by itself, in training as in inference.
_BY_IMAGE = (
    keras.layers.InputLayer,
    keras.layers.Rescaling,
    keras.layers.Reshape,
    keras.layers.Flatten,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Dense,
    keras.layers.Add,
    keras.layers.ReLU,
    keras.layers.Activation,
    keras.layers.MaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
)
# And of keras.ops, which has no public types, what the last part of a generator consists of; a sum if not over images.
_OPERATIONS_BY_IMAGE = {"Absolute", "Divide", "Maximum", "Sqrt", "Square", "Sum"}


def count() -> int:
    """Into how many parts batches go: as many as operations may run at once, where each has one thread; else 1."""
    threads = tf.config.threading
    within = threads.get_intra_op_parallelism_threads() or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0)
    at_once = threads.get_inter_op_parallelism_threads() or int(os.environ.get("TF_NUM_INTEROP_THREADS") or 0)
    return max(1, at_once) if within == 1 and not tf.config.list_physical_devices("GPU") else 1


def share(model: keras.Model) -> None:
    """Makes the cores share every batch that the model gets, in place; outputs and gradients stay, up to rounding.

    In training BN has the moments of the whole batch; batches of a size that the graph does not know, and models with other
    layers and operations than those of `networks`, are left whole. In inference any model is taken to treat each image by
    itself. What `model.save` writes stays the same.
    """
    parts = count()
    if parts > 1 and "call" not in vars(model):
        model.call = functools.partial(_call, model, model.call, parts)


class _Parts:
    """What goes through a network in place of a tensor: the parts of the batch."""

    def __init__(self, tensors: list[tf.Tensor]):
        self.tensors = tensors


def _call(model: keras.Model, call: Callable[..., tf.Tensor], parts: int, inputs: Any, *arguments: Any, **options: Any):
    training = options.get("training")
    if not isinstance(inputs, tf.Tensor) or (training and not (inputs.shape[0] and _is_known(model))):
        return call(inputs, *arguments, **options)
    if training:
        return tf.concat(model._run_through_graph(_Parts(_split(inputs, parts)), _on_parts).tensors, 0)
    size = inputs.shape[0]
    if size is None:
        size = tf.shape(inputs)[0]
        # No part may be empty, which some operations refuse.
        inputs = tf.pad(inputs, [[0, tf.maximum(parts - size, 0)], *[[0, 0]] * (inputs.shape.rank - 1)])
    return tf.concat([call(part, *arguments, **options) for part in _split(inputs, parts)], 0)[:size]


def _is_known(model: keras.Model) -> bool:
    return hasattr(model, "_run_through_graph") and all(map(_is_known_operation, model.operations))


def _is_known_operation(operation: keras.Operation) -> bool:
    if isinstance(operation, keras.layers.Layer):
        return type(operation) in (*_BY_IMAGE, keras.layers.BatchNormalization)
    name = type(operation).__name__
    return name in _OPERATIONS_BY_IMAGE and (name != "Sum" or (bool(operation.axis) and min(operation.axis) > 0))


def _split(batch: tf.Tensor, parts: int) -> list[tf.Tensor]:
    if size := batch.shape[0]:
        parts = min(parts, size)
    else:
        size = tf.shape(batch)[0]
    bounds = [number * size // parts for number in range(parts + 1)]
    return tf.split(batch, [end - start for start, end in itertools.pairwise(bounds)], num=parts)


def _on_parts(operation: keras.Operation) -> Callable[..., _Parts]:
    """What does to parts in training what the operation does to the batch."""
    if isinstance(operation, keras.layers.BatchNormalization):
        return functools.partial(_normalise, operation)

    def call(*arguments: Any, **options: Any) -> _Parts:
        given = (arguments, options)
        parts = next(len(leaf.tensors) for leaf in keras.tree.flatten(given) if isinstance(leaf, _Parts))
        outputs = []
        for number in range(parts):
            own_arguments, own_options = keras.tree.map_structure(functools.partial(_part, number), given)
            outputs.append(operation(*own_arguments, **own_options))
        return _Parts(outputs)

    return call


def _part(number: int, value: Any) -> Any:
    return value.tensors[number] if isinstance(value, _Parts) else value


def _normalise(layer: keras.layers.BatchNormalization, parts: _Parts, mask: None = None) -> _Parts:
    if kernels.is_fused(layer) and parts.tensors[0].shape.rank == 4:
        return _Parts(kernels.normalise(layer, parts.tensors))
    return _Parts(_split(layer(tf.concat(parts.tensors, 0), training=True), len(parts.tensors)))
