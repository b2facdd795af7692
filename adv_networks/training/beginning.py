"""What a run starts from besides its settings: your own classifier, another run's weights, and the weights of classes."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adv_networks import data, networks
from adv_networks.defences import TrainingState
from adv_networks.errors import UserError
from adv_networks.evaluation import load_model, own_model, random_classifiers, save_model
from adv_networks.experiments import METHODS, OWN_BUILDERS, Experiment, find_classifier, find_dataset, is_own
from adv_networks.lazy import keras, np
from adv_networks.networks.adaptation import outputs_of
from adv_networks.storage.files import reason
from adv_networks.storage.hashes import DIGITS, file_hash
from adv_networks.storage.run_directories import describe


def own_classifier(experiment: Experiment) -> keras.Model | None:
    """Your own classifier, made once for the checks before a run starts; None if the run uses one of our networks.

    Raises:
        UserError: there is no such classifier, or it does not fit the images.
    """
    if not find_classifier(experiment.classifier).is_own:
        return None
    return networks.classifier_as_it_is(experiment.classifier, experiment)


def made_of_networks(experiment: Experiment, workdir: Path, own: keras.Model | None = None) -> dict[str, Any]:
    """The hashes, in a run's description, of the networks that it starts from: of their files, or of their layers.

    Args:
        experiment: the experiment of the run.
        workdir: the directory of the run.
        own: what `own_classifier` returned.

    Raises:
        UserError: there is no such finished run.
    """
    made_of: dict[str, Any] = {}
    if own is not None:
        path = Path(experiment.classifier)
        made_of |= {"classifier_file": file_hash(path)} if path.is_file() else {"classifier_layers": _layers_hash(own)}
    if experiment.from_run:
        directory = _directory(experiment, workdir)
        made_of["initial_weights"] = ",".join(file_hash(directory / name) for name in _files(experiment, directory))
    return made_of


def check_own_networks(experiment: Experiment, training: data.Images, own: keras.Model | None) -> None:
    """Checks your own classifier and generators before a run begins with them.

    Args:
        experiment: the experiment of the run.
        training: its training images.
        own: what `own_classifier` returned.

    Raises:
        UserError: the classifier keeps its weights but was evidently trained on another pixel range, or a network cannot be
            saved as a file that gives the same network again.
    """
    if own is not None:
        _check_survives_saving(own, experiment.classifier, experiment.input_range)
        if experiment.classifier_weights == "kept" and not experiment.from_run:  # Its own weights are replaced.
            examples = training.first(own_model.CHECKED_IMAGES)
            own_model.check_range(own, experiment.input_range, examples, experiment.dataset)
    for name in filter(is_own, experiment.generators):
        _check_survives_saving(OWN_BUILDERS["generator"](name, experiment), name)


def _check_survives_saving(own: keras.Model, name: str, input_range: Sequence[float] = (0, 1)) -> None:
    """Raises a UserError unless the network can be saved and loaded, which the end of the run would find out too late.

    A full disk is no fault of the network: an OSError passes.
    """
    expected = f"{name}: expected a model that Keras can save and load"
    with tempfile.TemporaryDirectory() as place:
        try:
            save_model(own, Path(place, "d.keras"))
        except OSError:
            raise
        except Exception as error:  # The user's code may raise anything.
            raise UserError(f"{expected}, found {type(error).__name__}: {reason(error)}") from error
        try:
            again = load_model(Path(place, "d.keras"))
        except UserError as error:
            found = re.sub(r" [(]give module:function.*", "", str(error).partition("found: ")[2])  # It was given.
            hint = " (write layers with get_config in its module, instead of a Lambda)" if "Lambda" in found else ""
            raise UserError(f"{expected}, found {found}{hint}") from None
    low, high = input_range
    noise = np.random.default_rng(0).random((4, *own.input_shape[1:]), np.float32)
    images = np.float32(low) + np.float32(high - low) * noise
    first, second, loaded = (outputs_of(model, images, name) for model in (own, own, again))
    is_random, differs = (random_classifiers.difference(first, other)[1] for other in (second, loaded))
    if differs and not is_random:
        raise UserError(f"{expected}, found one with other outputs once it is loaded (do its layers have a full get_config?)")


def take_initial_weights(experiment: Experiment, workdir: Path, state: TrainingState) -> None:
    """Gives the networks of a new run the weights of the run that `from_run` names.

    Raises:
        UserError: that run has other networks.
    """
    if not experiment.from_run:
        return
    directory = _directory(experiment, workdir)
    networks.let_files_load(experiment)
    for name in _files(experiment, directory):
        model, given = state.networks()[name], load_model(directory / name)
        shapes = [[tuple(weight.shape) for weight in own.get_weights()] for own in (model, given)]
        if shapes[0] != shapes[1]:
            raise UserError(f"{directory / name}: expected the weights of a network like {experiment.name}'s, found another's")
        model.set_weights(given.get_weights())


def balanced_weights(labels: np.ndarray, classes: int) -> tuple[float, ...]:
    """Weights by class that make all classes count the same; their mean over the images is 1."""
    counts = np.bincount(labels, minlength=classes)
    return tuple(len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)))


def weigh_classes(experiment: Experiment, state: TrainingState, training: data.Images) -> None:
    """Sets the weights of classes in the loss, if the experiment asks for it."""
    if experiment.class_weights == "balanced":
        state.weigh_classes(balanced_weights(training.labels, find_dataset(experiment.dataset).classes))


def _directory(experiment: Experiment, workdir: Path) -> Path:
    """The directory of the finished run that an experiment starts from."""
    places = Path(experiment.from_run), workdir.parent / experiment.from_run
    for place in places:
        if "finished" in (describe(place) or {}):
            return place
    raise UserError(f"from: expected a finished run, found none in {places[0]} or {places[1]}")


def _files(experiment: Experiment, directory: Path) -> list[str]:
    """The networks that both runs have, by the names of their files."""
    names = [name for name in METHODS[experiment.method].files(experiment) if name.endswith(".keras")]
    found = [name for name in names if (directory / name).is_file()]
    if not found:
        raise UserError(f"{directory}: expected {' or '.join(names)}, found none of them")
    return found


def _layers_hash(model: keras.Model) -> str:
    """A hash of the layers' types and shapes, not of their weights: a function may draw other weights each time."""
    described = [f"{type(layer).__name__}{[tuple(weight.shape) for weight in layer.weights]}" for layer in model.layers]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:DIGITS]
