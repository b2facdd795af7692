"""Functions of a model, compiled once for all batches."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from adv_networks.runtime import graphs
from adv_networks.runtime.graphs import Weighted, Weights

# By model, to be freed with it: a function keeps the graph of every argument that it ever had.
_compiled: weakref.WeakKeyDictionary[keras.Model, dict[Callable, Any]] = weakref.WeakKeyDictionary()


def run_compiled(function, model, *arguments):
    """`function(model, …)` in one graph for all lengths of its tensors' first axis, and for all models that share graphs.

    Inside another graph it becomes part of that.
    """
    if not tf.executing_eagerly():
        return function(model, *arguments)
    weights = Weights.of(model)
    specs = [
        tf.TensorSpec([None, *argument.shape[1:]] if argument.shape.rank else [], argument.dtype)
        if isinstance(argument, tf.Tensor)
        else argument
        for argument in arguments
    ]
    model = graphs.representative(model)
    # setdefault, as several threads may come here at once.
    of_model = _compiled.setdefault(model, {})
    graph = of_model.setdefault(function, tf.function(functools.partial(_with_weights, function), autograph=False))
    # All arguments, since TensorFlow, given the tensors alone, first puts their values into the message of an error.
    return graph.get_concrete_function(model, weights, *specs)(model, weights, *arguments)


def _with_weights(function, model, weights, *arguments):
    return function(Weighted(model, weights), *arguments)


def traces_of(model: keras.Model) -> dict[str, int]:
    """How often each function was traced for a model, by the function's name."""
    own = _compiled.get(model, {})
    return {function.__name__: graph.experimental_get_tracing_count() for function, graph in own.items()}
