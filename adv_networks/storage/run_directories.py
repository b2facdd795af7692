"""Reads what the directory of a run says about the run. Does not import TensorFlow."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adv_networks.errors import UserError, printable
from adv_networks.storage.files import open_regular, read_text, reason
from adv_networks.storage.hashes import file_hash
from adv_networks.storage.names import shortened

# The networks that a run saves: D, and its generators.
_NETWORK = re.compile(r"[a-z][\w-]*\.keras")
_LARGEST_LIST = 1_000_000
_LONGEST_STEP = 18

# The texts and counts that the provenance may have.
_TEXTS = (
    "commit",
    "versions",
    "machine",
    "training_images_hash",
    "classifier_weights",
    "split",
    "classifier_file",
    "classifier_layers",
    "initial_weights",
)
_COUNTS = ("training_images", "validation_images")


def describe(workdir: Path) -> dict[str, Any] | None:
    """The content of a run's `experiment.json`; None if there is no run.

    Raises:
        UserError: the file is damaged, or cannot be a run's description.

    Examples:
        >>> import pathlib, tempfile
        >>> from adv_networks import training
        >>> text = '{"experiment": {"steps": 600}, "provenance": {"commit": "", "training_images": 1200}}'
        >>> with tempfile.TemporaryDirectory() as run:
        ...     size = pathlib.Path(run, "experiment.json").write_text(text)
        ...     training.describe(pathlib.Path(run))["experiment"]
        {'steps': 600}
    """
    file = workdir / "experiment.json"
    if not file.exists():
        return None
    try:
        description = json.loads(read_text(file))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: expected a run's description, found: {reason(error)}") from None
    parts = [description.get(part) if isinstance(description, dict) else None for part in ("experiment", "provenance")]
    if not all(isinstance(part, dict) for part in parts) or not {"commit", "training_images"} <= parts[1].keys():
        raise UserError(f"{file}: expected a run's description, found one without its settings or provenance")
    for name, expected, found in _faults(description):
        raise UserError(f"{file}: expected a run's description with {expected} for {name}, found {found}")
    return description


def _faults(description: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The values that have the wrong type: their names, what was expected, and what was found."""
    provenance, hashes = description["provenance"], description.get("hashes", {})
    faults = [(name, "a text", provenance[name]) for name in _TEXTS if not isinstance(provenance.get(name, ""), str)]
    faults += [
        (name, "a whole number from 0 on", provenance[name])
        for name in _COUNTS
        if type(count := provenance.get(name, 0)) is not int or count < 0
    ]
    names = provenance.get("class_names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        faults.append(("class_names", "a list of texts", names))
    if not isinstance(hashes, dict):
        faults.append(("hashes", "those of files", hashes))
    else:
        faults += [(f"hashes of {name}", "two texts", known) for name, known in hashes.items() if not _is_known(known)]
    return [(printable(name), expected, shortened(printable(str(found)))) for name, expected, found in faults]


def _is_known(hashes: Any) -> bool:
    return isinstance(hashes, dict) and all(isinstance(hashes.get(name), str) for name in ("file", "weights"))


def is_network_of_run(file: Path) -> bool:
    """Whether a file is a network that a run saved, judging by its name and directory."""
    return bool(_NETWORK.fullmatch(file.name)) and (file.parent / "experiment.json").exists()


def checked_file(workdir: Path, name: str) -> Path:
    """The path of a run's file, after a check that it is the file that the run saved.

    A run that is too old, or not finished, has no hashes, and is not checked.

    Raises:
        UserError: the file is not the one that the run saved, or the run's description is damaged.
    """
    file = workdir / name
    known = _hashes(workdir, name)
    if known is not None and file.exists():
        try:
            found = file_hash(file)
        except OSError as error:
            raise UserError(f"{file}: expected the file that its run saved, found: {reason(error)}") from None
        if found != known["file"]:
            raise UserError(
                f"{file}: expected the file that its run saved, hash {shortened(printable(known['file']))} in experiment.json, "
                f"found another, hash {found} (restore it, or remove this one: the run then saves it again from its checkpoint)"
            )
    return file


def known_weights_hash(workdir: Path, name: str) -> str | None:
    """The hash of the weights in one of a run's `.keras` files, without loading it; None if it is not known.

    Raises:
        UserError: as in `checked_file`.

    Examples:
        >>> import pathlib, tempfile
        >>> from adv_networks import training
        >>> with tempfile.TemporaryDirectory() as place:  # No run was here.
        ...     print(training.known_weights_hash(pathlib.Path(place), "d.keras"))
        None
    """
    known = _hashes(workdir, name)
    return known["weights"] if known is not None and checked_file(workdir, name).exists() else None


def _hashes(workdir: Path, name: str) -> dict[str, str] | None:
    return (describe(workdir) or {}).get("hashes", {}).get(name)


def check_weights(workdir: Path, name: str, found: str) -> None:
    """Raises a UserError if the loaded weights of a run's file do not have the hash in the run's description."""
    known = _hashes(workdir, name)
    if known is not None and known["weights"] != found:
        raise UserError(
            f"{workdir / name}: expected weights of hash {shortened(printable(known['weights']))}, as experiment.json says, "
            f"found {found}"
        )


def listed_steps(checkpoints: Path) -> list[int]:
    """The steps of the checkpoints in their directory's list, ascending; none without a list.

    Raises:
        UserError: the file cannot be a list of checkpoints.
    """
    file = checkpoints / "checkpoint"
    if not file.exists():
        return []
    try:
        with open_regular(file) as handle:
            text = handle.read(_LARGEST_LIST).decode("utf-8", "replace")
    except OSError as error:
        raise UserError(f"{file}: expected a list of checkpoints, found: {reason(error)}") from None
    found = set(re.findall(r'paths?: "(?:[^"\n]*/)?ckpt-([0-9]+)"', text))
    if any(len(step) > _LONGEST_STEP for step in found):
        raise UserError(f"{file}: expected the steps of checkpoints, found {shortened(max(found, key=len))}")
    return sorted(map(int, found))


def state(workdir: Path) -> str:
    """The state of a run: "finished", "step N of M", "empty" if it has not started, or "damaged"."""
    try:
        description = describe(workdir)
        if description is None:
            return "empty"
        if "finished" in description:
            return "finished"
        step = max(listed_steps(workdir / "checkpoints"), default=0)
    except UserError:
        return "damaged"
    return f"step {step} of {shortened(printable(str(description['experiment'].get('steps', '?'))))}"


def directories(runs: Path) -> list[Path]:
    """The directories in `runs` that a training has used, by name."""
    used = {file.parent for name in ("experiment.json", "lock") for file in runs.glob(f"*/{name}")}
    return sorted(used)
