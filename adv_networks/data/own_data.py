"""Your own data set, from a folder of images or an `.npz`: read, split, shuffled, named and declared."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adv_networks.data import mapped
from adv_networks.data.images import Images
from adv_networks.data.sources import folder, npz, pictures
from adv_networks.data.sources.base import InMemory, register
from adv_networks.errors import UsageError, UserError, printable
from adv_networks.experiments import DATASETS, OPENERS, Dataset
from adv_networks.lazy import np
from adv_networks.storage.hashes import arrays_hash
from adv_networks.storage.names import for_files

# Seed of the split, if the data has one part, and of the order. Files come class by class, but "the first images" of a split,
# which validation and small scales take, must have all classes.
SEED = 0
_TEST_FRACTION = 5
_DIGITS_OF_HASH = 8
_LARGEST_VALIDATION = 5_000
_LARGEST_SIDE = 2**15
BY_NUMBERS = ("numbers",)
GIVEN, BY_CLASS = "as given", f"a fifth of each class for testing, seed {SEED}"


class _Own(NamedTuple):
    """A data set after reading: its name, its parts in the order of use, its classes, and how it was split."""

    name: str
    parts: dict[str, Images]
    classes: int
    class_names: tuple[str, ...]
    split: str


def open_any(name: Any) -> Dataset | None:
    """The data set in the folder or `.npz` at this path, as from `opened`; None if nothing is there.

    Arrays (images, labels), or ((images, labels), (test images, test labels)), are declared by `from_arrays`.
    """
    if isinstance(name, (tuple, list)):
        if len(name) != 2:
            raise UsageError(f"dataset: expected (images, labels), or two such pairs, received {len(name)} parts")
        return from_arrays(*name) if all(isinstance(part, (tuple, list)) for part in name) else from_arrays((name[0], name[1]))
    # Unlike Path.exists, it returns False for names that are too long.
    if not os.path.exists(name):  # noqa: PTH110
        return None
    return opened(name)


OPENERS.append(open_any)


def opened(
    path: str | os.PathLike,
    *,
    class_order: Sequence[str] = BY_NUMBERS,
    resize: tuple[int, int] | None = None,
    in_memory: int = mapped.IN_MEMORY,
) -> Dataset:
    """The user's own data set in the folder or `.npz` at this path.

    It is read once per process and stays declared. Its name is that of the file, followed by the first digits of a hash of all
    images and labels, so that runs on other data have other names. A folder holds one folder of PNG or JPEG images per class,
    or `train` and `test` with such folders, and perhaps `val`, whose images are then used for validation. An `.npz` holds
    x_train, y_train, x_test and y_test, or images and labels: images uint8 [N, H, W] or [N, H, W, C], labels from 0. If the
    data has only one part, a fifth of each class, drawn by a fixed seed, is used for testing. Images of a folder that do not
    fit into memory are decoded once into files of the cache directory (`data.cache.directory`) and read from there.

    Args:
        path: path of the folder or file.
        class_order: how class folders are numbered, see `sources.folder.listed`.
        resize: height and width of all images after resizing; None to refuse images of several sizes.
        in_memory: the most bytes of decoded images to keep in memory.

    Raises:
        UserError: the path has no valid data set: other files, images of several sizes, or a class without training images.
        UsageError: `class_order` does not name the classes of the data set, or `resize` is not two whole numbers above 0.

    Examples:
        >>> import tempfile, numpy as np
        >>> from adv_networks import data
        >>> with tempfile.TemporaryDirectory() as place:
        ...     np.savez(f"{place}/mine.npz", images=np.zeros((10, 8, 8), np.uint8), labels=np.arange(10) % 2)
        ...     data.own_data.opened(f"{place}/mine.npz").test_images
        2
    """
    class_order = (class_order,) if isinstance(class_order, str) else tuple(class_order)
    place, resize = os.fsdecode(path), None if resize is None else _sides(resize)
    if "\0" in place:
        raise UsageError(f"dataset: expected a path, received {place}")
    own = _read(place, class_order, resize, in_memory)
    return _declared(place, own, class_order, resize)


def _sides(resize: Any) -> tuple[int, int]:
    """Height and width; raises a UsageError unless they are two whole numbers above 0."""
    sides = tuple(resize) if isinstance(resize, Iterable) else ()
    if len(sides) != 2 or not all(isinstance(side, (int, np.integer)) and 0 < side < _LARGEST_SIDE for side in sides):
        raise UsageError(f"resize: expected height and width, from 1 to {_LARGEST_SIDE - 1}, received {resize}")
    return int(sides[0]), int(sides[1])


def from_arrays(train: tuple[Any, Any], test: tuple[Any, Any] | None = None, *, name: str = "arrays") -> Dataset:
    """Declares a data set from arrays; `an.experiment` and `an.train` take its name.

    Args:
        train: images, uint8 or floats in [0,1], [N, H, W] or [N, H, W, C], and labels, integers [N] or one-hot rows.
        test: the same for testing; None to use a fifth of each class of the training data.
        name: its name, to which digits of a hash are added.

    Raises:
        UsageError: invalid images or labels.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import data
        >>> images, labels = np.zeros((10, 8, 8, 1)), np.arange(10) % 2
        >>> data.from_arrays((images, labels)).classes
        2
    """
    given = {"train": train} | ({} if test is None else {"test": test})
    parts = {part: npz.checked((f"{part} images", f"{part} labels"), *arrays) for part, arrays in given.items()}
    try:
        own = _of_arrays(name, parts)
    except UserError as error:
        raise UsageError(str(error)) from None
    return _declared(None, own)


def forget() -> None:
    """Clears the cache of `opened`, which then reads data sets again."""
    _read.cache_clear()


def _declared(
    path: str | None, own: _Own, class_order: Sequence[str] = BY_NUMBERS, resize: tuple[int, int] | None = None
) -> Dataset:
    shape = own.parts["train"].images.shape[1:]
    train, test = (len(own.parts[part].labels) for part in ("train", "test"))
    half_of_each = int((np.bincount(own.parts["train"].labels) // 2).sum())
    held_out = min(_LARGEST_VALIDATION, train // 10, half_of_each)
    if "validation" in own.parts:
        held_out = len(own.parts["validation"].labels)
    options = {} if tuple(class_order) == BY_NUMBERS else {"class_order": ",".join(class_order)}
    options |= {} if resize is None else {"resize": ",".join(map(str, resize))}
    declared = Dataset(
        own.name, None, shape, own.classes, train, test, held_out, path, own.class_names,
        has_validation="validation" in own.parts, split=own.split, options=options,
    )  # fmt: skip
    # The name does not depend on the names of class folders. Of data sets that differ only in these, the last one read counts.
    DATASETS[own.name] = declared
    return register(declared, lambda place: InMemory(path or own.name, own.parts))


@functools.cache
def _read(path: str, class_order: tuple[str, ...], resize: tuple[int, int] | None, in_memory: int) -> _Own:
    place = Path(path)
    if place.is_dir():
        return _of_folder(place, class_order, resize, in_memory)
    if class_order != BY_NUMBERS:
        raise UsageError(f"class_order: expected a data set of class folders, received {path}, whose labels are numbers")
    parts = npz.read(place)
    if resize is not None:
        parts = {part: Images(pictures.resized(own.images, resize), own.labels) for part, own in parts.items()}
    return _of_arrays(place.stem, parts, where=str(place))


def _of_arrays(stem: str, parts: dict[str, Images], *, where: str = "arrays") -> _Own:
    """The data set in arrays of one or two parts."""
    labels = {part: own.labels for part, own in parts.items()}
    classes = _classes(where, labels)
    chosen = _chosen(labels)
    ordered = {part: Images(parts[source].images[rows], parts[source].labels[rows]) for part, (source, rows) in chosen.items()}
    _check_alike(where, ordered)
    return _named(stem, ordered, classes, (), GIVEN if "test" in parts else BY_CLASS)


def _of_folder(place: Path, class_order: tuple[str, ...], resize: tuple[int, int] | None, in_memory: int) -> _Own:
    """The data set in the class folders of a folder; images that are already in the cache directory are not decoded."""
    found = folder.listed(place, class_order)
    chosen = _chosen(found.labels)
    files = {part: [found.files[source][row] for row in rows] for part, (source, rows) in chosen.items()}
    labels = {part: found.labels[source][rows] for part, (source, rows) in chosen.items()}
    if empty := [part for part, own in labels.items() if not len(own)]:
        raise UserError(f"{place}: expected images in every part, found none in {empty[0]}")
    names, split = tuple(map(printable, found.class_names)), GIVEN if len(found.files) > 1 else BY_CLASS
    first = pictures.read(Path(files["train"][0]), resize)
    stem, count = place.resolve().name, sum(map(len, files.values()))
    if 3 * count * first.shape[0] * first.shape[1] <= in_memory:
        arrays = _decoded(files, first, resize, lambda part, dtype, *shape: np.empty(shape, dtype))
        return _named(stem, {part: Images(own, labels[part]) for part, own in arrays.items()}, len(names), names, split)

    def decode(directory: Path) -> dict[str, Any]:
        new = functools.partial(mapped.new_array, directory)
        arrays = _decoded(files, first, resize, lambda part, *kind: new(f"{part}-images", *kind))
        for part, own in labels.items():
            new(f"{part}-labels", np.int32, len(own))[:] = own
        whole = {part: Images(own, labels[part]) for part, own in arrays.items()}
        return {"parts": list(whole), "name": _named(stem, whole, len(names), names, split).name}

    identity = ["folder", str(place.resolve()), *class_order, str(resize)]
    state = _state(file for own in found.files.values() for file in own)
    parts, said = mapped.read(identity, state) or mapped.written(identity, state, decode)
    return _Own(said["name"], parts, len(names), names, split)


def _decoded(
    files: dict[str, list[str]], first: np.ndarray, resize: tuple[int, int] | None, new: Callable[..., np.ndarray]
) -> dict[str, np.ndarray]:
    """The images of each part in new arrays, with one channel if all are grey, otherwise three."""
    for channels in (1, 3) if first.ndim == 2 else (3,):
        arrays = {part: new(part, np.uint8, len(own), *first.shape[:2], channels) for part, own in files.items()}
        if all(folder.decoded(files[part], into, resize) for part, into in arrays.items()):
            break
    return arrays


def _state(files: Iterable[str]) -> str:
    """A hash of the names, sizes and times of files."""
    total = hashlib.sha256()
    for file in files:
        status = os.stat(file)  # noqa: PTH116
        total.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def _chosen(labels: Mapping[str, np.ndarray]) -> dict[str, tuple[str, np.ndarray]]:
    """For each part of the data set, the given part that it comes from and the rows of it, in the order of use."""
    rows = {part: np.arange(len(own)) for part, own in labels.items()}
    if "test" in labels:
        origins = {part: part for part in ("train", "test", "validation") if part in labels}
    else:
        rows["train"], rows["test"] = _split(labels["train"])
        origins = {"train": "train", "test": "train"}
    orders = {part: np.random.default_rng(SEED).permutation(rows[part]) for part in origins}
    if "validation" not in origins:
        orders["train"] = _rare_ones_behind(orders["train"], labels["train"])
    return {part: (origin, orders[part]) for part, origin in origins.items()}


def _rare_ones_behind(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rows, reordered so that at most half of each class is in the first fifth, from which validation is taken."""
    own = labels[rows]
    grouped = np.argsort(own, kind="stable")
    counts = np.bincount(own)
    ranks = np.empty_like(grouped)
    ranks[grouped] = np.arange(len(own)) - np.repeat(np.cumsum(counts) - counts, counts)
    front = np.flatnonzero(ranks < counts[own] // 2)[: len(own) // _TEST_FRACTION]
    return np.concatenate([rows[front], np.delete(rows, front)])


def _split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows for training and for testing: a fifth, stratified by class, and at least one of any class with two images."""
    counts = np.bincount(labels)
    shares = counts // _TEST_FRACTION
    # The classes with the largest remainders make up for what rounding down has lost.
    remainders = np.argsort(-(counts % _TEST_FRACTION), kind="stable")
    shares[remainders[: len(labels) // _TEST_FRACTION - int(shares.sum())]] += 1
    shares = np.where(counts > 1, np.maximum(shares, 1), 0)
    rng = np.random.default_rng(SEED)
    rows = [rng.permutation(np.flatnonzero(labels == label))[:share] for label, share in enumerate(shares.tolist()) if share]
    chosen = np.sort(np.concatenate(rows)) if rows else np.empty(0, np.int64)
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def _classes(where: str, labels: Mapping[str, np.ndarray]) -> int:
    """The number of classes of arrays; every class must have training images."""
    classes = 1 + max(int(own.max(initial=-1)) for own in labels.values())
    present = np.unique(labels["train"])
    gaps = np.flatnonzero(present != np.arange(len(present)))
    first_missing = int(gaps[0]) if len(gaps) else len(present)
    if classes < 2 or first_missing < classes:
        found = f"none of class {first_missing}" if classes > 1 else "one class"
        raise UserError(f"{where}: expected training images of every class from 0 on, and of at least two, found {found}")
    return classes


def _check_alike(where: str, parts: Mapping[str, Images]) -> None:
    """Raises a UserError unless there are test images and they have the shape of the training images."""
    train, test = (parts[part].images.shape for part in ("train", "test"))
    if not test[0] or train[1:] != test[1:]:
        raise UserError(f"{where}: expected test images of shape {train[1:]}, found {test}")


def _named(stem: str, parts: dict[str, Images], classes: int, class_names: tuple[str, ...], split: str) -> _Own:
    digest = arrays_hash(*(array for own in parts.values() for array in own))[:_DIGITS_OF_HASH]
    return _Own(f"{for_files(stem)}-{digest}", parts, classes, class_names, split)
