"""Functions of models as compiled graphs: one for all lengths of a batch, kept for as long as the model is the same."""

from __future__ import annotations

import collections
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from adv_networks.lazy import keras, tf
from adv_networks.runtime import graphs, randomness, settings
from adv_networks.runtime.caching import caches
from adv_networks.runtime.snapshots import Snapshot
from adv_networks.runtime.stateless import Weighted, Weights


def run_compiled(function: Callable[..., Any], model: keras.Model, *arguments: Any) -> Any:
    """Computes `function(model, *arguments)` in a compiled graph.

    One graph serves all lengths of the tensors' first axis, all values of the weights, and all models that share graphs
    (`prepare`). It is traced anew once anything but the weights' values has changed in the model (`snapshots`). What a random
    model draws is drawn anew at every call (`randomness`).

    Args:
        function: takes a model and the arguments; calls the model by `discarding_statistics` alone, as what it gets is the
            model or a `Weighted` one.
        model: a built Keras model.
        *arguments: tensors, whose values are the graph's inputs, and other values, for each of which there is a graph.

    Within another graph the function becomes part of that.
    """
    if not tf.executing_eagerly():
        return function(model, *arguments)
    return _graphs_of(model).run(function, model, arguments)


def described(function: Callable[..., Any], model: keras.Model, *arguments: Any) -> Any:
    """What `run_compiled` would return, a `tf.TensorSpec` for each tensor; the graph is traced, and nothing is computed."""
    with randomness.drawing():  # Nothing is drawn: the calls to come must get the seeds that they would have got.
        return _graphs_of(model).concrete(function, model, arguments)[0].structured_outputs


def trace_counts(model: keras.Model | None = None) -> collections.Counter[str]:
    """How often the graphs that serve a model now were traced, by the name of their function; None for all of the process."""
    found = [*_by_architecture.values(), *_by_model.values()] if model is None else [_graphs_of(model)]
    counts: collections.Counter[str] = collections.Counter()
    for kept in found:
        for function, graph in kept.by_function.items():
            counts[function.__name__] += graph.traces
    return counts


def for_loops(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its graph kept apart from that of a `tf.while_loop` that calls it.

    TensorFlow gives max-pooling's gradient oneDNN's kernel only if it has visited the pooling before, and in a loop's graph
    the order of its visits varies from process to process: in one of two, 64 images of D1 took 3.7 ms instead of 0.4.
    Not for replicas that share moments, which cannot do so inside a function of the graph.
    """
    if settings.is_plain():
        return function
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


class _Graph:
    """A function as a graph that any model can be put through that computes the same but for its weights."""

    def __init__(self, function: Callable[..., Any]):
        self.traces = 0
        self._function = function
        self._model: keras.Model | None = None
        self._lock = threading.RLock()
        self._compiled = tf.function(self._trace, autograph=False)

    def _trace(self, weights: Weights, *arguments: Any) -> Any:
        self.traces += 1
        return self._function(Weighted(self._model, weights), *arguments)

    def concrete(self, model: keras.Model, weights: Weights, specs: list[Any]) -> Any:
        """The graph for arguments of that kind, traced through the model if there is none yet."""
        with self._lock:
            self._model = model
            try:
                return self._compiled.get_concrete_function(weights, *specs)
            finally:
                self._model = None  # The graph outlives it.


class _Graphs:
    """The graphs of models that compute the same but for their weights, or of one model as long as it is what it was."""

    def __init__(self, snapshot: Snapshot | None = None):
        self.by_function: dict[Callable[..., Any], _Graph] = {}
        self._snapshot = snapshot

    def serve(self, model: keras.Model) -> bool:
        """Whether the model is what it was."""
        return self._snapshot is None or self._snapshot.matches(model)

    def run(self, function: Callable[..., Any], model: keras.Model, arguments: tuple[Any, ...]) -> Any:
        """The function's value, in its graph."""
        concrete, weights = self.concrete(function, model, arguments)
        # All arguments, since TensorFlow, given the tensors alone, first puts their values into the message of an error.
        return concrete(weights, *arguments)

    def concrete(self, function: Callable[..., Any], model: keras.Model, arguments: tuple[Any, ...]) -> tuple[Any, Weights]:
        """The graph for such arguments, and the weights that it takes before them."""
        weights = Weights.for_next_call(model)
        # setdefault, as several threads may come here at once.
        graph = self.by_function.get(function) or self.by_function.setdefault(function, _Graph(function))
        before = graph.traces
        concrete = graph.concrete(model, weights, [_spec(argument) for argument in arguments])
        if graph.traces > before and self._snapshot is not None:
            self._snapshot = Snapshot(model)  # A layer may note in itself that it was called.
        return concrete, weights


_by_architecture: dict[Hashable, _Graphs] = caches.add({})
# By model, to be freed with it.
_by_model: weakref.WeakKeyDictionary[keras.Model, _Graphs] = caches.add(weakref.WeakKeyDictionary())


def _graphs_of(model: keras.Model) -> _Graphs:
    architecture = graphs.architecture(model)
    if architecture is not None:
        return _by_architecture.setdefault(architecture, _Graphs())
    found = _by_model.get(model)
    if found is None or not found.serve(model):
        found = _by_model[model] = _Graphs(Snapshot(model))
    return found


def _spec(argument: Any) -> Any:
    """A tensor's type, its first axis of any length; everything else as it is."""
    if not isinstance(argument, tf.Tensor):
        return argument
    return tf.TensorSpec([None, *argument.shape[1:]] if argument.shape.rank else [], argument.dtype)
