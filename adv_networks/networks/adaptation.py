"""Adapts Keras models of many kinds to one form: images [batch, height, width, channels] to logits [batch, classes]."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from adv_networks import runtime
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import Dataset, as_number, quoted
from adv_networks.lazy import keras, np, tf
from adv_networks.storage.files import reason

# The tolerance of a sum of probabilities, for half precision; and the side of test images if a model takes any size.
_OF_A_SUM, _SOME_SIDE = 0.01, 32


class _Wanted(NamedTuple):
    """The required classifier: the shape of its images, its number of classes (None for any), and its name in errors."""

    shape: tuple[int | None, ...]
    classes: int | None
    name: str

    def __str__(self) -> str:
        return f"{self.name}, {(None, *self.shape)} to {f'(None, {self.classes})' if self.classes else '(None, classes)'}"


def as_classifier(model: keras.Model, dataset: Dataset, where: str) -> keras.Model:
    """The model as a classifier of a data set: the model itself if it fits, otherwise a functional model around it.

    If there are several outputs, nested or not, the one with one number per class is used, provided that it is the only one.
    For two classes a single logit becomes the logits 0 and this one. Image sides of any length become those of the data set,
    and a fixed batch size becomes any. Logits are cast to the dtype of the weights.

    Args:
        model: a built Keras model, functional, sequential or subclassed.
        dataset: the data set.
        where: the source of the model, for messages.

    Raises:
        UserError: it is not a classifier of the data set, was never built, or takes or returns integers, through which no
            gradient passes.
    """
    return _adapted(model, _Wanted(dataset.image_shape, dataset.classes, f"a classifier of {dataset.name}"), where)


def as_any_classifier(model: keras.Model, shape: Sequence[int] | None = None) -> keras.Model:
    """The same without a data set: the model determines the number of classes; `shape`, or its build, that of the images.

    Raises:
        UserError: as `as_classifier`.
    """
    if not isinstance(model, keras.Model):
        raise UsageError(f"classifier: expected a Keras model, received a {type(model).__name__}")
    if shape is None:
        taken = getattr(model, "inputs", None)
        built_for = taken[0].shape if taken else (model.get_build_config() or {}).get("input_shape")
        if not model.built or not isinstance(built_for, (tuple, list)) or len(built_for) != 4:
            raise UserError(
                "classifier: expected a model built for images [batch, height, width, channels], found one built for "
                f"{built_for} (call it on some first)"
            )
        shape = built_for[1:]
    return _adapted(model, _Wanted(tuple(shape), None, "a classifier"), "classifier")


def check_trainable(model: keras.Model, where: str) -> None:
    """Raises a UserError if a classifier returns probabilities, or if it has no weights to train, or weights of several dtypes.

    Training would apply a second softmax, and the update rules treat all weights as one vector.
    """
    if not model.trainable_variables:
        raise UserError(f"{where}: expected a classifier with weights to train, found none (its layers may be frozen)")
    types = sorted({keras.backend.standardize_dtype(weight.dtype) for weight in model.trainable_variables})
    if len(types) > 1:
        raise UserError(f"{where}: expected weights of one type for training, found {' and '.join(types)} (build it in one)")
    outputs = of_noise(model, where=where)
    if np.isfinite(outputs).all() and outputs.min() >= 0 and np.abs(outputs.sum(1) - 1).max() < _OF_A_SUM:
        raise UserError(
            f"{where}: expected logits for training, found probabilities (return the values before the softmax; models of "
            "keras.applications do with classifier_activation=None)"
        )


def _adapted(model: keras.Model, wanted: _Wanted, where: str) -> keras.Model:
    if not model.built:
        raise UserError(f"{where}: expected {wanted.name}, found a model that was never built")
    taken = getattr(model, "inputs", None)
    if taken is not None:
        _check_inputs(taken, wanted, where)
        if _is_one(model, wanted, where):
            return model
    image = keras.Input(wanted.shape, name="image")
    outputs = _named(_called(model, image, wanted, where))
    logits = _logits(list(outputs.values()), wanted.classes)
    if logits is None:
        received = " and ".join(str(tuple(tensor.shape)) for tensor in (taken or [image]))
        made = " and ".join(f"{f'{name}: ' * (len(outputs) > 1)}{tuple(tensor.shape)}" for name, tensor in outputs.items())
        hint = " (let it return only one of them)" if len(outputs) > 1 else ""
        raise UserError(f"{where}: expected {wanted}, found {received} to {made}{hint}")
    _check_floats(keras.backend.standardize_dtype(logits.dtype), wanted.name, where)
    fixed = taken[0].shape[0] if taken is not None else None
    if computed_dtype(keras.Model(image, logits), where, fixed or 1) != (own := _dtype_of_weights(model)):
        logits = keras.ops.cast(logits, own)
    if logits.shape[1] == 1:
        # Other bounds, such as a clip for numerical safety, leave it a logit.
        if (bound := runtime.bounding_operation(keras.Model(image, logits))) in ("sigmoid", "softmax"):
            raise UserError(f"{where}: expected one logit, found its {bound} (return the values before the {bound})")
        logits = keras.ops.concatenate([keras.ops.zeros_like(logits), logits], 1)
    found = keras.Model(image, logits, name=model.name)
    if fixed is not None:
        _check_takes_any_batch(found, fixed, wanted, where)
    return found


def _is_one(model: keras.Model, wanted: _Wanted, where: str) -> bool:
    """Whether a functional or sequential model is already the required classifier."""
    if not runtime.returns_one_tensor(model) or tuple(model.inputs[0].shape) != (None, *wanted.shape):
        return False
    shape, dtype = tuple(model.outputs[0].shape), keras.backend.standardize_dtype(model.outputs[0].dtype)
    classes = wanted.classes or (shape[1] if len(shape) == 2 and shape[1] != 1 else None)
    declared = shape == (None, classes) and dtype == _dtype_of_weights(model)
    return declared and (_is_of_keras(model) or computed_dtype(model, where) == dtype)


def _is_of_keras(model: keras.Model) -> bool:
    """Whether all layers and activations are Keras' own and return what they declare, unlike a Lambda or your own function."""
    layers = list(runtime.layers_of(model))
    activations = [getattr(layer, name, None) for layer in layers for name in ("activation", "recurrent_activation")]
    parts = {*map(type, layers), *filter(None, activations)}
    return keras.layers.Lambda not in parts and all(str(part.__module__).startswith("keras.") for part in parts)


