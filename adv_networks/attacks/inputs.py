"""Input checks for every public function of `attacks` and `evaluation`: models, images and labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from adv_networks.errors import UsageError
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import described, raw_outputs, returns_one_tensor
from adv_networks.storage.files import reason

if TYPE_CHECKING:
    Array: TypeAlias = np.ndarray | tf.Tensor
    Seed: TypeAlias = int | tuple[int, int] | tf.Tensor

# Tolerance for pixels that rounding has moved out of [0,1].
ROUNDING = 1e-6


def as_array(name: str, values: Any) -> Array:
    """Images or labels as an array or tensor.

    Raises:
        UsageError: a list of parts of several sizes, an array with masked values, or something that holds no values.
    """
    received = type(values).__name__
    if tf.is_tensor(values) and not isinstance(values, (tf.SparseTensor, tf.RaggedTensor)):
        return values
    if np.ma.is_masked(values):
        received = "masked values"
    elif not tf.is_tensor(values):
        try:
            return np.asarray(values)
        except (TypeError, ValueError) as error:
            received += f" ({reason(error)})"
    raise UsageError(f"{name}: expected an array, received {received}")


def check_images(x: Array) -> None:
    """Raises a UsageError if images are neither uint8 nor floats in [0,1]; inside a graph only the dtype is checked."""
    kind = _kind_of(x)
    if kind == tf.uint8 or (kind.is_floating and (not _is_known(x) or not math.prod(x.shape))):
        return
    received = _named(x)
    if (kind.is_floating or kind.is_integer) and _is_known(x) and math.prod(x.shape):
        # Reduce with the library that holds the images, to avoid a copy.
        low, high = (float(reduce(x)) for reduce in ((tf.reduce_min, tf.reduce_max) if tf.is_tensor(x) else (np.min, np.max)))
        if kind.is_floating and low >= -ROUNDING and high <= 1 + ROUNDING:
            return
        received += f" from {low:.9g} to {high:.9g}"
    raise UsageError(f"images: expected uint8, or floats in [0,1], received {received}")


def check_labels(y: Array, images: int | None, classes: int | None) -> None:
    """Raises a UsageError unless labels are one integer per image that names a class; inside a graph only the dtype is checked.

    Args:
        y: the labels.
        images: the number of images; None if it is not known yet.
        classes: the number of classes; None if unknown.
    """
    shape, kind = y.shape, _kind_of(y)
    if not kind.is_integer or len(shape) != 1 or (images is not None and shape[0] not in (images, None)):
        count = "N" if images is None else images
        raise UsageError(f"labels: expected integers [{count}], received {_named(y)} {list(shape)}")
    if not _is_known(y) or not shape[0]:
        return
    low, high = int(np.min(y)), int(np.max(y))
    if low < 0 or (classes is not None and high >= classes):
        upper = f"to {classes - 1}" if classes is not None else "on"
        raise UsageError(f"labels: expected integers from 0 {upper}, received {low if low < 0 else high}")


def _kind_of(array: Array) -> tf.DType:
    """The dtype of an array's elements; tf.string for anything that TensorFlow has no dtype for."""
    try:
        return tf.as_dtype(array.dtype)
    except TypeError:
        return tf.string


def _named(array: Array) -> str:
    """The name of the dtype of an array's elements in messages."""
    return getattr(array.dtype, "name", str(array.dtype))


def _is_known(array: Array) -> bool:
    """Whether the array has values, unlike a symbolic tensor of a graph."""
    return not tf.is_tensor(array) or hasattr(array, "numpy")


def check_model(model: keras.Model) -> None:
    """Raises a UsageError for anything but a Keras model."""
    if not isinstance(model, keras.Model):
        raise UsageError(f"classifier: expected a Keras model, received {type(model).__name__}")


def classes_of(model: keras.Model, x: Array | None = None) -> int | None:
    """A classifier's number of classes; None if neither the model nor its graph for images like x (if given) shows it."""
    shape = _logits_shape(model, x)
    classes = shape[-1] if isinstance(shape, tf.TensorShape) and shape.rank == 2 else None
    return None if classes == 1 else classes  # `check_fits` rejects a single logit.


def _logits_shape(model: keras.Model, x: Array | None) -> Any:
    """The shape of a classifier's logits, from the model or from its graph for images like x; None if neither shows it.

    A list or dictionary of shapes means several outputs. If there are two and the second is one number per image, then it is
    the excess of detectors (`Defended.with_excess`), and the first output is the logits.
    """
    check_model(model)
    if returns_one_tensor(model):
        return tf.TensorShape(model.output_shape)
    shapes = _traced_shapes(model, x) if x is not None and _is_known(x) else None
    if isinstance(shapes, list) and len(shapes) == 2 and isinstance(shapes[1], tf.TensorShape) and shapes[1].rank == 1:
        return shapes[0]
    return shapes


