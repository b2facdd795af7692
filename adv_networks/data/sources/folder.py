"""Folders of PNG or JPEG images: one of a class each, or `train` and `test` of such folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adv_networks.data.images import Images, Parts
from adv_networks.errors import UserError
from adv_networks.storage.files import open_regular, reason
from adv_networks.storage.names import shortened

_SUFFIXES = (".png", ".jpg", ".jpeg")
_SPLITS = ("train", "test")
_NAMED_IN_MESSAGES = 9


def read(folder: Path) -> Parts:
    """The images of a folder; grey ones are [N, H, W, 1], and among coloured ones have three equal channels.

    Raises:
        UserError: there is something else in it, or images of several sizes.
    """
    names = {entry.name for entry in _entries(folder)}
    if names & set(_SPLITS) and names != set(_SPLITS):
        raise UserError(f"{folder}: expected train and test, or class folders, found {_listed(sorted(names))}")
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
    splits = {split: Images(_stacked(own, grey, size), labels[split]) for split, own in pictures.items()}
    return Parts(splits, tuple(classes))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"


def _listed(names: list[str]) -> str:
    return ", ".join(map(shortened, names[:_NAMED_IN_MESSAGES]))


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, hidden files apart, by name; numbers by value."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: expected a folder that can be read, found: {reason(error)}") from None
    return sorted(
        entries, key=lambda entry: (not entry.name.isdecimal(), int("0" + entry.name * entry.name.isdecimal()), entry)
    )


def _labelled_files(root: Path, classes: list[str]) -> list[tuple[Path, int]]:
    files = []
    for entry in _entries(root):
        if not entry.is_dir() or entry.name not in classes:
            raise UserError(f"{entry}: expected a folder of one of the classes {_listed(classes)}, found another")
        files += [(file, classes.index(entry.name)) for file in _entries(entry)]
    return files


def _picture(file: Path) -> np.ndarray:
    """An image as uint8: [H, W] where it is grey, [H, W, 3] else."""
    from PIL import Image, ImageOps

    if file.suffix.lower() not in _SUFFIXES:
        raise UserError(f"{file}: expected a PNG or JPEG image, found another file")
    try:
        with open_regular(file) as handle, Image.open(handle) as opened:
            mode, picture = opened.mode, ImageOps.exif_transpose(opened)
            if mode not in ("1", "L", "P", "RGB"):
                raise UserError(f"{file}: expected 8 bits a channel, grey or RGB without transparency, found mode {mode}")
            return np.asarray(picture.convert("L" if mode in ("1", "L") else "RGB"))
    except UserError:
        raise
    except Exception as error:  # Whatever Pillow and its codecs raise of damaged or hostile bytes.
        raise UserError(f"{file}: expected a PNG or JPEG image, found: {reason(error)}") from None


def _stacked(pictures: list[np.ndarray], grey: bool, size: tuple[int, int]) -> np.ndarray:
    """Grey pictures among coloured ones get three equal channels."""
    result = np.empty((len(pictures), *size, 1 if grey else 3), np.uint8)
    for number, picture in enumerate(pictures):
        result[number] = picture[..., None] if picture.ndim == 2 else picture
    return result
