"""A user's own data set, from a folder of images or an `.npz`: read, checked, split and ordered. Imports no TensorFlow."""

from __future__ import annotations

import functools
import hashlib
import re
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adv_networks.errors import UserError
from adv_networks.experiments import OPENERS, Dataset
from adv_networks.storage.files import reason

# Of the split, where the data comes in one part, and of the order: files come class by class, and "the first images" of a
# split, which validation and small scales take, shall be of all classes.
SEED = 0
_TEST_FRACTION = 5
_SUFFIXES = (".png", ".jpg", ".jpeg")
_SPLITS = ("train", "test")

Arrays = tuple[np.ndarray, np.ndarray]


class OwnData(NamedTuple):
    """Splits by name, each images uint8 [N, H, W, C] with C 1 or 3 and labels int32 [N]; and what else is known of them.

    `name` is the file's with the first digits of a hash over all images and labels, so that runs on other data have other
    names. `class_names` are those of the class folders, or the labels.
    """

    name: str
    splits: dict[str, Arrays]
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        """How many."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.splits["train"][0].shape[1:]


@functools.cache
def read(path: str) -> OwnData:
    """Reads a data set, once a process.

    A folder holds one folder of PNG or JPEG images per class, or two of such folders, `train` and `test`; classes are
    numbered in the order of their names, numbers by value. An `.npz` holds x_train, y_train, x_test and y_test, or images
    and labels: images uint8 [N, H, W] or [N, H, W, C], labels from 0. Of data in one part a fifth, drawn by a fixed seed, is
    for testing.

    Raises:
        UserError: anything else, images of several sizes, or a class without training images.
    """
    place = Path(path)
    parts, class_names = _read_folder(place) if place.is_dir() else _read_npz(place)
    classes = len(class_names)
    if len(parts) == 1:
        parts = _split(parts["train"])
    parts = {split: _shuffled(parts[split]) for split in _SPLITS}
    counts = np.bincount(parts["train"][1], minlength=classes)
    if classes < 2 or not counts.all():
        empty = f"none of class {int(counts.argmin())}" if classes > 1 else "one class"
        raise UserError(f"{path}: expected training images of every class from 0 on, and of two at least, found {empty}")
    shapes = {split: images.shape[1:] for split, (images, _) in parts.items()}
    if not len(parts["test"][0]) or shapes["train"] != shapes["test"]:
        raise UserError(f"{path}: expected test images of shape {shapes['train']}, found {parts['test'][0].shape}")
    stem = place.resolve().name if place.is_dir() else place.stem
    return OwnData(f"{re.sub(r'[^A-Za-z0-9_.]+', '_', stem)}-{_digest(parts)}", parts, class_names)


def _split(whole: Arrays) -> dict[str, Arrays]:
    images, labels = whole
    order = np.random.default_rng(SEED).permutation(len(labels))
    test, train = np.split(order, [len(order) // _TEST_FRACTION])
    return {"train": (images[train], labels[train]), "test": (images[test], labels[test])}


def _shuffled(part: Arrays) -> Arrays:
    order = np.random.default_rng(SEED).permutation(len(part[1]))
    return part[0][order], part[1][order]


def _digest(parts: dict[str, Arrays]) -> str:
    total = hashlib.sha256()
    for part in parts.values():
        for array in part:
            total.update(str(array.shape).encode())
            total.update(np.ascontiguousarray(array))
    return total.hexdigest()[:8]


def _read_folder(folder: Path) -> tuple[dict[str, Arrays], tuple[str, ...]]:
    names = {entry.name for entry in _entries(folder)}
    if names & set(_SPLITS) and names != set(_SPLITS):
        raise UserError(f"{folder}: expected train and test, or class folders, found {', '.join(sorted(names)[:9])}")
    roots = {split: folder / split for split in _SPLITS} if names == set(_SPLITS) else {"train": folder}
    classes = [entry.name for entry in _entries(roots["train"])]
    files = {split: _labelled_files(root, classes) for split, root in roots.items()}
    pictures = {split: [_picture(file) for file, _ in own] for split, own in files.items()}
    grey = all(picture.ndim == 2 for own in pictures.values() for picture in own)
    first = next(iter(files["train"]), None)
    if first is None:
        raise UserError(f"{folder}: expected class folders of PNG or JPEG images, found no image")
    size = pictures["train"][0].shape[:2]
    for split, own in pictures.items():
        for picture, (file, _) in zip(own, files[split], strict=True):
            if picture.shape[:2] != size:
                raise UserError(f"{file}: expected {_size(size)} pixels like {first[0]}, found {_size(picture.shape)}")
    labels = {split: np.array([label for _, label in own], np.int32) for split, own in files.items()}
    return {split: (_stacked(own, grey, size), labels[split]) for split, own in pictures.items()}, tuple(classes)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, hidden files apart, by name; numbers by value."""
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return sorted(
        entries, key=lambda entry: (not entry.name.isdecimal(), int("0" + entry.name * entry.name.isdecimal()), entry)
    )


