"""Loads classifiers from files and checks them."""

from __future__ import annotations

import os
from pathlib import Path

from adv_networks.errors import UserError
from adv_networks.experiments import find_dataset
from adv_networks.lazy import keras
from adv_networks.networks.adaptation import as_classifier
from adv_networks.networks.files import class_names_of, load_model, save_model

__all__ = ["check_classifier", "class_names_of", "is_generator", "load_classifier", "load_model", "save_model"]


def load_classifier(path: str | os.PathLike, dataset: str | None = None) -> keras.Model:
    """Loads the classifier of a run directory, or of a `.keras` file.

    Args:
        path: a run's directory (its `d.keras` is read) or a file.
        dataset: name of a data set. If given, the classifier must take images of its shape to logits of its classes.

    Raises:
        UserError: there is no such file, it is not a Keras model, or it is not a classifier of `dataset`.

    Examples:
        >>> import tempfile, keras
        >>> from adv_networks import evaluation
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> with tempfile.TemporaryDirectory() as place:
        ...     model.save(f"{place}/mine.keras")
        ...     evaluation.load_classifier(f"{place}/mine.keras", "digits").output_shape
        (None, 10)
    """
    path = Path(path)
    file = path / "d.keras" if path.is_dir() else path
    model = load_model(file)
    if dataset is not None:
        check_classifier(model, dataset, str(file))
    return model


def check_classifier(model: keras.Model, dataset: str, where: str) -> None:
    """Raises a UserError if the model, found at `where`, does not take images of `dataset` to logits of its classes.

    Examples:
        >>> import keras
        >>> from adv_networks import evaluation
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> evaluation.check_classifier(model, "digits", "mine.keras")
        >>> evaluation.check_classifier(model, "mnist", "mine.keras")
        Traceback (most recent call last):
            ...
        adv_networks.errors.UserError: mine.keras: expected a classifier of mnist, ...
    """
    if as_classifier(model, find_dataset(dataset), where) is not model:
        raise UserError(f"{where}: expected a classifier of {dataset} as our runs save it, found another kind of model")


def is_generator(model: keras.Model) -> bool:
    """Whether the model returns images rather than logits.

    Examples:
        >>> import keras
        >>> from adv_networks import evaluation
        >>> evaluation.is_generator(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 3, padding="same")]))
        True
    """
    shape = getattr(model, "output_shape", None)
    return isinstance(shape, tuple) and len(shape) == 4
