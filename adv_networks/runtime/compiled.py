"""Functions of models as compiled graphs: one graph for all batch sizes, kept as long as the model does not change."""

from __future__ import annotations

import collections
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from adv_networks.errors import UserError
from adv_networks.lazy import keras, tf
from adv_networks.runtime import graphs, randomness, settings
from adv_networks.runtime.caching import caches
from adv_networks.runtime.snapshots import Snapshot
from adv_networks.runtime.stateless import Weighted, Weights
from adv_networks.storage.files import reason


def failure(where: str, error: Exception) -> UserError:
    """The error for a model that fails when it is computed.

    Examples:
        >>> from adv_networks import runtime
        >>> print(runtime.failure("mine.keras", ValueError("7 images, not 250")))
        mine.keras: expected a model that can be computed for any batch of images, found ValueError: 7 images, not 250
    """
    found = f"{type(error).__name__}: {reason(error)}"
    return UserError(f"{where}: expected a model that can be computed for any batch of images, found {found}")


def run_compiled(function: Callable[..., Any], model: keras.Model, *arguments: Any) -> Any:
    """Computes `function(model, *arguments)` in a compiled graph.

    One graph serves all lengths of the tensors' first axis, all values of the weights, and all models that share graphs
    (`prepare`). It is retraced if anything in the model has changed other than the values of its weights (`snapshots`). A
    random model draws new numbers at every call (`randomness`).

    Args:
        function: takes a model and the arguments. It must call the model only through `discarding_statistics`, because it
            receives either the model or a `Weighted` one.
        model: a built Keras model.
        *arguments: tensors, which are inputs of the graph, and other values, each of which has its own graph.

    Inside another graph, the function becomes part of that graph.

    Examples:
        >>> import keras, tensorflow as tf
        >>> from adv_networks import runtime
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> def predicted(model, x):
        ...     return tf.argmax(runtime.discarding_statistics(model, x, training=False), 1)
        >>> runtime.run_compiled(predicted, model, tf.zeros((5, 2))).shape
        TensorShape([5])
    """
    if not tf.executing_eagerly():
        return function(model, *arguments)
    return _graphs_of(model).run(function, model, arguments)


def described(function: Callable[..., Any], model: keras.Model, *arguments: Any) -> Any:
    """The result of `run_compiled` with a `tf.TensorSpec` for each tensor: the graph is traced, but nothing is computed.

    Examples:
        >>> import keras, tensorflow as tf
        >>> from adv_networks import runtime
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> runtime.described(runtime.raw_outputs, model, False, tf.TensorSpec((None, 2))).shape
        TensorShape([None, 3])
    """
    with randomness.drawing():  # A separate stream, so that later calls get the same seeds as without this one.
        return _graphs_of(model).concrete(function, model, arguments)[0].structured_outputs


def trace_counts(model: keras.Model | None = None) -> collections.Counter[str]:
    """How many times a model's current graphs were traced, by function name; None for all graphs of the process.

    Examples:
        >>> import keras, tensorflow as tf
        >>> from adv_networks import runtime
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> for size in (2, 5):
        ...     outputs = runtime.run_compiled(runtime.raw_outputs, model, False, tf.zeros((size, 2)))
        >>> runtime.trace_counts(model)
        Counter({'raw_outputs': 1})
    """
    found = [*_by_architecture.values(), *_by_model.values()] if model is None else [_graphs_of(model)]
    counts: collections.Counter[str] = collections.Counter()
    for kept in found:
        for function, graph in kept.by_function.items():
            counts[function.__name__] += graph.traces
    return counts


def for_loops(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keeps a function's graph separate from the graph of the `tf.while_loop` that calls it.

    TensorFlow uses oneDNN's kernel for the gradient of max-pooling only if it has visited the pooling before. In a loop's graph
    the order of visits varies between processes: in half of them, 64 images of D1 took 3.7 ms instead of 0.4. Do not use this
    for replicas that share BN moments, which is impossible inside a function of the graph.

    Examples:
        >>> import tensorflow as tf
        >>> from adv_networks import runtime
        >>> double = runtime.for_loops(lambda x: 2 * x)
        >>> float(tf.while_loop(lambda x: x < 100, lambda x: (double(x),), (tf.constant(3.0),))[0])
        192.0
    """
    if settings.is_plain():
        return function
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


class _Graph:
    """A function as a graph that serves all models that differ only in their weights."""

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
        """The graph for arguments of these types, traced with the model if there is none yet."""
        with self._lock:
            self._model = model
            try:
                return self._compiled.get_concrete_function(weights, *specs)
            finally:
                self._model = None  # The graph outlives the model.


class _Graphs:
    """The graphs of models that differ only in their weights, or of one model as long as it is unchanged."""

    def __init__(self, snapshot: Snapshot | None = None):
        self.by_function: dict[Callable[..., Any], _Graph] = {}
        self._snapshot = snapshot

    def serve(self, model: keras.Model) -> bool:
        """Whether the model is unchanged."""
        return self._snapshot is None or self._snapshot.matches(model)

    def run(self, function: Callable[..., Any], model: keras.Model, arguments: tuple[Any, ...]) -> Any:
        """The function's value, computed in its graph."""
        concrete, weights = self.concrete(function, model, arguments)
        try:
            # Pass all arguments: given only the tensors, TensorFlow first formats their values into an error message.
            return concrete(weights, *arguments)
        except tf.errors.ResourceExhaustedError:  # It is not the model's.
            raise
        except tf.errors.OpError as error:
            raise failure(model.name, error) from error

    def concrete(self, function: Callable[..., Any], model: keras.Model, arguments: tuple[Any, ...]) -> tuple[Any, Weights]:
        """The graph for these arguments, and the weights that it takes before them."""
        weights = Weights.for_next_call(model)
        # setdefault, because several threads may get here at once.
        graph = self.by_function.get(function) or self.by_function.setdefault(function, _Graph(function))
        before = graph.traces
        concrete = graph.concrete(model, weights, [_spec(argument) for argument in arguments])
        if graph.traces > before and self._snapshot is not None:
            self._snapshot = Snapshot(model)  # A layer's attributes may change when it is called.
        return concrete, weights


_by_architecture: dict[Hashable, _Graphs] = caches.add({})
# Keyed weakly by model, so that graphs are freed with it.
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
    """The spec of a tensor, with a first axis of any length; any other argument unchanged."""
    if not isinstance(argument, tf.Tensor):
        return argument
    return tf.TensorSpec([None, *argument.shape[1:]] if argument.shape.rank else [], argument.dtype)
