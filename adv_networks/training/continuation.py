"""Going on from a finished run of fewer steps that is otherwise the same: its steps need not be done again."""

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
    """What experiment.json says of the run that this one goes on from; None where it starts from nothing.

    That is the run in the directory itself, or, if there is none, the longest finished one beside it, in the directory of its
    name, that has fewer steps and is otherwise the same; its checkpoints and logs are copied. Where a run of more steps goes
    on from one of fewer, a line on standard error and the description say so; a line also says why it cannot, if it cannot.

    Args:
        experiment: what to train.
        workdir: its directory.
        made_of: its images, and the networks that it builds upon.

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
            continue  # It is damaged, and nobody asked for it.
        if "finished" not in description or not last_step(file.parent):
            continue
        if [*settings_that_differ(experiment, description)] != ["steps"] or not is_shorter(experiment, description):
            continue
        # A directory of another name is somebody's own business.
        if file.parent.name == shortened(experiment, description).name:
            found[file.parent] = description
    for directory, description in sorted(found.items(), key=lambda item: -item[1]["experiment"]["steps"]):
        obstacle = difference_so_far(experiment, description, last_step(directory))
        if other := made_otherwise(description, made_of):
            obstacle = f"its {other[0]} is {other[1]}, this run's {other[2]}"
        if not obstacle:
            return directory
        print(f"{experiment.name}: not continuing from {directory}, as {obstacle}", file=sys.stderr)
    return None
