"""Your own classifier and generators in an experiment: from `.keras` files, or returned by a `module:function`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adv_networks.errors import UserError
from adv_networks.experiments import OWN_BUILDERS, Experiment, find_dataset, is_own
from adv_networks.lazy import keras, np
from adv_networks.networks.adaptation import (
    as_classifier,
    check_trainable,
    computed_dtype,
    mapped_by_name,
    of_noise,
    with_unit_range,
)
from adv_networks.networks.files import class_names_of, imported, load_model, made_by
from adv_networks.storage.files import reason

# The tolerance of the largest perturbation, for half precision.
_BEYOND_ONE = 1e-3


def classifier_as_it_is(name: str, spec: Experiment) -> keras.Model:
    """The classifier with this name for an experiment's images, with its own pixel range and its own weights.

    Raises:
        UserError: it does not exist, is not a classifier of these images, or returns probabilities.

    Examples:
        >>> import tempfile
        >>> from adv_networks import experiments, networks
        >>> spec = experiments.experiment("digits", "standard")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     networks.mlp((8, 8, 1), 10, 2).save(f"{folder}/own.keras")
        ...     networks.classifier_as_it_is(f"{folder}/own.keras", spec).count_params()
        148
    """
    dataset = find_dataset(spec.dataset)
    model = as_classifier(_found(name), dataset, name)
    check_trainable(model, name)
    return mapped_by_name(model, class_names_of(Path(name)), dataset, name) if _is_file(name) else model


def _classifier(name: str, spec: Experiment) -> keras.Model:
    """The classifier, adapted to images in [0,1]."""
    model = classifier_as_it_is(name, spec)
    if spec.classifier_weights == "fresh":
        try:
            model = keras.models.clone_model(model)
        except Exception as error:  # The user's code may raise anything.
            raise UserError(
                f"{name}: expected a model that Keras can rebuild with fresh weights, found {type(error).__name__}: "
                f"{reason(error)} (give a module:function that returns a fresh one, with --classifier_weights=kept)"
            ) from error
    return with_unit_range(model, spec.input_range)


def as_generator(model: keras.Model, shape: Sequence[int | None], norm: str, where: str) -> keras.Model:
    """A generator of perturbations of images as a functional model.

    Args:
        model: a built Keras model from images in [0,1] to perturbations of the same shape.
        shape: the shape of the images, [height, width, channels].
        norm: the norm of the perturbations; in linf they lie in [-1,1].
        where: the source of the model, for messages.

    Raises:
        UserError: it fails for such images, or its perturbations are no floats, or of another shape or size.
    """
    if not isinstance(model, keras.Model):
        raise UserError(f"{where}: expected a Keras model, found a {type(model).__name__}")
    image = keras.Input(shape, name="image")
    try:
        made = model(image)
    except Exception as error:  # The user's code may raise anything.
        raise UserError(
            f"{where}: expected a generator of images {(None, *shape)}, found {type(error).__name__}: {reason(error)}"
        ) from error
    if tuple(getattr(made, "shape", ())) != (None, *shape):
        raise UserError(
            f"{where}: expected perturbations {(None, *shape)}, found {getattr(made, 'shape', type(made).__name__)}"
        )
    generator = keras.Model(image, made, name=model.name)
    if computed_dtype(generator, where) != (dtype := keras.backend.standardize_dtype(image.dtype)):
        generator = keras.Model(image, keras.ops.cast(made, dtype), name=model.name)
    largest = float(np.abs(of_noise(generator, where=where)).max())
    if norm == "linf" and not largest <= 1 + _BEYOND_ONE:
        raise UserError(f"{where}: expected perturbations in [-1,1] (a last layer of tanh), found up to {largest:.3g}")
    return generator


def _generator(name: str, spec: Experiment) -> keras.Model:
    """The generator, from images in [0,1] to perturbations of the same shape in [-1,1]."""
    return as_generator(_found(name), find_dataset(spec.dataset).image_shape, spec.norm, name)


OWN_BUILDERS.update(classifier=_classifier, generator=_generator)


def let_files_load(spec: Experiment) -> None:
    """Registers with Keras the layers of the modules that an experiment names, so that the files of its runs load.

    Examples:
        >>> from adv_networks import experiments, networks
        >>> spec = experiments.experiment("digits", "standard", classifier="my_networks:small")
        >>> networks.let_files_load(spec)  # There is no my_networks.py in the working directory.
        Traceback (most recent call last):
        ...
        adv_networks.errors.UserError: my_networks:small: expected a module, found ModuleNotFoundError: ...
    """
    for name in filter(is_own, (spec.classifier, *spec.generators)):
        if not _is_file(name):
            try:
                imported(name)
            except Exception as error:  # The user's code may raise anything.
                raise UserError(f"{name}: expected a module, found {type(error).__name__}: {reason(error)}") from error


def _is_file(name: str) -> bool:
    return ":" not in name or Path(name).exists()


def _found(name: str) -> keras.Model:
    return load_model(name) if _is_file(name) else made_by(name)
