"""Loads networks from files and functions, and saves them. An error says why a network cannot be loaded and what to do."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from adv_networks import runtime
from adv_networks.errors import UserError, printable
from adv_networks.lazy import keras
from adv_networks.storage import run_directories
from adv_networks.storage.files import reason
from adv_networks.storage.hashes import weights_hash
from adv_networks.storage.names import shortened

# Other kinds of files that users give as models, and what to give instead.
_NO_KERAS_MODELS = {
    ".tflite": "a TFLite model, which has no gradients (give the Keras model that it was made of)",
    ".onnx": "an ONNX model (give the Keras model, or a module:function that returns one)",
    ".pt": "a PyTorch file (give a module:function that returns a Keras model)",
    ".pth": "a PyTorch file (give a module:function that returns a Keras model)",
    ".pb": "a part of a SavedModel (wrap its directory in keras.layers.TFSMLayer in a module:function)",
    ".json": "a configuration without weights (build the model and load its weights in a module:function)",
}
_METADATA, _CONFIG, _WEIGHTS, _CLASS_NAMES = "metadata.json", "config.json", "model.weights.h5", "class_names"
_LARGEST_JSON = 2**24  # Bytes; the configuration of a thousand layers has about one million.
# Settings of layers that need at least one weight per unit of their value.
_SIZES = frozenset({"units", "filters", "input_dim", "output_dim", "num_heads", "key_dim", "groups"})


def load_model(file: str | os.PathLike) -> keras.Model:
    """Loads a `.keras` file (or Keras' older `.h5`).

    Raises:
        UserError: the file is missing, damaged or of another kind, or is not the one that its run saved.

    Examples:
        >>> import tempfile, keras
        >>> from adv_networks import evaluation
        >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> with tempfile.TemporaryDirectory() as place:
        ...     model.save(f"{place}/mine.keras")
        ...     evaluation.load_model(f"{place}/mine.keras").output_shape
        (None, 2)
    """
    file = Path(file)
    if (file / "saved_model.pb").is_file() or file.suffix in _NO_KERAS_MODELS:
        found = _NO_KERAS_MODELS.get(file.suffix, "a SavedModel (wrap it in keras.layers.TFSMLayer in a module:function)")
        raise UserError(f"{file}: expected a .keras file, found {found}")
    if not file.is_file():
        raise UserError(f"{file}: expected a .keras file, found none (a run's directory and module:function are accepted too)")
    of_run = run_directories.is_network_of_run(file)
    if of_run:
        run_directories.checked_file(file.parent, file.name)
    try:
        _check_sizes(file)
        model = keras.models.load_model(file, compile=False)
    except Exception as error:  # Keras and HDF5 may raise anything for a damaged or malicious file.
        raise UserError(f"{file}: expected a Keras model, found: {_why_not(file, error)}") from None
    if of_run:
        run_directories.check_weights(file.parent, file.name, weights_hash(model))
    return runtime.prepare(model)


def save_model(model: keras.Model, file: Path, class_names: Sequence[str] = ()) -> None:
    """Saves a `.keras` file that plain Keras can load, with the class names in its metadata.

    Examples:
        >>> import pathlib, tempfile, keras
        >>> from adv_networks import evaluation
        >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> with tempfile.TemporaryDirectory() as place:
        ...     evaluation.save_model(model, pathlib.Path(place, "mine.keras"), class_names=("cat", "dog"))
        ...     keras.models.load_model(f"{place}/mine.keras").output_shape
        (None, 2)
    """
    model.save(file)
    if class_names:
        with zipfile.ZipFile(file) as saved:
            members = {name: saved.read(name) for name in saved.namelist()}
        known = json.loads(members[_METADATA])
        members[_METADATA] = json.dumps({**known, _CLASS_NAMES: list(class_names)}).encode()
        with zipfile.ZipFile(file, "w") as saved:
            for name, content in members.items():
                saved.writestr(name, content)


def class_names_of(file: Path) -> tuple[str, ...]:
    """The class names of a classifier, from its `.keras` file; empty if the file has none.

    Examples:
        >>> import pathlib, tempfile, keras
        >>> from adv_networks import evaluation
        >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> with tempfile.TemporaryDirectory() as place:
        ...     evaluation.save_model(model, pathlib.Path(place, "mine.keras"), class_names=("cat", "dog"))
        ...     evaluation.class_names_of(pathlib.Path(place, "mine.keras"))
        ('cat', 'dog')
    """
    try:
        with zipfile.ZipFile(file) as saved:
            names = _said(saved, _METADATA).get(_CLASS_NAMES, [])
    except (OSError, KeyError, ValueError, AttributeError, RecursionError, zipfile.BadZipFile):
        return ()
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def _check_sizes(file: Path) -> None:
    """Raises a ValueError if a layer is larger than all weights in the file, before Keras allocates memory for it.

    A layer has at least one number per unit.
    """
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as saved:
        weights = saved.getinfo(_WEIGHTS).file_size
        parts = [_said(saved, _CONFIG)]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            for name in _SIZES.intersection(part):
                if isinstance(part[name], int) and part[name] > weights:
                    raise ValueError(f"a layer with {name} = {shortened(str(part[name]))}, and weights of {weights} bytes")
            parts += part.values()
        elif isinstance(part, list):
            parts += part


def _said(saved: zipfile.ZipFile, name: str) -> Any:
    """The contents of a JSON file inside a `.keras` file; raises a ValueError if it is larger than any that Keras writes."""
    if (size := saved.getinfo(name).file_size) > _LARGEST_JSON:
        raise ValueError(f"{name} of {size} bytes")
    return json.loads(saved.read(name))


def _why_not(file: Path, error: Exception) -> str:
    """Why a file could not be loaded, and what to do about it."""
    if "No model config found" in str(error):
        return "weights alone (build the model and load them into it in a module:function)"
    if "Lambda" in str(error):
        return "a Lambda layer, which is code (give module:function, which returns the model)"
    if file.suffix == ".keras" and not zipfile.is_zipfile(file):
        return "another kind of file under that name, or a part of one"
    named = re.search(r"Unknown layer: '?(\w+)", str(error))  # For an .h5 file.
    if unknown := [named[1]] if named else _unknown_layers(file):
        return (
            f"layers that Keras does not have: {', '.join(unknown)} (give module:function, which defines them and returns it)"
        )
    return reason(error)


def _unknown_layers(file: Path) -> list[str]:
    """The classes in a `.keras` file's configuration that neither belong to Keras nor are registered here."""
    found: dict[str, None] = {}

    def visit(part: Any) -> None:
        if isinstance(part, dict):
            module, name = part.get("module", ""), part.get("class_name")
            if isinstance(name, str) and not str(module or "keras").startswith("keras") and _is_unknown(part):
                found[printable(name)[:60]] = None
            if isinstance(name, str) and module is None and part.get("registered_name") and _is_unknown(part):
                found[printable(name)[:60]] = None
            for own in part.values():
                visit(own)
        elif isinstance(part, list):
            for own in part:
                visit(own)

    try:
        with zipfile.ZipFile(file) as saved:
            visit(_said(saved, _CONFIG))
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile):
        return []
    return list(found)


def _is_unknown(part: dict[str, Any]) -> bool:
    return keras.saving.get_registered_object(str(part.get("registered_name"))) is None


def made_by(source: str) -> keras.Model:
    """The model that a function returns, given as `module:function`. The working directory is searched for the module too.

    Raises:
        UserError: there is no such function, it fails, or it does not return a Keras model.
    """
    try:
        model = getattr(imported(source), source.partition(":")[2])()
    except Exception as error:  # The user's code may raise anything.
        raise UserError(
            f"{source}: expected a function that returns a Keras model, found {type(error).__name__}: {reason(error)}"
        ) from error
    if not isinstance(model, keras.Model):
        raise UserError(
            f"{source}: expected a function that returns a Keras model, found one that returns {type(model).__name__}"
        )
    return model


def imported(source: str) -> ModuleType:
    """Imports the module of `module:function` and registers its layers, so that files with them load. Raises what it raises."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    module = importlib.import_module(source.partition(":")[0])
    layers = {name: kind for name, kind in vars(module).items() if isinstance(kind, type) and issubclass(kind, keras.Layer)}
    keras.saving.get_custom_objects().update(layers)
    return module
