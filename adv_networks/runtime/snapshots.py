"""Snapshots of a model without the values of its weights, which are cheap to take and compare.

A compiled graph computes what the model computed when it was traced. The model may change later: another activation, a frozen
layer, a replaced layer, or a method or number of a layer. An earlier snapshot then no longer matches.
"""

from __future__ import annotations

import functools
import operator
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from adv_networks.lazy import keras, np
from adv_networks.runtime.caching import caches

_VALUES = frozenset({bool, int, float, complex, str, bytes, type(None)})
# Attributes that `compile` and `fit` set in a model.
# fmt: off
_OF_TRAINING = frozenset({
    "optimizer", "loss", "compiled", "history", "jit_compile", "run_eagerly", "auto_scale_loss", "steps_per_execution",
    "stop_training", "stop_evaluating", "stop_predicting", "train_function", "test_function", "predict_function",
    "_compile_config", "_compile_loss", "_compile_metrics", "_loss_tracker", "_compiled_trainable_state",
    "_eval_epoch_iterator",
})
# fmt: on
# Attributes that affect only the initial weights and the loss.
_OF_TRAINING_ENDINGS = ("_initializer", "_regularizer", "_constraint")
# Packages whose classes and functions do not change.
_KNOWN = frozenset({"keras", "tensorflow", "builtins"})
# Packages whose functions are not followed further, because what they read does not change either.
_NOT_FOLLOWED = _KNOWN | {"adv_networks", "numpy", "scipy"}
# How many calls away from a layer's own functions a function may be, and the number of functions, for a comparison to be quick.
_CALLS_AWAY, _MOST_FUNCTIONS = 4, 100
_EMPTY_CELL = types.CellType()
_LARGEST_COMPARED = 2**16  # Bytes. The contents of larger arrays are not compared, only their identity.


class Snapshot:
    """A model as it is now.

    Global variables are seen if a layer's own functions read them, or functions that these call, directly or by a few calls.
    Not seen is state that layers keep inside objects of other classes than Keras' and Python's.
    """

    def __init__(self, model: keras.Model):
        self._description = _describe(model)
        self._is_stale = False
        # Objects are identified by their addresses. Once an object is gone, another may get its address: the snapshot is stale.
        self._kept = [self._hold(value) for value in _leaves(_compared(model))]

    def matches(self, model: keras.Model) -> bool:
        """Whether the model is unchanged since this snapshot of it, apart from the values of its weights."""
        return not self._is_stale and self._description == _describe(model)

    def _hold(self, value: Any) -> Any:
        own = weakref.ref(self)

        def expire(_: weakref.ref) -> None:
            if (snapshot := own()) is not None:
                snapshot._is_stale = True

        try:
            return weakref.ref(value, expire)
        except TypeError:
            return value


def _parts(model: keras.Model) -> list[Any]:
    """All layers, including the model itself, and the operations between them."""
    layer = keras.layers.Layer
    between = [operation for operation in getattr(model, "operations", ()) if not isinstance(operation, layer)]
    return model._flatten_layers() + between


def _describe(model: keras.Model) -> list[Any]:
    """What a model computes with: numbers and strings by value, other objects by their addresses."""
    values, form = _VALUES, _form
    return [value if type(value) in values else form(type(value))(value) for value in _compared(model)]


def _compared(model: keras.Model) -> list[Any]:
    """All parts, their classes and attributes, and the attributes of classes that are not Keras', once for all their layers."""
    found: list[Any] = []
    classes: dict[type, None] = {}
    for part in _parts(model):
        own, kind = part.__dict__, type(part)
        found.append(part)
        found += _getter(tuple(own))(own)
        if foreign := _foreign_classes(kind):
            found.append(kind)
            classes |= dict.fromkeys(foreign)
    for cls in classes:
        found += vars(cls).values()
    return found


