"""A user's own data set, from a folder of images or an `.npz`: read, split, ordered, named and declared."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np

from adv_networks.data.images import Images, Parts
from adv_networks.data.sources import folder, npz
from adv_networks.data.sources.base import InMemory, register
from adv_networks.errors import UserError
from adv_networks.experiments import OPENERS, Dataset
from adv_networks.storage.hashes import arrays_hash
from adv_networks.storage.names import for_files, printable

# Of the split, where the data comes in one part, and of the order: files come class by class, and "the first images" of a
# split, which validation and small scales take, shall be of all classes.
SEED = 0
_TEST_FRACTION = 5
_DIGITS_OF_HASH = 8
_LARGEST_VALIDATION = 5_000


def open_path(name: str) -> Dataset | None:
    """The user's own data set in the folder or `.npz` of that path; None if nothing is there.

    It is read once a process and declared from then on, under the name of its file with the first digits of a hash over all
    images and labels, so that runs on other data have other names. A folder holds one folder of PNG or JPEG images per class,
    or two of such folders, `train` and `test`; classes are numbered in the order of their names, numbers by value. An `.npz`
    holds x_train, y_train, x_test and y_test, or images and labels: images uint8 [N, H, W] or [N, H, W, C], labels from 0. Of
    data in one part a fifth, drawn by a fixed seed, is for testing.

    Raises:
        UserError: what is at the path is no data set: other files, images of several sizes, a class without training images.
    """
    # Unlike Path.exists it says no of names that are too long.
    if not os.path.exists(name):  # noqa: PTH110
        return None
    try:
        return _declared(name)
    except UserError as error:
        raise UserError(printable(str(error))) from None


OPENERS.append(open_path)


@functools.cache
def _read(path: str) -> tuple[str, dict[str, Images], tuple[str, ...]]:
    """The name, the splits in the order in which they are used, and the names of the classes."""
    place = Path(path)
    parts = folder.read(place) if place.is_dir() else npz.read(place)
    class_names = _class_names(place, parts)
    splits = parts.splits if len(parts.splits) > 1 else _split(parts.splits["train"])
    splits = {split: _shuffled(splits[split]) for split in ("train", "test")}
    _check_splits(place, splits, len(class_names))
    stem = place.resolve().name if place.is_dir() else place.stem
    digest = arrays_hash(*(array for split in splits.values() for array in split))[:_DIGITS_OF_HASH]
    return f"{for_files(stem)}-{digest}", splits, class_names


def _declared(path: str) -> Dataset:
    name, splits, class_names = _read(path)
    shape = splits["train"].images.shape[1:]
    train, test = (len(splits[split].labels) for split in ("train", "test"))
    sizes = len(class_names), train, test, min(_LARGEST_VALIDATION, train // 10)
    return register(Dataset(name, None, shape, *sizes, path, class_names), lambda place: InMemory(path, splits))


def _class_names(place: Path, parts: Parts) -> tuple[str, ...]:
    """What can be printed of the names of the classes, or their numbers, all of which have images in the first part."""
    labels = parts.splits["train"].labels
    if parts.class_names is None:
        classes = 1 + max(int(own.labels.max(initial=-1)) for own in parts.splits.values())
    else:
        classes = len(parts.class_names)
    present = np.unique(labels)
    gaps = np.flatnonzero(present != np.arange(len(present)))
    first_missing = int(gaps[0]) if len(gaps) else len(present)
    if classes < 2 or first_missing < classes:
        _raise_for_class(place, first_missing if classes > 1 else None)
    return tuple(map(printable, parts.class_names or map(str, range(classes))))


def _raise_for_class(place: Path, missing: int | None) -> None:
    found = "one class" if missing is None else f"none of class {missing}"
    raise UserError(f"{place}: expected training images of every class from 0 on, and of two at least, found {found}")


def _split(whole: Images) -> dict[str, Images]:
    order = np.random.default_rng(SEED).permutation(len(whole.labels))
    test, train = np.split(order, [len(order) // _TEST_FRACTION])
    return {split: Images(whole.images[own], whole.labels[own]) for split, own in (("train", train), ("test", test))}


def _shuffled(part: Images) -> Images:
    order = np.random.default_rng(SEED).permutation(len(part.labels))
    return Images(part.images[order], part.labels[order])


def _check_splits(place: Path, splits: dict[str, Images], classes: int) -> None:
    """Raises a UserError where the split leaves a class without training images, or the test images are not like them."""
    counts = np.bincount(splits["train"].labels, minlength=classes)
    if not counts.all():
        _raise_for_class(place, int(counts.argmin()))
    train, test = (splits[split].images.shape for split in ("train", "test"))
    if not test[0] or train[1:] != test[1:]:
        raise UserError(f"{place}: expected test images of shape {train[1:]}, found {test}")
