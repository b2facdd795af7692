"""Splits batches among the cores: each core takes some of the images through a whole network, one operation at a time.

TensorFlow itself splits every operation. The operations of a small network then wait for each other's threads, and each core
must fetch what the other has written: on two cores a step of the adversarial network took up to a quarter longer (benchmarks).
A batch is split only if every layer is known to treat each image separately. In training, a few layers get the whole batch, put
together again: those that draw random numbers, and BN where it is not shared (`normalisation`).
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable
from typing import Any

from adv_networks.lazy import keras, tf
from adv_networks.runtime import replacements

# fmt: off
# Keras layers that treat each image separately, in training and in inference.
_PER_IMAGE = frozenset({
    "InputLayer", "Identity", "Rescaling", "Reshape", "Flatten", "Permute", "Conv1D", "Conv2D", "Conv2DTranspose",
    "DepthwiseConv2D", "SeparableConv2D", "Dense", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "ReLU",
    "LeakyReLU", "ELU", "PReLU", "Activation", "MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D",
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "ZeroPadding2D",
    "Cropping2D", "UpSampling2D",
})
# Layers that do so unless they act along the batch axis; BN does in inference, and in training through `_normalise`.
_PER_IMAGE_BY_AXIS = frozenset({
    "Concatenate", "Softmax", "LayerNormalization", "GroupNormalization", "UnitNormalization", "BatchNormalization",
})
# Layers that do nothing in inference. In training they draw numbers for the whole batch, which is put together for them.
_RANDOM = frozenset({
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout",
})
# Operations of keras.ops, whose types are not public.
_ELEMENTWISE = frozenset({
    "Absolute", "Add", "Divide", "Maximum", "Minimum", "Multiply", "Negative", "Relu", "Sqrt", "Square", "Subtract",
    "TrueDivide",
})
_REDUCTIONS = frozenset({"Sum", "Mean", "Max", "Min"})
# fmt: on


def parts_per_batch() -> int:
    """The number of parts of a batch: the number of operations that run at once if each has one thread, otherwise 1."""
    threads = tf.config.threading
    within = threads.get_intra_op_parallelism_threads() or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0)
    at_once = threads.get_inter_op_parallelism_threads() or int(os.environ.get("TF_NUM_INTEROP_THREADS") or 0)
    return max(1, at_once) if within == 1 and not tf.config.list_physical_devices("GPU") else 1


def split_batches(model: keras.Model) -> None:
    """Makes the cores share every batch of the model's calls, in place; outputs and gradients are the same, up to rounding.

    In training, BN uses the moments of the whole batch. A batch is not split if the model has layers or operations that are not
    known to treat each image separately, or, in training, if the graph does not know the batch size.
    """
    parts = parts_per_batch()
    if parts > 1 and not replacements.is_foreign(model):
        model.call = functools.partial(_call, model, model.call, parts)


def treats_images_alone(model: keras.Model, *, training: bool) -> bool:
    """Whether every layer and operation of the model is known to compute each image's outputs from that image alone.

    BN counts as such in training too, because here it gets the moments of all parts, and so do layers that draw, because they
    get the whole batch.
    """
    graph = _graph_of(model)
    return graph is not None and all(_is_known(operation, training) for operation in graph.operations)


def _graph_of(model: keras.Model) -> keras.Model | None:
    """The functional model that computes a model's outputs; None if it is subclassed, and may compute anything."""
    graph = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    return graph if hasattr(graph, "_run_through_graph") else None


class _Parts:
    """The parts of a batch, which go through a network together instead of a tensor."""

    def __init__(self, tensors: list[tf.Tensor]):
        self.tensors = tensors


def _call(model: keras.Model, call: Callable[..., tf.Tensor], parts: int, inputs: Any, *arguments: Any, **options: Any):
    """`call(inputs, …)`, separately for each part of the batch if the result is the same."""
    training = bool(options.get("training"))
    if not isinstance(inputs, tf.Tensor) or not treats_images_alone(model, training=training):
        return call(inputs, *arguments, **options)
    size = inputs.shape[0]
    if training:
        if not size:
            return call(inputs, *arguments, **options)
        return tf.concat(_through(model, _Parts(_split(inputs, parts))).tensors, 0)
    if size is None:
        size = tf.shape(inputs)[0]
        # No part may be empty, because some operations refuse empty inputs.
        inputs = tf.pad(inputs, [[0, tf.maximum(parts - size, 0)], *[[0, 0]] * (inputs.shape.rank - 1)])
    return tf.concat([call(part, *arguments, **options) for part in _split(inputs, parts)], 0)[:size]


