"""What the directory of a run says of it. Imports no TensorFlow."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from adv_networks.errors import UserError


def describe(workdir: Path) -> dict[str, Any] | None:
    """What `experiment.json` says of a run, None if there is no run.

    Raises:
        UserError: the file is damaged.
    """
    file = workdir / "experiment.json"
    if not file.exists():
        return None
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: expected a run's description, found: {error}") from None
    parts = [description.get(part) if isinstance(description, dict) else None for part in ("experiment", "provenance")]
    if not all(isinstance(part, dict) for part in parts) or not {"commit", "training_images"} <= parts[1].keys():
        raise UserError(f"{file}: expected a run's description, found one without its settings or provenance")
    return description


def listed_steps(checkpoints: Path) -> list[int]:
    """The steps, ascending, of the checkpoints that the list in their directory names; none without a list."""
    file = checkpoints / "checkpoint"
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    return sorted({int(step) for step in re.findall(r'paths?: "(?:.*/)?ckpt-(\d+)"', text)})


def state(workdir: Path) -> str:
    """How far a run is: "finished", "step N of M", "empty" where it has not begun, or "damaged"."""
    try:
        description = describe(workdir)
    except UserError:
        return "damaged"
    if description is None:
        return "empty"
    if "finished" in description:
        return "finished"
    return f"step {max(listed_steps(workdir / 'checkpoints'), default=0)} of {description['experiment'].get('steps', '?')}"


def directories(runs: Path) -> list[Path]:
    """The directories below `runs` that a training has begun to use, by name."""
    used = {file.parent for name in ("experiment.json", "lock") for file in runs.glob(f"*/{name}")}
    return sorted(used)
