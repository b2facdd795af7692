"""Decoded data sets, kept between processes: decoding MNIST takes longer than starting TensorFlow."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np

from adv_networks.errors import UserError
from adv_networks.storage.files import write_whole

Arrays = dict[str, np.ndarray]


def directory() -> Path:
    """Where they are: ADV_NETWORKS_CACHE, or `adv_networks` in the user's cache directory. It may be removed at any time."""
    named = os.environ.get("ADV_NETWORKS_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adv_networks"


def read(*identity: str) -> Arrays | None:
    """What `write` kept under that identity; None where there is nothing whole, or where its source has changed since."""
    try:
        with np.load(_file(identity)) as kept:
            source = json.loads(str(kept["source"]))
            if source["identity"] != list(identity) or source["state"] != _state(Path(source["directory"])):
                return None
            return {name: kept[name] for name in kept.files if name != "source"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write(source: Path, *identity: str, **arrays: np.ndarray) -> None:
    """Keeps arrays that were decoded from the files in `source`, if the cache directory can be written."""
    with contextlib.suppress(UserError, OSError):
        known = {"identity": identity, "directory": str(source), "state": _state(source)}
        write_whole(_file(identity), lambda temporary: np.savez(temporary, source=json.dumps(known), **arrays))


def _file(identity: tuple[str, ...]) -> Path:
    return directory() / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]}.npz"


def _state(source: Path) -> list[list]:
    """Names, sizes and times of the files in a directory, and the names of the directories beside it, other versions."""
    files = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(source.iterdir())]
    return [*files, *([beside.name] for beside in sorted(source.parent.iterdir()))]
