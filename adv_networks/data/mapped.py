"""Data sets that are too large for memory: decoded once into files of the cache directory, and memory-mapped from there."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adv_networks.data import cache
from adv_networks.data.images import Images
from adv_networks.errors import UserError
from adv_networks.lazy import np
from adv_networks.storage.arrays import NoArrays, map_npy
from adv_networks.storage.files import explained, write_text

# Decoded images of at most this many bytes are kept in memory without a file.
IN_MEMORY = 2**28
_ABOUT = "about.json"


def read(identity: list[str], state: str) -> tuple[dict[str, Images], dict[str, Any]] | None:
    """What `written` stored under this identity: the memory-mapped parts and their description; None if it is incomplete.

    Args:
        identity: what was decoded, and how.
        state: the state of the source files; images decoded from another state are ignored.
    """
    place = _place(identity)
    if place is None:
        return None
    try:
        about = json.loads((place / _ABOUT).read_text("utf-8"))
        if about["identity"] != identity or about["state"] != state:
            return None
        parts = {part: Images(*(map_npy(place / f"{part}-{kind}.npy") for kind in Images._fields)) for part in about["parts"]}
        return parts, about["said"]
    except (OSError, NoArrays, ValueError, KeyError, TypeError, RecursionError):
        return None


def written(
    identity: list[str], state: str, make: Callable[[Path], dict[str, Any]]
) -> tuple[dict[str, Images], dict[str, Any]]:
    """Decodes images into the cache directory and returns them as `read` does.

    Args:
        identity: as in `read`.
        state: as in `read`.
        make: takes an empty directory, creates the arrays of each part in it (`new_array`), and returns their description for
            JSON, in which "parts" are the names of the parts.

    Raises:
        UserError: there is no cache directory, it is not writable, or the disk is full.
    """
    place = _place(identity)
    if place is None:
        raise UserError("cache: expected ADV_NETWORKS_CACHE or a home directory for decoded images, found neither")
    temporary = place.with_name(f"{place.name}.writing-{secrets.token_hex(4)}")
    with explained(f"writing {place} (ADV_NETWORKS_CACHE names another directory)"):
        try:
            temporary.mkdir(parents=True)
            said = make(temporary)
            about = {"identity": identity, "state": state, "parts": said["parts"], "said": said}
            write_text(temporary / _ABOUT, json.dumps(about))
            if place.exists():
                shutil.rmtree(place)
            temporary.rename(place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    found = read(identity, state)
    if found is None:
        raise UserError(f"{place}: expected the images that were decoded there, found others")
    return found


def new_array(directory: Path, name: str, dtype: type, *shape: int) -> np.ndarray:
    """A new array, memory-mapped from a file in the directory of `written`; `name` is `PART-images` or `PART-labels`."""
    return np.lib.format.open_memmap(directory / f"{name}.npy", "w+", dtype, shape)


def _place(identity: list[str]) -> Path | None:
    file = cache.file_of(tuple(identity))
    return file and file.with_suffix("")
