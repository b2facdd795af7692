"""Folders of PNG or JPEG images: one folder per class, or parts (`train`, `test`, `val`) with such folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from adv_networks.data.sources import pictures
from adv_networks.errors import UsageError, UserError
from adv_networks.lazy import np
from adv_networks.storage.arrays import release
from adv_networks.storage.files import reason
from adv_networks.storage.names import shortened

# Common names of the parts of a data set. If only one other part besides train exists, it is the test set.
_PARTS = {"train": "train", "test": "test", "val": "validation", "valid": "validation", "validation": "validation"}
# Files that file managers leave behind.
_LEFT_BEHIND = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_NAMED_IN_MESSAGES = 9
_RELEASED_EVERY = 5_000


class Listed(NamedTuple):
    """The contents of a folder, not decoded: the files of each part, their labels, and the names of the classes."""

    files: dict[str, list[str]]
    labels: dict[str, np.ndarray]
    class_names: tuple[str, ...]


def listed(folder: Path, class_order: Sequence[str] = ("numbers",)) -> Listed:
    """The files of a folder, with its class folders numbered in the given order.

    Args:
        folder: a folder of class folders, or of `train` and `test` (or `val`) with class folders.
        class_order: ("numbers",): numbers by value, then names; ("names",): alphabetically, as in Keras and torchvision; or the
            names of all classes.

    Raises:
        UserError: the folder has other contents.
        UsageError: `class_order` does not name these classes.
    """
    roots = _roots(folder)
    entries = _entries(roots["train"])
    found = [entry.name for entry in entries if entry.is_dir()]
    if not found:
        what = f"files only ({_listed([entry.name for entry in entries])})" if entries else "no image"
        raise UserError(f"{folder}: expected class folders of PNG or JPEG images, found {what}")
    classes = ordered(found, class_order)
    files, labels = {}, {}
    for part, root in roots.items():
        own = [(file, label) for file, label in _labelled_files(root, classes)]
        files[part], labels[part] = [file for file, _ in own], np.array([label for _, label in own], np.int32)
    if not files["train"]:
        raise UserError(f"{folder}: expected class folders of PNG or JPEG images, found no image")
    if len(classes) < 2:
        raise UserError(f"{folder}: expected class folders of at least two classes, found one class, {_listed(classes)}")
    counts = np.bincount(labels["train"], minlength=len(classes))
    if not counts.all():
        empty = [name for name, count in zip(classes, counts, strict=True) if not count]
        raise UserError(
            f"{folder}: expected images in every class folder, found none of {_listed(empty)} in {roots['train'].name} "
            "(remove folders that are not classes)"
        )
    return Listed(files, labels, tuple(classes))


def ordered(names: Sequence[str], class_order: Sequence[str]) -> list[str]:
    """The class names in one of the orders of `listed`."""
    if tuple(class_order) == ("numbers",):
        return sorted(names, key=lambda name: (not name.isdecimal(), int("0" + name * name.isdecimal()), name))
    if tuple(class_order) == ("names",):
        return sorted(names)
    if sorted(class_order) != sorted(names):
        raise UsageError(
            f"class_order: expected numbers, names, or all of {_listed(sorted(names))}, received {_listed(list(class_order))}"
        )
    return list(class_order)


def decoded(files: Sequence[str], into: np.ndarray, resize: tuple[int, int] | None) -> bool:
    """Reads images one by one into a uint8 array [N, H, W, C]; returns False at the first colour image if C is 1.

    If C is 3, grey images get three equal channels.

    Raises:
        UserError: a file is not an image, or its size differs from that of the array.
    """
    for number, file in enumerate(files):
        picture = pictures.read(Path(file), resize)
        if picture.shape[:2] != into.shape[1:3]:
            raise UserError(
                f"{file}: expected {_size(into.shape[1:])} pixels like {files[0]}, found {_size(picture.shape)} "
                "(--resize=HEIGHT,WIDTH resizes all of them)"
            )
        if picture.ndim == 3 and into.shape[3] == 1:
            return False
        into[number] = picture[..., None] if picture.ndim == 2 else picture
        if number % _RELEASED_EVERY == 0:
            release(into)
    return True


def _roots(folder: Path) -> dict[str, Path]:
    """The folder with the class folders of each part; only "train" if the given folder has them itself."""
    entries = {entry.name: entry for entry in _entries(folder)}
    # A class may be called train. Parts hold folders, and classes hold files.
    if not entries or not entries.keys() <= _PARTS.keys() or not _holds_folders(entries.get("train", folder)):
        named = [name for name in entries if name in _PARTS and _holds_folders(entries[name])]
        if "train" in named:
            strays = sorted(entries.keys() - _PARTS.keys())
            raise UserError(f"{folder}: expected train and test, or class folders, found {_listed(strays)} too")
        return {"train": folder}
    parts = {_PARTS[name]: entry for name, entry in entries.items()}
    if len(parts) < len(entries) or "train" not in parts or len(parts) < 2:
        raise UserError(f"{folder}: expected train and test, or class folders, found {_listed(sorted(entries))}")
    if "test" not in parts:
        parts["test"] = parts.pop("validation")
    return parts


def _holds_folders(place: Path) -> bool:
    return place.is_dir() and any(entry.is_dir() for entry in _entries(place))


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]}×{shape[0]}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_IN_MESSAGES} more" if len(names) > _NAMED_IN_MESSAGES else ""
    return ", ".join(map(shortened, names[:_NAMED_IN_MESSAGES])) + more


def _entries(folder: Path) -> list[os.DirEntry]:
    """The entries of a folder, sorted by name, without hidden files and what file managers leave behind."""
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".") and entry.name.lower() not in _LEFT_BEHIND]
    except OSError as error:
        raise UserError(f"{folder}: expected a folder that can be read, found: {reason(error)}") from None
    return sorted(entries, key=lambda entry: entry.name)


def _labelled_files(root: Path, classes: Sequence[str]) -> Iterator[tuple[str, int]]:
    numbers = {name: number for number, name in enumerate(classes)}
    for entry in _entries(root):
        if not entry.is_dir() or entry.name not in numbers:
            what = "another folder" if entry.is_dir() else "a file"
            raise UserError(f"{entry.path}: expected a folder of one of the classes {_listed(classes)}, found {what}")
        for file in _entries(Path(entry.path)):
            if Path(file.name).suffix.lower() not in pictures.SUFFIXES:
                raise UserError(
                    f"{file.path}: expected a PNG or JPEG image, found another {'folder' if file.is_dir() else 'file'}"
                )
            yield file.path, numbers[entry.name]