@caches.results
def _getter(names: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """A function that picks, from attributes with these names, the ones that a result may depend on."""
    chosen = [name for name in names if name not in _bookkeeping() and not name.endswith(_OF_TRAINING_ENDINGS)]
    if len(chosen) < 2:  # An itemgetter of one name returns no tuple.
        return lambda own: tuple(own[name] for name in chosen)
    return operator.itemgetter(*chosen)


@caches.results
def _bookkeeping() -> frozenset[str]:
    """The attributes that every layer and model has, except those that affect its results."""
    # Explicit names, or Keras would number the user's layers differently.
    image = keras.Input((1,), name="image")
    layer = keras.layers.Identity(name="layer")
    parts = layer, keras.Model(name="subclassed"), keras.Model(image, layer(image), name="functional")
    return _OF_TRAINING.union(*(vars(part).keys() for part in parts)) - {"_trainable", "_dtype_policy"}


@caches.results
def _foreign_classes(kind: type) -> tuple[type, ...]:
    """The classes of a layer that do not belong to Keras or TensorFlow; their attributes and methods may change too."""
    return tuple(cls for cls in kind.__mro__ if cls.__module__.split(".")[0] not in _KNOWN)


@caches.results
def _form(kind: type) -> Callable[[Any], Any]:
    """The function that represents objects of this class in a description."""
    if kind in _VALUES:
        return lambda value: value
    if issubclass(kind, (list, tuple)):
        return _of_list
    if issubclass(kind, dict):
        return _of_dict
    if issubclass(kind, np.ndarray):
        return _contents
    if issubclass(kind, keras.Variable):
        return lambda variable: (id(variable), variable._trainable)
    return _of_wrapper if issubclass(kind, _WRAPPERS) else id


# What holds a function: the function itself, what a class makes of it, or one with some of its arguments.
_WRAPPERS = (types.FunctionType, types.MethodType, staticmethod, classmethod, property, functools.partial)


def _unwrapped(value: Any) -> types.FunctionType | None:
    """The Python function behind a value, which may change by what it reads; None if there is none."""
    while isinstance(value, _WRAPPERS) and not isinstance(value, types.FunctionType):
        if isinstance(value, (functools.partial, property)):
            value = value.func if isinstance(value, functools.partial) else value.fget
        else:
            value = value.__func__
    return value if isinstance(value, types.FunctionType) else None


def _read_by(wrapper: Any) -> list[Any]:
    """What a function reads, and the functions that it calls: global variables and variables of enclosing functions.

    Functions that it reads occur themselves, followed by what they read; none is followed twice, or into `_NOT_FOLLOWED`.
    """
    found = [*wrapper.args, *wrapper.keywords.values()] if isinstance(wrapper, functools.partial) else []
    function = _unwrapped(wrapper)
    if function is None or _package(function) in _KNOWN:
        return found
    seen, following = {id(function)}, [function]
    for _ in range(1 + _CALLS_AWAY):
        read = [value for one in following for value in _read_directly(one)]
        found += read
        following = []
        for value in filter(None, map(_unwrapped, _wrappers_in(read))):
            if id(value) not in seen and _package(value) not in _NOT_FOLLOWED and len(seen) < _MOST_FUNCTIONS:
                seen.add(id(value))
                following.append(value)
    return found


def _wrappers_in(values: Iterable[Any], around: tuple[Any, ...] = ()) -> Iterator[Any]:
    """The functions among values, and in the lists and dictionaries among them, such as tables of functions."""
    for value in values:
        if isinstance(value, _WRAPPERS):
            yield value
        elif isinstance(value, (list, tuple, dict)) and id(value) not in around:
            yield from _wrappers_in(value.values() if isinstance(value, dict) else value, (*around, id(value)))


def _package(function: types.FunctionType) -> str:
    return (function.__module__ or "builtins").split(".")[0]


def _read_directly(function: types.FunctionType) -> list[Any]:
    """Its global variables, those of modules and classes among them that it names, and those of enclosing functions."""
    names, known = _names_in(function.__code__), function.__globals__
    found = [known[name] for name in names if name in known]
    for owner in filter(_is_own_namespace, tuple(found)):
        found += [vars(owner)[name] for name in names if name in vars(owner)]
    return found + [cell.cell_contents for cell in function.__closure__ or () if cell != _EMPTY_CELL]


def _is_own_namespace(value: Any) -> bool:
    """Whether a value is a module or class of the user's."""
    if not isinstance(value, (types.ModuleType, type)):
        return False
    name = value.__name__ if isinstance(value, types.ModuleType) else value.__module__
    return name.split(".")[0] not in _NOT_FOLLOWED


@caches.results
def _names_in(code: types.CodeType) -> tuple[str, ...]:
    """The names that a function's code may read, including the functions that it defines."""
    inner = [name for own in code.co_consts if isinstance(own, types.CodeType) for name in _names_in(own)]
    return tuple(dict.fromkeys([*code.co_names, *inner]))


# Below, `around` says what a value is in: the addresses of lists and dictionaries, which may contain themselves, and this mark
# of a function. A function in there is not followed: it may read itself, and `_read_by` has followed those that are called.
_READ = "read by a function"


def _of_list(value: Any, around: tuple[Any, ...] = ()) -> Any:
    return _inside(value, around) or _items(value, (*around, id(value)))


def _of_dict(value: Any, around: tuple[Any, ...] = ()) -> Any:
    return _inside(value, around) or (tuple(value), _items(value.values(), (*around, id(value))))


def _of_wrapper(value: Any, around: tuple[Any, ...] = ()) -> Any:
    return id(value) if _READ in around else (id(value), _items(_read_by(value), (*around, _READ)))


def _inside(value: Any, around: tuple[Any, ...]) -> tuple[str, int] | None:
    """How deep a container within itself begins; None if it is not within itself."""
    return ("itself", around.index(id(value))) if id(value) in around else None


def _items(values: Iterable[Any], around: tuple[Any, ...]) -> tuple[Any, ...]:
    found = tuple(values)
    if _VALUES.issuperset(map(type, found)):
        return found
    forms = [_form(type(value)) for value in found]
    nested = (_of_list, _of_dict, _of_wrapper)
    return tuple([form(value, around) if form in nested else form(value) for form, value in zip(forms, found, strict=True)])


def _contents(array: np.ndarray) -> Any:
    return (array.shape, array.dtype.str, array.tobytes()) if array.nbytes <= _LARGEST_COMPARED else id(array)


def _leaves(value: Any, around: tuple[Any, ...] = ()) -> Iterator[Any]:
    """The objects that a description identifies by their addresses."""
    if isinstance(value, (list, tuple, dict)):
        if id(value) not in around:
            for own in value.values() if isinstance(value, dict) else value:
                yield from _leaves(own, (*around, id(value)))
    elif type(value) not in _VALUES:
        yield value
        if isinstance(value, _WRAPPERS) and _READ not in around:
            for own in _read_by(value):
                yield from _leaves(own, (*around, _READ))
