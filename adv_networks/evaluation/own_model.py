"""A user's own classifier: loaded from a file or made by a function, brought to images in [0,1], its declared range checked."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from adv_networks import data, evaluation, runtime
from adv_networks.errors import UserError
from adv_networks.experiments import find_dataset
from adv_networks.lazy import keras
from adv_networks.storage.files import reason

Range = tuple[float, float]
# A file, a run's directory or `module:function`; or a Keras model.
Source = Any

# What classifiers are commonly trained on.
COMMON_RANGES: tuple[Range, ...] = ((0, 1), (-1, 1), (0, 255))
CHECKED_IMAGES = 500
# A range counts as wrong where another one labels so many more points of the images correctly, beyond so many standard errors.
_POINTS, _STANDARD_ERRORS = 5, 4


def load(source: Source, dataset: str) -> keras.Model:
    """The classifier of a `.keras` file, of a run's directory, the one that `module:function` returns, or the given one.

    Modules are looked for in the working directory too. A subclassed `keras.Model` becomes a functional one with its layers.

    Raises:
        UserError: there is none, or it is not a classifier of `dataset`.
    """
    if isinstance(source, keras.Model):
        return _checked(source, dataset, source.name)
    if not re.fullmatch(r"[\w.]+:\w+", str(source)) or Path(source).exists():
        return _checked(evaluation.load_classifier(source), dataset, str(source))
    module_name, _, function = str(source).partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        model = getattr(importlib.import_module(module_name), function)()
    except Exception as error:  # Whatever the user's code raises.
        raise UserError(
            f"{source}: expected a function that returns a Keras model, found {type(error).__name__}: {reason(error)}"
        ) from error
    if not isinstance(model, keras.Model):
        raise UserError(
            f"{source}: expected a function that returns a Keras model, found one that returns {type(model).__name__}"
        )
    return runtime.prepare(_checked(model, dataset, str(source)))


def _checked(model: keras.Model, dataset: str, where: str) -> keras.Model:
    """The model if it is a classifier of `dataset`; a subclassed one, which says nothing of its shapes, as a functional one."""
    if model.built and not hasattr(model, "inputs"):
        image = keras.Input(find_dataset(dataset).image_shape)
        try:
            model = keras.Model(image, model(image), name=model.name)
        except Exception as error:  # Whatever the user's code raises.
            raise UserError(
                f"{where}: expected a classifier of {dataset} whose call can be traced, found {type(error).__name__}: "
                f"{reason(error)}"
            ) from error
    evaluation.check_classifier(model, dataset, where)
    return model


def with_unit_range(model: keras.Model, input_range: Range) -> keras.Model:
    """The same classifier for images in [0,1]; `input_range` is what its own inputs for black and white are."""
    low, high = input_range
    if (low, high) == (0, 1):
        return model
    return keras.Sequential([keras.Input(model.input_shape[1:]), keras.layers.Rescaling(high - low, low), model])


def check_range(model: keras.Model, input_range: Range, examples: data.Images) -> None:
    """Raises a UserError where the classifier was evidently trained on another range of inputs than the declared one.

    Evidently: on one of `COMMON_RANGES` it labels more of the examples correctly, by 5 points and 4 standard errors of the
    difference.

    Args:
        model: the classifier as it is, for inputs in its own range.
        input_range: the declared range.
        examples: images uint8 and labels, not of the test set.
    """
    declared = _is_correct(model, input_range, examples)
    on_others = {other: _is_correct(model, other, examples) for other in COMMON_RANGES}
    best = max(on_others, key=lambda other: int(on_others[other].sum()))
    correct = on_others[best]
    gained, differing = int(correct.sum()) - int(declared.sum()), int((correct != declared).sum())
    if 100 * gained > _POINTS * len(declared) and gained > _STANDARD_ERRORS * differing**0.5:
        raise UserError(
            f"input_range: expected the range that the classifier was trained on, received {_written(input_range)}, where "
            f"it labels {declared.mean():.0%} of {len(declared)} training images correctly ({correct.mean():.0%} with "
            f"{_written(best)})"
        )


def _written(input_range: Range) -> str:
    return ",".join(f"{bound:g}" for bound in input_range)


def _is_correct(model: keras.Model, input_range: Range, examples: data.Images) -> np.ndarray:
    low, high = input_range
    predicted = []
    for start in range(0, len(examples.images), evaluation.BATCH_SIZE):
        x = examples.images[start : start + evaluation.BATCH_SIZE] / np.float32(255)
        logits = np.asarray(model(x * (high - low) + low, training=False))
        if not np.isfinite(logits).all():
            raise UserError(f"classifier: expected finite logits of inputs in {_written(input_range)}, found others")
        predicted.append(logits.argmax(1))
    return np.concatenate(predicted) == examples.labels


def title(source: Source) -> str:
    """What to call it."""
    return source.name if isinstance(source, keras.Model) else str(source)


def run_name(source: Source, input_range: Range, model: keras.Model) -> str:
    """What the runs against this classifier have in their names: its own name, its weights, its range of inputs."""
    name = title(source)
    name = re.sub(r"[^A-Za-z0-9_.]+", "_", Path(name).stem if Path(name).exists() else name)
    return f"{name}-{evaluation.weights_hash(model)[:8]}-inputs={_written(input_range).replace(',', '_')}"
