"""What a run is made of: whether the run in a directory is the one that is asked for, and what its description says."""

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
from adv_networks.storage.hashes import images_hash
from adv_networks.storage.provenance import commit, machine, versions
from adv_networks.storage.run_directories import describe, listed_steps

# Of images, by where they are from: a table asks for those of each of its runs, and SVHN's with the extra ones take seconds.
_identities: dict[tuple, dict[str, Any]] = {}


def is_finished(experiment: Experiment, workdir: Path) -> bool:
    """Whether the directory holds this experiment, trained to its end.

    It does not where its run has fewer steps and is otherwise the same, so that it can go on to this experiment's end.

    Raises:
        UserError: it holds a run with other settings; the first that differs is named.
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
        why = f", from which it cannot continue, as {obstacle}" if obstacle else ""
        raise UserError(
            f"{workdir}: expected a run with {key} = {expected}, found {found}{why} (--workdir names another directory)"
        )
    # A finished run that lost a file makes it again from its last checkpoint.
    files = METHODS[experiment.method].files(experiment)
    return "finished" in description and all((workdir / name).exists() for name in files)


def settings_that_differ(experiment: Experiment, description: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings that a described run does not share with the experiment, by name: the experiment's, and the run's."""
    expected = json.loads(json.dumps(experiment.settings()))
    # A setting younger than the run has its default, which is what the code did then.
    defaults = {name: field.default for name, field in SETTINGS.items() if name in expected}
    found = json.loads(json.dumps(defaults)) | description["experiment"]
    # The overrides only say which of the settings were asked for; the settings themselves are compared.
    keys = [key for key in expected | found if key != "overrides"]
    return {key: (expected.get(key), found.get(key)) for key in keys if expected.get(key) != found.get(key)}


def is_shorter(experiment: Experiment, description: Mapping[str, Any]) -> bool:
    """Whether a described run is of fewer steps than the experiment."""
    steps = description["experiment"].get("steps")
    return isinstance(steps, int) and 0 < steps < experiment.steps


def difference_so_far(experiment: Experiment, description: Mapping[str, Any], done: int) -> str:
    """How the first `done` steps of a described run, which is shorter and otherwise the same, differ from the experiment's.

    Returns:
        It in words; empty where they are the same.
    """
    return METHODS[experiment.method].first_difference(shortened(experiment, description), experiment, done)


def shortened(experiment: Experiment, description: Mapping[str, Any]) -> Experiment:
    """The experiment of a described run, which is shorter and otherwise the same."""
    found = description["experiment"]
    overrides = tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in found["overrides"])
    return dataclasses.replace(experiment, steps=found["steps"], overrides=overrides)


def last_step(workdir: Path) -> int:
    """The step of a run's last checkpoint; 0 where it has none."""
    return max(listed_steps(workdir / "checkpoints"), default=0)


def is_reusable(experiment: Experiment, workdir: Path, data_dir: str | os.PathLike | None) -> bool:
    """Whether the directory holds this experiment, trained to its end, on the images at hand if there are any.

    Raises:
        UserError: it holds a run with other settings, or one on other images.
    """
    if not is_finished(experiment, workdir):
        return False
    read = ("dataset", "seed", "train_images", "validation", "extra_images", "extra_replacement")
    # The same images in folders of other names are another data set of the same name.
    key = (data_dir, data.find_dataset(experiment.dataset).class_names, *(getattr(experiment, name) for name in read))
    if key not in _identities:
        # Results are of use where the images are not to be had.
        with contextlib.suppress(UserError):
            _identities[key] = of_images(experiment.dataset, data.training_and_validation(experiment, data_dir=data_dir)[0])
    check_begun_with(workdir, _identities.get(key, {}))
    return True


def of_images(dataset: str, training: data.Images) -> dict[str, Any]:
    """What a run's description says of its training images; of a user's own data set also the classes and the split."""
    declared = data.find_dataset(dataset)
    own = {"class_names": list(declared.class_names), "split": declared.split} if declared.split else {}
    return {"training_images": len(training.images), "training_images_hash": images_hash(*training)} | own


def check_begun_with(workdir: Path, made_of: Mapping[str, Any]) -> None:
    """Raises a UserError where the directory has a run made of something else."""
    if different := made_otherwise(describe(workdir) or {}, made_of):
        name, expected, received = different
        raise UserError(
            f"{workdir}: expected {name} = {expected}, as when its run was started, received {received} "
            "(use the same again, or another directory: --workdir or --runs)"
        )


def made_otherwise(description: Mapping[str, Any], made_of: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first thing that a described run is not made of: its name, the run's, and this; an older run may not say."""
    begun = description.get("provenance", {})
    for name, received in made_of.items():
        if begun.get(name, received) != received:
            return name, begun[name], received
    return None


def described(
    experiment: Experiment, made_of: Mapping[str, Any], validation_images: int, earlier: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What experiment.json says of a run that begins or goes on.

    Args:
        experiment: the run's.
        made_of: its images, and the networks that it builds upon.
        validation_images: how many are held out.
        earlier: what experiment.json said of the run that it goes on from.
    """
    begun = (earlier or {}).get("provenance", {})

    def joined(what: str, now: str, separator: str) -> str:
        """The commits, versions or machines that trained the run: this one, after those that began it."""
        before = begun.get(what)
        return separator.join(dict.fromkeys([*(before.split(separator) if before else []), now]))

    provenance = dict(
        commit=joined("commit", commit(), "+"),
        versions=joined("versions", versions(), "; "),
        machine=joined("machine", f"{machine()}, {runtime.choices()}", "; "),
        validation_images=validation_images,
        **made_of,
    )
    if "continued_from" in begun:
        provenance["continued_from"] = begun["continued_from"]
    return {"experiment": experiment.settings(), "provenance": provenance}
