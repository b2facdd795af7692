"""Networks from files, and whether they are what they should be."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adv_networks import runtime
from adv_networks.errors import UserError
from adv_networks.experiments import find_dataset
from adv_networks.lazy import keras
from adv_networks.storage import run_directories
from adv_networks.storage.files import reason
from adv_networks.storage.hashes import weights_hash


def load_model(file: str | os.PathLike) -> keras.Model:
    """Loads a `.keras` file, or raises a UserError where it is missing or damaged, or is not the one that its run saved."""
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file}: expected a .keras file, found none")
    of_run = run_directories.is_network_of_run(file)
    if of_run:
        run_directories.checked_file(file.parent, file.name)
    try:
        model = keras.models.load_model(file, compile=False)
    except (ValueError, OSError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{file}: expected a Keras model, found: {reason(error)}") from None
    if of_run:
        run_directories.check_weights(file.parent, file.name, weights_hash(model))
    return runtime.prepare(model)


def load_classifier(path: str | os.PathLike, dataset: str | None = None) -> keras.Model:
    """Loads the classifier of a run directory, or of a `.keras` file.

    Args:
        path: a run's directory (its `d.keras` is read) or a file.
        dataset: where given, the classifier must be one of that data set: images of its shape to logits of its classes.

    Raises:
        UserError: no such file, not a Keras model, or not a classifier of `dataset`.
    """
    path = Path(path)
    file = path / "d.keras" if path.is_dir() else path
    model = load_model(file)
    if dataset is not None:
        check_classifier(model, dataset, str(file))
    return model


def check_classifier(model: keras.Model, dataset: str, where: str) -> None:
    """Raises a UserError where the model, found at `where`, does not take images of `dataset` to logits of its classes."""
    if not model.built:
        raise UserError(f"{where}: expected a classifier of {dataset}, found a model that was never built")
    expected = find_dataset(dataset)
    wanted = f"{(None, *expected.image_shape)} to {(None, expected.classes)}"
    found = f"{_shapes(model.inputs)} to {_shapes(model.outputs)}"
    if found != wanted:
        raise UserError(f"{where}: expected a classifier of {dataset}, {wanted}, found {found}")


def _shapes(tensors: Sequence[Any]) -> str:
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors)


def is_generator(model: keras.Model) -> bool:
    """Whether the model returns images rather than logits."""
    return len(model.outputs[0].shape) == 4
