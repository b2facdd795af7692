"""A cache of decoded data sets on disk, because decoding MNIST takes longer than starting TensorFlow."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from adv_networks.data.images import Images
from adv_networks.errors import UserError
from adv_networks.lazy import np
from adv_networks.storage.arrays import NoArrays, read_npz
from adv_networks.storage.files import write_whole


def home() -> Path | None:
    """The user's home directory; None if there is none, as in containers whose user has no entry in passwd."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def expanded(path: str | os.PathLike) -> Path:
    """A path with `~` replaced by the home directory; the shell does not do this in --data_dir=~/data."""
    path = Path(path)
    try:
        return path.expanduser()
    except RuntimeError:
        raise UserError(f"{path}: expected a home directory for ~, found none") from None


def directory() -> Path | None:
    """The cache directory: ADV_NETWORKS_CACHE, or `adv_networks` in the user's cache directory. It can be deleted at any time.

    None if the user has no home directory.
    """
    if named := os.environ.get("ADV_NETWORKS_CACHE"):
        return Path(named)
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "adv_networks"
    found = home()
    return found and found / ".cache" / "adv_networks"


def read(*identity: str) -> Images | None:
    """The images that `write` stored under this identity; None if there are none or they are damaged or out of date."""
    file = file_of(identity)
    if file is None:
        return None
    try:
        kept = read_npz(file, ("source", "images", "labels"))
        source = json.loads(str(kept["source"]))
        if source["identity"] != list(identity) or source["state"] != _state(Path(source["directory"])):
            return None
    except (OSError, NoArrays, ValueError, KeyError, TypeError, RecursionError):
        return None
    found = Images(kept["images"], kept["labels"])
    shape = found.images.shape
    is_whole = len(shape) == 4 and found.labels.shape == shape[:1]
    return found if is_whole and (found.images.dtype, found.labels.dtype) == (np.uint8, np.int32) else None


def write(source: Path, *identity: str, images: Images) -> None:
    """Stores images that were decoded from the files in `source`, if there is a writable cache directory."""
    file = file_of(identity)
    if file is None:
        return
    with contextlib.suppress(UserError, OSError):
        known = {"identity": identity, "directory": str(source), "state": _state(source)}
        write_whole(file, lambda temporary: np.savez(temporary, source=json.dumps(known), **images._asdict()))


def file_of(identity: tuple[str, ...]) -> Path | None:
    """The file for this identity; None if there is no cache directory."""
    where = directory()
    return where and where / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]}.npz"


def _state(source: Path) -> list[list]:
    """Names, sizes and times of the files in a directory, and the names of its siblings, which are other versions."""
    files = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(source.iterdir())]
    return [*files, *([beside.name] for beside in sorted(source.parent.iterdir()))]