def _labelled_files(root: Path, classes: list[str]) -> list[tuple[Path, int]]:
    files = []
    for entry in _entries(root):
        if not entry.is_dir() or entry.name not in classes:
            raise UserError(f"{entry}: expected a folder of one of the classes {', '.join(classes[:9])}, found another")
        files += [(file, classes.index(entry.name)) for file in _entries(entry)]
    return files


def _picture(file: Path) -> np.ndarray:
    """An image as uint8: [H, W] where it is grey, [H, W, 3] else."""
    from PIL import Image, ImageOps

    if file.suffix.lower() not in _SUFFIXES:
        raise UserError(f"{file}: expected a PNG or JPEG image, found another file")
    try:
        with Image.open(file) as opened:
            mode, picture = opened.mode, ImageOps.exif_transpose(opened)
            if mode not in ("1", "L", "P", "RGB"):
                raise UserError(f"{file}: expected 8 bits a channel, grey or RGB without transparency, found mode {mode}")
            return np.asarray(picture.convert("L" if mode in ("1", "L") else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{file}: expected a PNG or JPEG image, found: {reason(error)}") from None


def _stacked(pictures: list[np.ndarray], grey: bool, size: tuple[int, int]) -> np.ndarray:
    """Grey pictures among coloured ones get three equal channels."""
    result = np.empty((len(pictures), *size, 1 if grey else 3), np.uint8)
    for number, picture in enumerate(pictures):
        result[number] = picture[..., None] if picture.ndim == 2 else picture
    return result


def _read_npz(file: Path) -> tuple[dict[str, Arrays], tuple[str, ...]]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{file}: expected an .npz of images and labels, found: {reason(error)}") from None
    names = {"train": ("images", "labels")}
    if "x_train" in arrays:
        names = {split: (f"x_{split}", f"y_{split}") for split in _SPLITS}
    wanted = [name for pair in names.values() for name in pair]
    if set(wanted) - arrays.keys():
        raise UserError(
            f"{file}: expected x_train, y_train, x_test and y_test, or images and labels, found {', '.join(sorted(arrays))}"
        )
    parts = {split: (_images(file, x, arrays[x]), _labels(file, y, arrays[y])) for split, (x, y) in names.items()}
    for split, (images, labels) in parts.items():
        if len(images) != len(labels) or not len(images):
            x, y = names[split]
            raise UserError(f"{file}: expected as many {x} as {y}, found {len(images)} and {len(labels)}")
    return parts, tuple(map(str, range(1 + max(int(labels.max()) for _, labels in parts.values()))))


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


def open_path(name: str) -> Dataset | None:
    """The data set in the folder or `.npz` of that path, under the name that its images give it; None if nothing is there.

    Raises:
        UserError: what is at the path is no data set.
    """
    if not Path(name).exists():
        return None
    own = read(name)
    train, test = (len(own.splits[split][1]) for split in _SPLITS)
    held_out = min(5_000, train // 10)
    return Dataset(own.name, None, own.image_shape, own.classes, train, test, held_out, name, own.class_names)


OPENERS.append(open_path)
