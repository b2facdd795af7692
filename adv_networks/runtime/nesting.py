"""The layers of models inside models, because some defences and checks look for them."""

from __future__ import annotations

from typing import Any

from adv_networks.lazy import keras


def flattened(model: keras.Model) -> keras.Model:
    """The same network, with the layers of nested functional and sequential models at the top level; it shares the layers.

    A model without nested ones is returned unchanged. Subclassed models within it stay nested, because their graph is unknown.

    Examples:
        >>> import keras
        >>> from adv_networks import runtime
        >>> inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> model = keras.Sequential([keras.Input((2,)), inner, keras.layers.ReLU()])
        >>> [type(layer).__name__ for layer in runtime.flattened(model).layers]
        ['InputLayer', 'Dense', 'ReLU']
    """
    if not any(graph_of(layer) for layer in model.layers):
        return model
    image = keras.Input(model.input_shape[1:], name="image")
    return keras.Model(image, _run(model, image), name=model.name)


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """The model itself and all layers in it, those of nested models and layers too.

    Examples:
        >>> import keras
        >>> from adv_networks import runtime
        >>> inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> sorted({type(layer).__name__ for layer in runtime.layers_of(keras.Sequential([keras.Input((2,)), inner]))})
        ['Dense', 'InputLayer', 'Sequential']
    """
    return model._flatten_layers()


def graph_of(operation: Any) -> Any:
    """The functional model behind an operation: itself, or the one inside a sequential model; None for other operations."""
    if not isinstance(operation, keras.Model):
        return None
    found = getattr(operation, "_functional", None) or operation
    return found if hasattr(found, "_run_through_graph") else None


def _run(operation: Any, *inputs: Any, **options: Any) -> Any:
    graph = graph_of(operation)
    if graph is None:
        return operation(*inputs, **options)
    return graph._run_through_graph(inputs[0], operation_fn=lambda inner: lambda *a, **k: _run(inner, *a, **k))