def _dtype_of_weights(model: keras.Model) -> str:
    weights = model.trainable_variables
    return keras.backend.standardize_dtype(weights[0].dtype if weights else model.variable_dtype)


def of_noise(model: keras.Model, images: int = 4, where: str | None = None) -> np.ndarray:
    """A classifier's outputs for noise images in [0,1], in double precision; `where` is its source, for messages."""
    return outputs_of(model, _noise(model, images), where or model.name)


def outputs_of(model: keras.Model, inputs: np.ndarray, where: str) -> np.ndarray:
    """A model's outputs for inputs in its own range, in double precision, in inference mode.

    Raises:
        UserError: the model fails, or returns no floats.
    """
    return np.asarray(keras.ops.cast(_computed(model, inputs, where), "float64"))


def computed_dtype(model: keras.Model, where: str, images: int = 1) -> str:
    """The type of the floats that a model really returns for noise images; that of a Lambda may differ from the declared one.

    Raises:
        UserError: as `outputs_of`.
    """
    return keras.backend.standardize_dtype(_computed(model, _noise(model, images), where).dtype)


def _noise(model: keras.Model, images: int) -> np.ndarray:
    sides = (side or _SOME_SIDE for side in model.input_shape[1:])
    return np.random.default_rng(0).random((images, *sides), np.float32)


def _computed(model: keras.Model, inputs: np.ndarray, where: str) -> tf.Tensor:
    try:
        outputs = model(inputs, training=False)
    except Exception as error:  # The user's code may raise anything.
        raise runtime.failure(where, error) from error
    _check_floats(outputs.dtype.name if isinstance(outputs, tf.Tensor) else type(outputs).__name__, "a model", where)
    return outputs


