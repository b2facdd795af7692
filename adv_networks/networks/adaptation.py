"""Keras models of many kinds, brought to one: images [batch, height, width, channels] to logits [batch, classes]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adv_networks import runtime
from adv_networks.errors import UserError
from adv_networks.experiments import Dataset
from adv_networks.lazy import keras
from adv_networks.storage.files import reason

_BOUNDED = ("sigmoid", "hard_sigmoid", "tanh")


def as_classifier(model: keras.Model, dataset: Dataset, where: str) -> keras.Model:
    """The model as a classifier of a data set: itself where it is one, else a functional model around it.

    Of several outputs the one that has as many numbers as there are classes is taken, where only one has. One logit, of two
    classes, becomes the logits 0 and that one. Sides of any length and a fixed batch size become those of the images.

    Args:
        model: a built Keras model, functional, sequential or subclassed.
        dataset: whose images it is for.
        where: it was found, for messages.

    Raises:
        UserError: it is not a classifier of the data set, was never built, or takes integers, through which no gradient passes.
    """
    if not model.built:
        raise UserError(f"{where}: expected a classifier of {dataset.name}, found a model that was never built")
    wanted = (None, *dataset.image_shape), (None, dataset.classes)
    taken = getattr(model, "inputs", None)
    if taken is not None:
        _check_inputs(taken, dataset, where)
        if runtime.returns_one_tensor(model) and (tuple(taken[0].shape), tuple(model.outputs[0].shape)) == wanted:
            return model
    image = keras.Input(dataset.image_shape, name="image")
    outputs = _named(_called(model, image, dataset, where))
    logits = _logits(outputs, dataset.classes)
    if logits is None:
        received = " and ".join(str(tuple(tensor.shape)) for tensor in (taken or [image]))
        made = " and ".join(f"{name}{tuple(tensor.shape)}" for name, tensor in outputs.items())
        hint = " (let it return only one of them)" if len(outputs) > 1 else ""
        expected = " to ".join(map(str, wanted))
        raise UserError(f"{where}: expected a classifier of {dataset.name}, {expected}, found {received} to {made}{hint}")
    if logits.shape[1] == 1:
        if (activation := _last_activation(model)) in _BOUNDED:
            raise UserError(f"{where}: expected one logit, found its {activation} (return the values before the {activation})")
        logits = keras.ops.concatenate([keras.ops.zeros_like(logits), logits], 1)
    return keras.Model(image, logits, name=model.name)


def mapped_by_name(model: keras.Model, own: Sequence[str], dataset: Dataset, where: str) -> keras.Model:
    """The classifier, whose logits are of the classes `own`, with its logits in the order of the data set's classes.

    Raises:
        UserError: the data set has other classes.
    """
    if not own or not dataset.class_names or tuple(own) == dataset.class_names:
        return model
    if sorted(own) != sorted(dataset.class_names):
        unknown = sorted(set(dataset.class_names) ^ set(own))
        raise UserError(
            f"{where}: expected a classifier of the classes of {dataset.name}, found one of other classes "
            f"(only one of the two has {', '.join(unknown[:5])}{' and more' if len(unknown) > 5 else ''})"
        )
    image = keras.Input(dataset.image_shape, name="image")
    order = [list(own).index(name) for name in dataset.class_names]
    return keras.Model(image, keras.ops.take(model(image), order, axis=1), name=model.name)


def with_unit_range(model: keras.Model, input_range: tuple[float, float]) -> keras.Model:
    """The same classifier for images in [0,1]; `input_range` is what its own inputs for black and white are."""
    low, high = input_range
    if (low, high) == (0, 1):
        return model
    return keras.Sequential([keras.Input(model.input_shape[1:]), keras.layers.Rescaling(high - low, low), model])


def _check_inputs(taken: Sequence[Any], dataset: Dataset, where: str) -> None:
    shapes = " and ".join(str(tuple(tensor.shape)) for tensor in taken)
    fits = len(taken) == 1 and len(taken[0].shape) == 1 + len(dataset.image_shape)
    if not fits or any(side not in (None, own) for side, own in zip(taken[0].shape[1:], dataset.image_shape, strict=True)):
        raise UserError(
            f"{where}: expected a classifier of {dataset.name}, {(None, *dataset.image_shape)} to {(None, dataset.classes)}, "
            f"found {shapes}"
        )
    dtype = keras.backend.standardize_dtype(taken[0].dtype)
    if "float" not in dtype:
        raise UserError(
            f"{where}: expected a classifier of floats, found one of {dtype}, through which no gradient passes to the images "
            "(let it take floats in the same range)"
        )


def _called(model: keras.Model, image: Any, dataset: Dataset, where: str) -> Any:
    try:
        return model(image)
    except Exception as error:  # Whatever the user's code raises.
        raise UserError(
            f"{where}: expected a classifier of {dataset.name} whose call can be traced, found {type(error).__name__}: "
            f"{reason(error)}"
        ) from error


def _named(outputs: Any) -> dict[str, Any]:
    """The tensors that a model returns, by a name where they have one."""
    if isinstance(outputs, Mapping):
        return {f"{name} ": tensor for name, tensor in outputs.items()}
    several = isinstance(outputs, (list, tuple))
    return (
        {f"{number}: ": own for number, own in enumerate(outputs)}
        if several and len(outputs) > 1
        else {"": outputs[0] if several else outputs}
    )


def _logits(outputs: Mapping[str, Any], classes: int) -> Any:
    """The one output that has a number a class, or one for two classes; None where none or several have."""
    sizes = [classes, *[1] * (classes == 2)]
    for size in sizes:
        fitting = [own for own in outputs.values() if len(own.shape) == 2 and own.shape[1] == size]
        if len(fitting) == 1:
            return fitting[0]
    return None


def _last_activation(model: keras.Model) -> str:
    activation = getattr(model.layers[-1], "activation", None) if model.layers else None
    return getattr(activation, "__name__", "")
