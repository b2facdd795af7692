"""An `.npz` of x_train, y_train, x_test and y_test, or of images and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adv_networks.data.images import Images, Parts
from adv_networks.errors import UserError
from adv_networks.storage.arrays import NoArrays, names_in_npz, read_npz
from adv_networks.storage.files import reason

_ONE_PART = {"train": ("images", "labels")}
_TWO_PARTS = {split: (f"x_{split}", f"y_{split}") for split in ("train", "test")}


def read(file: Path) -> Parts:
    """The images uint8 [N, H, W] or [N, H, W, 1 or 3] of a file, and their labels, integers from 0.

    Raises:
        UserError: it holds no such arrays.
    """
    try:
        found = names_in_npz(file)
        names = _TWO_PARTS if "x_train" in found else _ONE_PART
        wanted = [name for pair in names.values() for name in pair]
        if set(wanted) - set(found):
            raise UserError(
                f"{file}: expected x_train, y_train, x_test and y_test, or images and labels, "
                f"found {', '.join(sorted(found))[:200]}"
            )
        arrays = read_npz(file, wanted)
    except (OSError, NoArrays) as error:
        raise UserError(f"{file}: expected an .npz of images and labels, found: {reason(error)}") from None
    parts = {split: Images(_images(file, x, arrays[x]), _labels(file, y, arrays[y])) for split, (x, y) in names.items()}
    for split, (images, labels) in parts.items():
        if len(images) != len(labels) or not len(images):
            x, y = names[split]
            raise UserError(f"{file}: expected as many {x} as {y}, found {len(images)} and {len(labels)}")
    return Parts(parts, None)


def _images(file: Path, name: str, array: np.ndarray) -> np.ndarray:
    images = array[..., None] if array.ndim == 3 else array
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise UserError(
            f"{file}: expected {name} to be uint8 [N, H, W] or [N, H, W, 1 or 3], found {array.dtype} {list(array.shape)}"
        )
    return images


def _labels(file: Path, name: str, array: np.ndarray) -> np.ndarray:
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or (len(labels) and labels.min() < 0):
        raise UserError(f"{file}: expected {name} to be integers [N] from 0, found {array.dtype} {list(array.shape)}")
    if len(labels) and labels.max() >= 2**31:
        raise UserError(f"{file}: expected {name} below 2**31, found {labels.max()}")
    return labels.astype(np.int32)
