"""The identity of a run: whether a directory holds the requested run, and the run's description."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adv_networks import data, runtime
from adv_networks.errors import UserError
from adv_networks.experiments import METHODS, SETTINGS, Experiment
from adv_networks.runtime import processor
from adv_networks.storage.hashes import images_hash
from adv_networks.storage.provenance import commit, versions
from adv_networks.storage.run_directories import describe, listed_steps

# Identities of training images by their origin: a table needs one for each run, and hashing SVHN's extra images takes seconds.
_identities: dict[tuple, dict[str, Any]] = {}


def is_finished(experiment: Experiment, workdir: Path) -> bool:
    """Whether the directory holds this experiment, finished.

    A run with fewer steps that is otherwise the same does not count as finished, because it can continue to the end of this
    experiment.

    Raises:
        UserError: the directory holds a run with other settings; the first that differs is named.

    Examples:
        >>> import pathlib, tempfile
        >>> from adv_networks import experiments, training
        >>> spec = experiments.experiment("digits", "standard", scale="tiny")
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     training.is_finished(spec, pathlib.Path(runs, spec.name))
        False
    """
    description, experiment = describe(workdir), experiment.trained()
    if description is None:
        return False
    differing = settings_that_differ(experiment, description)
    obstacle = ""
    if [*differing] == ["steps"] and is_shorter(experiment, description):
        obstacle = difference_so_far(experiment, description, last_step(workdir))
        if not obstacle:
            return False
    for key, (expected, found) in differing.items():
        why = f", from which it cannot continue, because {obstacle}" if obstacle else ""
        raise UserError(
            f"{workdir}: expected a run with {key} = {expected}, found {found}{why} (--workdir names another directory)"
        )
    # If a finished run has lost a file, training makes it again from the last checkpoint.
    files = METHODS[experiment.method].files(experiment)
    return "finished" in description and all((workdir / name).exists() for name in files)


def settings_that_differ(experiment: Experiment, description: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings in which a described run differs from the experiment: the experiment's and the run's value, by name."""
    expected = json.loads(json.dumps(experiment.settings()))
    # A setting that was added after the run has its default, which is what the code did at the time.
    defaults = {name: field.default for name, field in SETTINGS.items() if name in expected}
    found = json.loads(json.dumps(defaults)) | description["experiment"]
    # The overrides only say which of the settings were asked for; the settings themselves are compared.
    keys = [key for key in expected | found if key != "overrides"]
    return {key: (expected.get(key), found.get(key)) for key in keys if expected.get(key) != found.get(key)}


def is_shorter(experiment: Experiment, description: Mapping[str, Any]) -> bool:
    """Whether a described run has fewer steps than the experiment."""
    steps = description["experiment"].get("steps")
    return isinstance(steps, int) and 0 < steps < experiment.steps


def difference_so_far(experiment: Experiment, description: Mapping[str, Any], done: int) -> str:
    """How the first `done` steps of a described run, which is shorter and otherwise the same, differ from the experiment's.

    Returns:
        The first difference in words; empty if there is none.
    """
    return METHODS[experiment.method].first_difference(shortened(experiment, description), experiment, done)


def shortened(experiment: Experiment, description: Mapping[str, Any]) -> Experiment:
    """The experiment of a described run, which is shorter and otherwise the same."""
    found = description["experiment"]
    overrides = tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in found["overrides"])
    return dataclasses.replace(experiment, steps=found["steps"], overrides=overrides)


def last_step(workdir: Path) -> int:
    """The step of a run's last checkpoint; 0 if it has none."""
    return max(listed_steps(workdir / "checkpoints"), default=0)


def is_reusable(experiment: Experiment, workdir: Path, data_dir: str | os.PathLike | None) -> bool:
    """Whether the directory holds this experiment, finished, and trained on the available images, if there are any.

    Raises:
        UserError: the directory holds a run with other settings, or on other images.
    """
    if not is_finished(experiment, workdir):
        return False
    read = ("dataset", "seed", "train_images", "validation", "extra_images", "extra_replacement")
    # The same images in folders with other names are a different data set with the same name.
    key = (data_dir, data.find_dataset(experiment.dataset).class_names, *(getattr(experiment, name) for name in read))
    if key not in _identities:
        # A finished run can be used even if the images are missing.
        with contextlib.suppress(UserError):
            _identities[key] = of_images(experiment.dataset, data.training_and_validation(experiment, data_dir=data_dir)[0])
    check_begun_with(workdir, _identities.get(key, {}))
    return True


def of_images(dataset: str, training: data.Images) -> dict[str, Any]:
    """The training images in a run's description: their number and hash; for a user's own data set, also classes and split."""
    declared = data.find_dataset(dataset)
    own = {"class_names": list(declared.class_names), "split": declared.split} if declared.split else {}
    return {"training_images": len(training.images), "training_images_hash": images_hash(*training)} | own


def check_begun_with(workdir: Path, made_of: Mapping[str, Any]) -> None:
    """Raises a UserError if the directory has a run that was started from other images or networks."""
    if different := made_otherwise(describe(workdir) or {}, made_of):
        name, expected, received = different
        raise UserError(
            f"{workdir}: expected {name} = {expected}, as when its run was started, received {received} "
            "(use the same again, or another directory: --workdir or --runs)"
        )


def made_otherwise(description: Mapping[str, Any], made_of: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first difference between a described run and `made_of`: its name, the run's value, and the other.

    An entry that the description lacks, as those of older runs may, counts as the same.
    """
    begun = description.get("provenance", {})
    for name, received in made_of.items():
        if begun.get(name, received) != received:
            return name, begun[name], received
    return None


def described(
    experiment: Experiment, made_of: Mapping[str, Any], validation_images: int, earlier: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The content of experiment.json for a run that starts or continues.

    Args:
        experiment: the experiment of the run.
        made_of: hashes of the run's images, and of the networks that it builds on.
        validation_images: number of images held out for validation.
        earlier: the content of experiment.json of the run that it continues.
    """
    begun = (earlier or {}).get("provenance", {})

    def joined(what: str, now: str, separator: str) -> str:
        """The commits, versions or machines that trained the run: the earlier ones, then the current one."""
        before = begun.get(what)
        return separator.join(dict.fromkeys([*(before.split(separator) if before else []), now]))

    provenance = dict(
        commit=joined("commit", commit(), "+"),
        versions=joined("versions", versions(), "; "),
        machine=joined("machine", f"{processor.describe()}, {runtime.choices()}", "; "),
        validation_images=validation_images,
        **made_of,
    )
    if "continued_from" in begun:
        provenance["continued_from"] = begun["continued_from"]
    return {"experiment": experiment.settings(), "provenance": provenance}
