"""Continues from a finished run with fewer steps that is otherwise the same, so that its steps are not repeated."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adv_networks.errors import UserError
from adv_networks.experiments import Experiment
from adv_networks.storage.files import write_whole
from adv_networks.storage.run_directories import describe
from adv_networks.training.checkpoints import copy_checkpoints
from adv_networks.training.identity import (
    difference_so_far,
    is_shorter,
    last_step,
    made_otherwise,
    settings_that_differ,
    shortened,
)


def earlier_description(experiment: Experiment, workdir: Path, made_of: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content of experiment.json of the run that this one continues; None if it starts from nothing.

    The earlier run is the one in the directory itself. If there is none, it is the longest finished run beside the directory,
    under its own name, that has fewer steps and is otherwise the same; its checkpoints and logs are copied. If a run continues
    one with fewer steps, a line on standard error and the description say so. If it cannot, a line says why.

    Args:
        experiment: what to train.
        workdir: the directory of the run.
        made_of: hashes of the run's images, and of the networks that it builds on.

    Raises:
        UserError: files cannot be copied.
    """
    description, source = describe(workdir), workdir
    if description is None:
        source = _shorter_run(experiment, workdir, made_of)
        if source is None:
            return None
        description = describe(source)
        for name in ("metrics.csv", "timings.csv"):
            if (source / name).exists():
                write_whole(workdir / name, lambda temporary, file=source / name: shutil.copyfile(file, temporary))
        copy_checkpoints(source / "checkpoints", workdir / "checkpoints")
    elif not is_shorter(experiment, description):
        return description
    step, provenance = last_step(source), dict(description["provenance"])
    if step:
        print(f"{experiment.name}: continuing from step {step} of {source}", file=sys.stderr)
        steps = [provenance["continued_from"]] if "continued_from" in provenance else []
        provenance["continued_from"] = "; ".join([*steps, f"{source.name} at step {step}"])
    return {**description, "provenance": provenance}


def _shorter_run(experiment: Experiment, workdir: Path, made_of: Mapping[str, Any]) -> Path | None:
    """The directory of the longest finished run beside `workdir` whose steps are the first ones of this experiment."""
    found = {}
    for file in workdir.parent.glob("*/experiment.json"):
        try:
            description = describe(file.parent)
        except UserError:
            continue  # A damaged run that nobody asked for does not matter.
        if "finished" not in description or not last_step(file.parent):
            continue
        if [*settings_that_differ(experiment, description)] != ["steps"] or not is_shorter(experiment, description):
            continue
        # A run in a directory with a name of the user's own is not used.
        if file.parent.name == shortened(experiment, description).name:
            found[file.parent] = description
    for directory, description in sorted(found.items(), key=lambda item: -item[1]["experiment"]["steps"]):
        obstacle = difference_so_far(experiment, description, last_step(directory))
        if other := made_otherwise(description, made_of):
            obstacle = f"its {other[0]} is {other[1]}, this run's {other[2]}"
        if not obstacle:
            return directory
        print(f"{experiment.name}: not continuing from {directory}, because {obstacle}", file=sys.stderr)
    return None