def _check_floats(found: str, what: str, where: str) -> None:
    if "float" not in found:
        raise UserError(
            f"{where}: expected {what} that returns floats, found one that returns {found}, through which no gradient passes "
            "to the images (let it return the logits themselves)"
        )


def _check_takes_any_batch(model: keras.Model, fixed: int, wanted: _Wanted, where: str) -> None:
    """Raises a UserError if a model that was built with a fixed batch size fails with another one."""
    try:
        of_noise(model, fixed + 1)
    except UserError as error:
        raise UserError(
            f"{where}: expected {wanted.name} of any number of images, found one of batches of {fixed}, which fails with "
            f"{fixed + 1}: {type(error.__cause__).__name__} (build it without batch_size, and reshape by -1)"
        ) from None


def mapped_by_name(model: keras.Model, own: Sequence[str], dataset: Dataset, where: str) -> keras.Model:
    """A classifier of the classes `own`, with its logits reordered to the order of the data set's classes.

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


def checked_range(input_range: Any) -> tuple[float, float]:
    """The pixel range itself; raises a UsageError unless it is two ascending finite numbers."""
    bounds = tuple(map(as_number, input_range)) if isinstance(input_range, Iterable) else ()
    fits = len(bounds) == 2 and all(isinstance(bound, (int, float)) for bound in bounds)
    if not fits or not -math.inf < bounds[0] < bounds[1] < math.inf:
        raise UsageError(f"input_range: expected two ascending numbers, for black and white, received {quoted(input_range)}")
    return bounds


def with_unit_range(model: keras.Model, input_range: tuple[float, float]) -> keras.Model:
    """The same classifier for images in [0,1]; `input_range` are the values that it takes for black and white.

    Raises:
        UsageError: `input_range` is not two ascending finite numbers.
    """
    low, high = checked_range(input_range)
    if (low, high) == (0, 1):
        return model
    return keras.Sequential([keras.Input(model.input_shape[1:]), keras.layers.Rescaling(high - low, low), model])


def _check_inputs(taken: Sequence[Any], wanted: _Wanted, where: str) -> None:
    fits = len(taken) == 1 and len(taken[0].shape) == 1 + len(wanted.shape)
    if not fits or any(side not in (None, own) for side, own in zip(taken[0].shape[1:], wanted.shape, strict=True)):
        raise UserError(f"{where}: expected {wanted}, found {' and '.join(str(tuple(tensor.shape)) for tensor in taken)}")
    dtype = keras.backend.standardize_dtype(taken[0].dtype)
    if "float" not in dtype:
        raise UserError(
            f"{where}: expected a classifier of floats, found one of {dtype}, through which no gradient passes to the images "
            "(let it take floats in the same range)"
        )


def _called(model: keras.Model, image: Any, wanted: _Wanted, where: str) -> Any:
    try:
        return model(image)
    except Exception as error:  # The user's code may raise anything.
        raise UserError(
            f"{where}: expected {wanted.name} whose call can be traced, found {type(error).__name__}: {reason(error)}"
        ) from error


def _named(outputs: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """The tensors that a model returns in lists and dictionaries of any depth, by their path."""
    if not isinstance(outputs, (Mapping, list, tuple)):
        return {".".join(path): outputs}
    found: dict[str, Any] = {}
    for name, own in outputs.items() if isinstance(outputs, Mapping) else enumerate(outputs):
        found |= _named(own, (*path, str(name)))
    return found


def _logits(outputs: Sequence[Any], classes: int | None) -> Any:
    """The only output with one number per class (or a single one for two classes); None if there is none or more than one."""
    flat = [own for own in outputs if len(own.shape) == 2]
    if classes is None:
        return flat[0] if len(flat) == 1 else None
    for size in [classes, *[1] * (classes == 2)]:
        fitting = [own for own in flat if own.shape[1] == size]
        if len(fitting) == 1:
            return fitting[0]
    return None