def _is_known(operation: keras.Operation, training: bool) -> bool:
    """Whether a layer, or an operation between layers, treats each image separately."""
    kind = type(operation).__name__
    if not isinstance(operation, keras.layers.Layer):
        return (kind in _REDUCTIONS and _spares_first_axis(operation)) or (kind in _ELEMENTWISE and _is_aligned(operation))
    if isinstance(operation, keras.Model):
        return not replacements.is_foreign(operation) and treats_images_alone(operation, training=training)
    # Look it up by name, because not every release has all of them; a class with the same name must be Keras' own.
    if type(operation) is not getattr(keras.layers, kind, None) or replacements.is_foreign(operation):
        return False
    if kind in _PER_IMAGE_BY_AXIS:
        return _spares_first_axis(operation)
    return kind in _RANDOM or (kind in _PER_IMAGE and _is_keras_own(getattr(operation, "activation", None)))


def _is_keras_own(activation: Any) -> bool:
    """Whether an activation function is one of Keras, which act on single values or along the last axis."""
    module = str(getattr(activation, "__module__", ""))
    return activation is None or module.startswith(("keras.activations", "keras.src.activations"))


def _spares_first_axis(operation: keras.Operation) -> bool:
    axes = list(operation.axis) if isinstance(operation.axis, Iterable) else [operation.axis]
    ranks = [len(tensor.shape) for node in operation._inbound_nodes for tensor in node.input_tensors]
    return bool(axes) and None not in axes and all(axis % rank for axis in axes for rank in ranks)


def _is_aligned(operation: keras.Operation) -> bool:
    """Whether an elementwise operation combines only values of one image: its inputs have equal ranks, constants lower ones."""
    for node in operation._inbound_nodes:
        ranks = {len(tensor.shape) for tensor in node.input_tensors}
        given = keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
        constants = [leaf for leaf in given if hasattr(leaf, "shape") and not keras.utils.is_keras_tensor(leaf)]
        if len(ranks) != 1 or any(len(constant.shape) >= min(ranks) for constant in constants):
            return False
    return True


def _split(batch: tf.Tensor, parts: int) -> list[tf.Tensor]:
    """The batch in parts whose sizes differ by at most one image."""
    if size := batch.shape[0]:
        parts = min(parts, size)
    else:
        size = tf.shape(batch)[0]
    bounds = [number * size // parts for number in range(parts + 1)]
    return tf.split(batch, [end - start for start, end in itertools.pairwise(bounds)], num=parts)


def _through(model: keras.Model, parts: Any) -> Any:
    """The parts after a model, in training."""
    return _graph_of(model)._run_through_graph(parts, _on_parts)


def _on_parts(operation: keras.Operation) -> Callable[..., Any]:
    """In training: the operation on each part, or on all together, such as BN with their common moments.

    As in Keras, a layer is in training mode even if the model's graph says otherwise.
    """

    def call(*arguments: Any, **options: Any) -> Any:
        if isinstance(operation, keras.Model):
            return _through(operation, *arguments)
        if isinstance(operation, keras.layers.BatchNormalization):
            return _normalise(operation, *arguments)
        if type(operation).__name__ in _RANDOM:
            return _together(operation, *arguments)
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


def _normalise(layer: keras.layers.BatchNormalization, parts: _Parts) -> _Parts:
    from adv_networks.runtime import normalisation  # which loads TensorFlow

    if normalisation.is_accelerated(layer) and parts.tensors[0].shape.rank == 4:
        return _Parts(normalisation.normalise(layer, parts.tensors))
    return _together(layer, parts)


def _together(layer: keras.layers.Layer, parts: _Parts) -> _Parts:
    """A layer of the whole batch."""
    return _Parts(_split(layer(tf.concat(parts.tensors, 0), training=True), len(parts.tensors)))
