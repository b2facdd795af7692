"""Folds BN into the convolution before it, in inference, where BN only scales and shifts each channel.

The convolution then does both at no cost. Attacks on D2 spend a sixth of their time in BN, those on MobileNetV2 a third
(benchmarks).
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from adv_networks.lazy import keras, tf
from adv_networks.runtime import nesting, replacements

# Every call scales all weights of the kernel. That pays only if so many images have at least as many outputs.
_BATCH = 16


def fold_normalisations(model: keras.Model) -> None:
    """Folds BN into the convolutions before it, in place; outputs stay the same, up to rounding.

    BN is folded only in calls with `training=False`, and only if nothing else uses the output of the convolution. Nested
    functional and sequential models are included.
    """
    for part in model._flatten_layers():
        if not replacements.is_foreign(part) and _normalisations(part):
            part.call = functools.partial(_call, part, part.call)


def _normalisations(model: keras.layers.Layer) -> dict[keras.layers.Layer, keras.layers.BatchNormalization]:
    """The BN layers of the model that can be folded, by the convolutions before them."""
    graph = nesting.graph_of(model)
    # A subclass may do anything in its `call`.
    if graph is None or type(model).call not in (_functional_call(), keras.Sequential.call):
        return {}
    nodes = [node for nodes in graph._nodes_by_depth.values() for node in nodes]
    calls = Counter(node.operation for node in nodes)
    uses = Counter(id(tensor) for tensors in (graph.outputs, *(node.input_tensors for node in nodes)) for tensor in tensors)
    found = {}
    for node in nodes:
        is_normalisation = type(node.operation) is keras.layers.BatchNormalization and len(node.input_tensors) == 1
        if is_normalisation and not node.arguments.kwargs.get("training"):
            (source,) = node.input_tensors
            convolution = source._keras_history.operation
            is_alone = calls[convolution] == calls[node.operation] == uses[id(source)] == 1
            if is_alone and _fits(convolution, node.operation, source.shape):
                found[convolution] = node.operation
    return found


def _functional_call() -> Callable[..., Any]:
    """The `call` of functional models, whose class is not public."""
    from keras.src.models.functional import Functional

    return Functional.call


def _fits(convolution: keras.Operation, normalisation: keras.layers.BatchNormalization, shape: tuple[int | None, ...]) -> bool:
    """Whether BN can be folded into this convolution, whose outputs have this shape, and gains by it."""
    if type(convolution) not in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D):
        return False
    layers = convolution, normalisation
    dtypes = {dtype for layer in layers for dtype in (layer.compute_dtype, layer.variable_dtype)}
    return (
        not any(replacements.is_foreign(layer) or layer.activity_regularizer for layer in layers)
        and dtypes in ({"float32"}, {"float64"})
        and convolution.data_format == "channels_last"
        and normalisation.axis in (3, -1)
        and convolution.activation in (None, keras.activations.linear)
        and None not in shape[1:]
        and math.prod(convolution.kernel.shape) <= _BATCH * math.prod(shape[1:])
    )


def _call(model: keras.Model, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """`call` of the model; in inference with BN folded into convolutions."""
    # Without `training`, BN asks the call around this one. A sequential model may have got and lost layers since.
    found = _normalisations(model) if options.get("training") is False else {}
    if not found:
        return call(*arguments, **options)
    return _functional_call()(_Folded(nesting.graph_of(model), found), *arguments, **options)


class _Folded:
    """Stands for a functional model during one call, and replaces the operations that are folded."""

    def __init__(self, graph: keras.Model, normalisations: dict[keras.layers.Layer, keras.layers.BatchNormalization]):
        self._graph, self._normalisations = graph, normalisations
        self._done: set[keras.layers.BatchNormalization] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._graph, name)

    def _run_through_graph(self, inputs: Any, operation_fn: Callable[..., Any], **options: Any) -> Any:
        def operate(operation: keras.Operation) -> Callable[..., Any]:
            own = operation_fn(operation)
            if operation in self._normalisations:
                return functools.partial(self._convolve, operation, own)
            return functools.partial(self._normalise, operation, own)

        return self._graph._run_through_graph(inputs, operation_fn=operate, **options)

    def _convolve(self, layer: keras.layers.Layer, own: Callable[..., Any], inputs: tf.Tensor) -> tf.Tensor:
        if getattr(inputs, "_keras_mask", None) is not None:  # Keras' own call would pass it on.
            return own(inputs)
        normalisation = self._normalisations[layer]
        self._done.add(normalisation)
        return _normalised_convolution(layer, normalisation, tf.cast(inputs, layer.compute_dtype))

    def _normalise(self, operation: keras.Operation, own: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return arguments[0] if operation in self._done else own(*arguments, **options)


def _normalised_convolution(
    layer: keras.layers.Layer, normalisation: keras.layers.BatchNormalization, inputs: tf.Tensor
) -> tf.Tensor:
    """BN of the convolution, as one convolution."""
    scale = tf.math.rsqrt(normalisation.moving_variance.value + normalisation.epsilon)
    scale = scale * normalisation.gamma.value if normalisation.scale else scale
    shift = (layer.bias.value if layer.use_bias else 0) - normalisation.moving_mean.value
    shift = shift * scale + (normalisation.beta.value if normalisation.center else 0)
    return tf.nn.bias_add(_product(layer, inputs, scale), shift)


def _product(layer: keras.layers.Layer, inputs: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """The convolution without bias, and with each channel of its outputs multiplied by its scale."""
    if type(layer) is keras.layers.Conv2D:
        return layer.convolution_op(inputs, layer.kernel * scale)
    options = {name: getattr(layer, name) for name in ("strides", "padding", "dilation_rate", "data_format")}
    # The last axes of a depthwise kernel are the channels of the inputs, and the outputs that each of them has.
    return keras.ops.depthwise_conv(inputs, layer.kernel * tf.reshape(scale, layer.kernel.shape[2:]), **options)
