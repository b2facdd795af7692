"""In inference, BN scales and shifts each channel. A convolution before it does both on the way, without passes over memory.

Attacks on D2 spend a sixth of their time in BN, those on MobileNetV2 a third (benchmarks).
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from adv_networks.lazy import keras, tf
from adv_networks.runtime import nesting, replacements

# Each call multiplies all weights of the kernel, so batches of this many images must have at least as many values to scale.
_BATCH = 16


@dataclasses.dataclass(frozen=True, eq=False)
class _Call:
    """A call of a model in inference.

    Attributes:
        normalisations: the BN layer that each convolution takes over.
        outputs: outputs of these convolutions that have not reached their BN layers yet.
    """

    normalisations: dict[keras.layers.Layer, keras.layers.BatchNormalization]
    outputs: dict[keras.layers.BatchNormalization, tf.Tensor] = dataclasses.field(default_factory=dict)


_current: contextvars.ContextVar[_Call | None] = contextvars.ContextVar("current", default=None)


def fold_normalisations(model: keras.Model) -> None:
    """Makes convolutions take over the BN that follows them in inference, in place; outputs stay the same, up to rounding.

    Only if nothing else gets the output of the convolution. The layers of nested functional and sequential models count.
    """
    for part in model._flatten_layers():
        if replacements.is_foreign(part) or not (found := _normalisations(part)):
            continue
        for convolution, normalisation in found.items():
            convolution.call = functools.partial(_convolve, convolution, convolution.call)
            normalisation.call = functools.partial(_normalise, normalisation, normalisation.call)
        part.call = functools.partial(_infer, part, part.call)


def _normalisations(model: keras.layers.Layer) -> dict[keras.layers.Layer, keras.layers.BatchNormalization]:
    """For each convolution of the model that can take over a BN layer, this layer."""
    if (graph := nesting.graph_of(model)) is None:
        return {}
    nodes = [node for nodes in graph._nodes_by_depth.values() for node in nodes]
    calls = Counter(node.operation for node in nodes)
    uses = Counter(id(tensor) for tensors in (graph.outputs, *(node.input_tensors for node in nodes)) for tensor in tensors)
    found = {}
    for node in nodes:
        if type(node.operation) is keras.layers.BatchNormalization and not node.arguments.kwargs.get("training"):
            (source,) = node.input_tensors
            convolution = source._keras_history.operation
            is_alone = calls[convolution] == calls[node.operation] == uses[id(source)] == 1
            if is_alone and _fits(convolution, node.operation, source.shape):
                found[convolution] = node.operation
    return found


def _fits(convolution: keras.Operation, normalisation: keras.layers.BatchNormalization, shape: tuple[int | None, ...]) -> bool:
    """Whether BN of this convolution's outputs, of this shape, can be a part of the convolution, and gains by it."""
    if type(convolution) not in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D):
        return False
    layers = convolution, normalisation
    return (
        not any(map(replacements.is_foreign, layers))
        and len({dtype for layer in layers for dtype in (layer.compute_dtype, layer.variable_dtype)}) == 1
        and convolution.data_format == "channels_last"
        and normalisation.axis in (3, -1)
        and convolution.activation in (None, keras.activations.linear)
        and None not in shape[1:]
        and math.prod(convolution.kernel.shape) <= _BATCH * math.prod(shape[1:])
    )


@contextlib.contextmanager
def _during(call: _Call | None) -> Iterator[None]:
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)


def _infer(model: keras.Model, call: Callable[..., Any], inputs: Any, **options: Any) -> Any:
    """`call` of the model, in which convolutions take over BN unless in training."""
    # A sequential model may have got and lost layers since it was prepared.
    current = None if options.get("training") else _Call(_normalisations(model))
    with _during(current):
        outputs = call(inputs, **options)
    if not (current and current.outputs):
        return outputs
    # The output of a convolution went elsewhere, because a layer that someone wrote has called it.
    with _during(None):
        return call(inputs, **options)


def _convolve(layer: keras.layers.Layer, call: Callable[..., tf.Tensor], inputs: tf.Tensor) -> tf.Tensor:
    """The convolution, with BN if this is a call in which it takes it over."""
    current = _current.get()
    normalisation = current.normalisations.get(layer) if current else None
    if normalisation is None:
        return call(inputs)
    scale = tf.math.rsqrt(normalisation.moving_variance.value + normalisation.epsilon)
    scale = scale * normalisation.gamma.value if normalisation.scale else scale
    shift = (layer.bias.value if layer.use_bias else 0) - normalisation.moving_mean.value
    shift = shift * scale + (normalisation.beta.value if normalisation.center else 0)
    current.outputs[normalisation] = tf.nn.bias_add(_product(layer, inputs, scale), shift)
    return current.outputs[normalisation]


def _product(layer: keras.layers.Layer, inputs: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """The convolution without bias, and with each channel of its outputs multiplied by its scale."""
    if type(layer) is keras.layers.Conv2D:
        return layer.convolution_op(inputs, layer.kernel * scale)
    options = {name: getattr(layer, name) for name in ("strides", "padding", "dilation_rate", "data_format")}
    # The last axes of a depthwise kernel are the channels of the inputs, and the outputs that each of them has.
    return keras.ops.depthwise_conv(inputs, layer.kernel * tf.reshape(scale, layer.kernel.shape[2:]), **options)


def _normalise(
    layer: keras.layers.BatchNormalization, call: Callable[..., tf.Tensor], inputs: tf.Tensor, **options: Any
) -> tf.Tensor:
    """BN of outputs to which the convolution has not applied it yet."""
    current = _current.get()
    if current and current.outputs.get(layer) is inputs:
        del current.outputs[layer]
        return inputs
    return call(inputs, **options)
