"""The door of every public function of `attacks` and `evaluation`: what images, labels, ε and seeds may be."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from adv_networks.errors import UsageError
from adv_networks.lazy import keras, tf
from adv_networks.runtime import described, raw_outputs, returns_one_tensor
from adv_networks.storage.files import reason

if TYPE_CHECKING:
    Array: TypeAlias = np.ndarray | tf.Tensor
    Seed: TypeAlias = int | tuple[int, int] | tf.Tensor

# By how much rounding may have moved a pixel out of [0,1].
ROUNDING = 1e-6


def as_seed(seed: Seed) -> tf.Tensor:
    """A seed as the int32 [2] that stateless random operations take."""
    return tf.convert_to_tensor((0, seed) if isinstance(seed, (int, np.integer)) else seed, tf.int32)


def as_scalar(value: float | tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """A number as a tensor; tf.cast would take a Python number to double precision by way of single."""
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.constant(float(value), dtype)


def check_images(x: Array) -> None:
    """Raises a UsageError where images are neither uint8 nor floats in [0,1]; inside a graph only their type is known."""
    kind = _kind_of(x)
    if kind == tf.uint8 or (kind.is_floating and (not _is_known(x) or not math.prod(x.shape))):
        return
    received = kind.name
    if (kind.is_floating or kind.is_integer) and _is_known(x) and math.prod(x.shape):
        # Reductions of the library that the images are of, so that none is copied.
        low, high = (float(reduce(x)) for reduce in ((tf.reduce_min, tf.reduce_max) if tf.is_tensor(x) else (np.min, np.max)))
        if kind.is_floating and low >= -ROUNDING and high <= 1 + ROUNDING:
            return
        received += f" from {low:.9g} to {high:.9g}"
    raise UsageError(f"images: expected uint8, or floats in [0,1], received {received}")


def check_labels(y: Array, images: int | None, classes: int | None) -> None:
    """Raises a UsageError unless labels are one integer an image, from 0 to the number of classes; inside a graph their type.

    Args:
        y: the labels.
        images: how many there must be; None where that is not known yet.
        classes: how many classes there are; None where that is not known.
    """
    shape, kind = y.shape, _kind_of(y)
    if not kind.is_integer or len(shape) != 1 or (images is not None and shape[0] not in (images, None)):
        count = "N" if images is None else images
        raise UsageError(f"labels: expected integers [{count}], received {kind.name} {list(shape)}")
    if not _is_known(y) or not shape[0]:
        return
    low, high = int(np.min(y)), int(np.max(y))
    if low < 0 or (classes is not None and high >= classes):
        upper = f"to {classes - 1}" if classes is not None else "on"
        raise UsageError(f"labels: expected integers from 0 {upper}, received {low if low < 0 else high}")


def _kind_of(array: Array) -> tf.DType:
    """The type of its elements; that of a string for what is no number at all."""
    try:
        return tf.as_dtype(array.dtype)
    except TypeError:
        return tf.string


def _is_known(array: Array) -> bool:
    """Whether the values are at hand, not those of a graph that is being built."""
    return not tf.is_tensor(array) or hasattr(array, "numpy")


def check_model(model: keras.Model) -> None:
    """Raises a UsageError for what is no Keras model."""
    if not isinstance(model, keras.Model):
        raise UsageError(f"classifier: expected a Keras model, received {type(model).__name__}")


def classes_of(model: keras.Model, x: Array | None = None) -> int | None:
    """How many classes a classifier has; None where neither it says so nor its graph for such images, where these are given."""
    shape = _logits_shape(model, x)
    classes = shape[-1] if isinstance(shape, tf.TensorShape) and shape.rank == 2 else None
    return None if classes == 1 else classes  # One logit names no class, as `check_fits` says.


def _logits_shape(model: keras.Model, x: Array | None) -> Any:
    """The shape of a classifier's logits, from its own output shape or from its graph for such images; None if unknown.

    A list or dictionary of shapes stands for several outputs. If the second of two is one number per image, it is the excess of
    a defence that refuses images (`Defended.with_excess`), and the first has the logits.
    """
    check_model(model)
    if returns_one_tensor(model):
        return tf.TensorShape(model.output_shape)
    shapes = _traced_shapes(model, x) if x is not None and _is_known(x) else None
    if isinstance(shapes, list) and len(shapes) == 2 and isinstance(shapes[1], tf.TensorShape) and shapes[1].rank == 1:
        return shapes[0]
    return shapes


def _traced_shapes(model: keras.Model, x: Array) -> Any:
    """The shapes of a model's outputs, of which one of the user's own class says none, from the graph that predictions have."""
    shape = np.shape(x)[1:]
    images = tf.TensorSpec([None, *shape], model.variable_dtype)
    try:
        outputs = described(raw_outputs, model, False, images)
    except Exception as error:  # Whatever the user's code raises.
        received = ", ".join(map(str, shape))
        raise UsageError(
            f"classifier: expected a built model that takes images [batch, {received}] and whose call can be traced, received "
            f"{type(error).__name__}: {reason(error)}"
        ) from error
    return tf.nest.map_structure(lambda output: output.shape, outputs)


def check_shape(taken: object, x: Array) -> None:
    """Raises a UsageError where images are not of the shape that a model says it takes, or makes: [batch, …], None for any."""
    if isinstance(taken, tuple):
        fits = len(x.shape) == len(taken) and all(
            wanted is None or size in (wanted, None) for wanted, size in zip(taken[1:], x.shape[1:], strict=True)
        )
        if not fits:
            expected, received = ("[batch, " + ", ".join(map(str, shape[1:])) + "]" for shape in (taken, x.shape))
            raise UsageError(f"images: expected {expected}, received {received if len(x.shape) > 1 else list(x.shape)}")


def check_fits(model: keras.Model, x: Array) -> None:
    """Raises a UsageError where the model does not take images of that shape to logits, or to one, which names no class."""
    check_shape(getattr(model, "input_shape", None), x)
    if len(x.shape) != 4:
        raise UsageError(
            f"images: expected [batch, height, width, channels], received {list(x.shape)} "
            "(give them one channel, and let the classifier's first layer reshape them)"
        )
    shape = _logits_shape(model, x)
    if shape is None or (isinstance(shape, tf.TensorShape) and shape.rank is None):
        return
    if not isinstance(shape, tf.TensorShape) or shape.rank != 2:
        received = f"a {type(shape).__name__} of {len(shape)}"
        if isinstance(shape, tf.TensorShape):
            received = f"[{', '.join(map(str, ['batch', *shape[1:]] if shape.rank else []))}]"
        raise UsageError(f"classifier: expected one output, logits [batch, classes], received {received}")
    if shape[1] == 1:
        raise UsageError(
            "classifier: expected logits [batch, classes] of at least 2 classes, received one logit "
            "(let it return 0 and that logit, for the classes 0 and 1)"
        )


def as_images(model: keras.Model, x: Array) -> tf.Tensor:
    """Images as floats in [0,1] of the type of the model's variables.

    Raises:
        UsageError: they are neither uint8, which are divided by 255, nor floats in [0,1], or the model takes others.
    """
    check_model(model)
    floats = as_floats(x, model.variable_dtype)
    check_fits(model, floats)
    return floats


def as_floats(x: Array, dtype: tf.DType) -> tf.Tensor:
    """Images as floats in [0,1] of that type, for whatever model.

    Raises:
        UsageError: they are neither uint8, which are divided by 255, nor floats in [0,1].
    """
    x = x if tf.is_tensor(x) else np.asarray(x)
    check_images(x)
    floats = tf.cast(x, dtype)
    if x.dtype == tf.uint8:
        return floats / 255
    return tf.clip_by_value(floats, 0, 1) if _is_known(x) else floats


def as_labels(y: Array, x: Array | None = None, model: keras.Model | None = None) -> tf.Tensor:
    """Labels as the int32 [batch] that the attacks take.

    Args:
        y: labels.
        x: the images that they are of.
        model: the classifier whose classes they name.

    Raises:
        UsageError: they are not one integer an image, or name no class.
    """
    y = y if tf.is_tensor(y) else np.asarray(y)
    check_labels(y, None if x is None else x.shape[0], None if model is None else classes_of(model, x))
    return tf.cast(y, tf.int32)


def as_targets(target: Array, x: Array, y: tf.Tensor, model: keras.Model) -> tf.Tensor:
    """The classes that images are to be taken for, as the int32 [batch] that the attacks take.

    Args:
        target: one integer an image.
        x: the images.
        y: their labels, int32 [batch].
        model: the classifier whose classes they are.

    Raises:
        UsageError: they are not one integer an image, name no class, or are an image's own label.
    """
    try:
        target = as_labels(target, x, model)
    except UsageError as error:
        raise UsageError(f"target: {str(error).partition(': ')[2]}") from None
    if (same := np.flatnonzero(target == y)).size:
        raise UsageError(
            f"target: expected other classes than the images' own, received {int(target[same[0]])} for image {same[0]}, "
            "whose label it is"
        )
    return target


def as_arrays(images: Array, labels: Array, *, classes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a data set as arrays.

    Raises:
        UsageError: there are none, or the images or labels are invalid; labels are compared with `classes` if that is given.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    check_images(images)
    check_labels(labels, len(images) if images.ndim else None, classes)
    if not images.size:
        raise UsageError("images: expected at least one, received none")
    return images, labels


def check_epsilon(epsilon: float | tf.Tensor, **counts: int) -> None:
    """Raises a UsageError unless ε is one finite number of at least 0, and steps, restarts and so on are above 0.

    Args:
        epsilon: radius of the ball; inside a graph a scalar tensor, whose value is not known.
        counts: numbers of steps, restarts, targets or queries, by name.
    """
    check_sizes(epsilon=epsilon)
    check_counts(**counts)


def check_sizes(**sizes: float | tf.Tensor) -> None:
    """Raises a UsageError unless radii and lengths of steps, by name, are each one finite number of at least 0.

    Inside a graph they may be scalar tensors, whose values are not known.
    """
    for name, size in sizes.items():
        number = size
        # A plain number is looked at without TensorFlow, which an attack may be named before.
        if not isinstance(size, numbers.Real) and tf.is_tensor(size):
            if not _is_known(size):
                continue
            number = size.numpy()
        is_number = isinstance(number, (numbers.Real, np.ndarray)) and np.ndim(number) == 0 and not isinstance(number, bool)
        if not is_number or not 0 <= number < math.inf:
            received = f"an array {list(np.shape(number))}" if np.ndim(number) else number
            raise UsageError(f"{name}: expected one number of at least 0, received {received}")


def check_counts(**counts: int) -> None:
    """Raises a UsageError unless numbers of steps, restarts and so on, by name, are whole and at least 1."""
    for name, count in counts.items():
        if not isinstance(count, numbers.Integral) or count < 1:
            raise UsageError(f"{name}: expected at least 1, received {count}")
