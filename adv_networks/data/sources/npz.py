"""Reads an `.npz` with x_train, y_train, x_test and y_test, or with images and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adv_networks.data.images import Images
from adv_networks.errors import UsageError, UserError
from adv_networks.lazy import np
from adv_networks.storage.arrays import NoArrays, names_in_npz, read_npz
from adv_networks.storage.files import reason

_OTHER_FILES = {
    ".zip": "a .zip (unpack it into a folder)",
    ".csv": "a .csv (save its images and labels by numpy.savez)",
    ".npy": "an .npy (save images and labels together by numpy.savez)",
    ".mat": "a .mat (save its images and labels by numpy.savez)",
    ".h5": "an .h5 (save its images and labels by numpy.savez)",
    ".tar": "a .tar (unpack it into a folder)",
    ".gz": "a .gz (unpack it into a folder)",
    ".tgz": "a .tgz (unpack it into a folder)",
}
_ONE_PART = {"train": ("images", "labels")}
_TWO_PARTS = {split: (f"x_{split}", f"y_{split}") for split in ("train", "test")}


def read(file: Path) -> dict[str, Images]:
    """The images uint8 [N, H, W, 1 or 3] of a file, in one or two parts, and their labels, integers from 0.

    Raises:
        UserError: the file has no valid images and labels.
    """
    if file.suffix.lower() in _OTHER_FILES:
        raise UserError(f"{file}: expected a folder of class folders or an .npz, found {_OTHER_FILES[file.suffix.lower()]}")
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
    try:
        return {part: checked((x, y), arrays[x], arrays[y]) for part, (x, y) in names.items()}
    except UsageError as error:
        raise UserError(f"{file}: {error}") from None


def checked(names: tuple[str, str], images: Any, labels: Any) -> Images:
    """Arrays as images and labels: floats in [0,1] become uint8, and one-hot rows become numbers.

    Args:
        names: the names of the two arrays in messages.
        images: uint8 or floats in [0,1], [N, H, W] or [N, H, W, 1 or 3].
        labels: integers [N] or [N, 1] from 0, or one-hot rows [N, classes] of at least two classes.

    Raises:
        UsageError: invalid images or labels.
    """
    images, labels = _images(names[0], np.asarray(images)), _labels(names[1], np.asarray(labels))
    if len(images) != len(labels) or not len(images):
        raise UsageError(f"expected as many {names[0]} as {names[1]}, found {len(images)} and {len(labels)}")
    return Images(images, labels)


def _images(name: str, array: np.ndarray) -> np.ndarray:
    images = array[..., None] if array.ndim == 3 else array
    if images.ndim == 4 and images.shape[3] in (1, 3) and images.dtype == np.uint8:
        return images
    shape = f"{array.dtype} {list(array.shape)}"
    if images.ndim == 4 and images.shape[3] in (1, 3) and images.size and np.issubdtype(images.dtype, np.floating):
        low, high = float(images.min()), float(images.max())
        if low >= 0 and high <= 1:
            return np.round(images * 255).astype(np.uint8)
        shape += f" from {low:.4g} to {high:.4g}"
    raise UsageError(f"expected {name} to be uint8, or floats in [0,1], [N, H, W] or [N, H, W, 1 or 3], found {shape}")


def _labels(name: str, array: np.ndarray) -> np.ndarray:
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if _is_one_hot(labels):
        return labels.argmax(1).astype(np.int32)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or (len(labels) and labels.min() < 0):
        raise UsageError(f"expected {name} to be integers [N] from 0, or one-hot rows, found {array.dtype} {list(array.shape)}")
    if len(labels) and labels.max() >= 2**31:
        raise UsageError(f"expected {name} below 2**31, found {labels.max()}")
    return labels.astype(np.int32)


def _is_one_hot(labels: np.ndarray) -> bool:
    """Whether each row has a single one among zeros; a single column of labels cannot be one-hot."""
    if labels.ndim != 2 or labels.shape[1] < 2 or not len(labels) or labels.dtype.kind not in "biuf":
        return False
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all())