def _traced_shapes(model: keras.Model, x: Array) -> Any:
    """The output shapes of a model that does not declare them, such as a subclass of the user's, from its prediction graph."""
    shape = np.shape(x)[1:]
    images = tf.TensorSpec([None, *shape], model.variable_dtype)
    try:
        outputs = described(raw_outputs, model, False, images)
    except Exception as error:  # The user's code may raise anything.
        received = ", ".join(map(str, shape))
        raise UsageError(
            f"classifier: expected a built model that takes images [batch, {received}] and whose call can be traced, received "
            f"{type(error).__name__}: {reason(error)}"
        ) from error
    return tf.nest.map_structure(lambda output: output.shape, outputs)


def check_shape(taken: object, x: Array) -> None:
    """Raises a UsageError if images do not have a model's declared input or output shape [batch, …]; None matches any size."""
    if isinstance(taken, tuple):
        fits = len(x.shape) == len(taken) and all(
            wanted is None or size in (wanted, None) for wanted, size in zip(taken[1:], x.shape[1:], strict=True)
        )
        if not fits:
            expected, received = ("[batch, " + ", ".join(map(str, shape[1:])) + "]" for shape in (taken, x.shape))
            raise UsageError(f"images: expected {expected}, received {received if len(x.shape) > 1 else list(x.shape)}")


def check_fits(model: keras.Model, x: Array) -> None:
    """Raises a UsageError if the model does not map images of this shape to logits of at least two classes."""
    check_shape(getattr(model, "input_shape", None), x)
    if len(x.shape) != 4:
        raise UsageError(
            f"images: expected [batch, height, width, channels], received {list(x.shape)} "
            "(give them one channel, and let the classifier's first layer reshape them)"
        )
    _check_floats(model)
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


def _check_floats(model: keras.Model) -> None:
    """Raises a UsageError if a functional model takes several inputs, or takes or returns other numbers than floats."""
    taken, returned = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    if len(taken) > 1:
        raise UsageError(f"classifier: expected one input, images, received a model of {len(taken)}")
    for kind in (keras.backend.standardize_dtype(tensor.dtype) for tensor in (*taken, *returned)):
        if "float" not in kind:
            raise UsageError(f"classifier: expected floats in and out, received {kind}, through which no gradient passes")


def as_images(model: keras.Model, x: Array) -> tf.Tensor:
    """Images as floats in [0,1], with the dtype of the model's variables; uint8 is divided by 255.

    Raises:
        UsageError: images that are neither uint8 nor floats in [0,1], or whose shape the model does not take.
    """
    check_model(model)
    floats = as_floats(x, model.variable_dtype)
    check_fits(model, floats)
    return floats


def as_floats(x: Array, dtype: tf.DType) -> tf.Tensor:
    """Images as floats in [0,1] of this dtype, for any model; uint8 is divided by 255.

    Raises:
        UsageError: images that are neither uint8 nor floats in [0,1].
    """
    x = as_array("images", x)
    check_images(x)
    floats = tf.cast(x, dtype)
    if x.dtype == tf.uint8:
        return floats / 255
    return tf.clip_by_value(floats, 0, 1) if _is_known(x) else floats


def as_labels(y: Array, x: Array | None = None, model: keras.Model | None = None) -> tf.Tensor:
    """Labels as the int32 tensor [batch] that the attacks take.

    Args:
        y: labels.
        x: the images.
        model: the classifier.

    Raises:
        UsageError: labels that are not one integer per image, or that name no class of the model.
    """
    y = as_array("labels", y)
    check_labels(y, None if x is None else x.shape[0], None if model is None else classes_of(model, x))
    return tf.cast(y, tf.int32)


def as_targets(target: Array, x: Array, y: tf.Tensor, model: keras.Model) -> tf.Tensor:
    """Target classes as the int32 tensor [batch] that the attacks take.

    Args:
        target: one integer per image.
        x: the images.
        y: their labels, int32 [batch].
        model: the classifier.

    Raises:
        UsageError: targets that are not one integer per image, that name no class, or that equal the image's label.
    """
    try:
        target = as_labels(target, x, model)
    except UsageError as error:
        raise UsageError(f"target: {str(error).partition(': ')[2]}") from None
    if (same := np.flatnonzero(target == y)).size:
        raise UsageError(
            f"target: expected a class other than the image's label, received {int(target[same[0]])} for image {same[0]}, "
            "which is its label"
        )
    return target


def as_arrays(images: Array, labels: Array, *, classes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a data set as NumPy arrays.

    Raises:
        UsageError: no images, invalid images, or labels that do not fit them or exceed the number of classes, if it is given.
    """
    images, labels = np.asarray(as_array("images", images)), np.asarray(as_array("labels", labels))
    check_images(images)
    check_labels(labels, len(images) if images.ndim else None, classes)
    if not images.size:
        raise UsageError("images: expected at least one, received none")
    return images, labels
