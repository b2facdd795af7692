"""Any data set of TensorFlow Datasets that is prepared in its directory, by its name: `tfds:imagenette/160px-v2`.

Its classes, parts, counts and shape are read from its description, without TensorFlow. Images of several sizes are resized to
one. The images are decoded once, in the official order, and memory-mapped from a file of the cache directory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adv_networks.data import mapped
from adv_networks.data.images import Images, NoSuchSplit
from adv_networks.data.sources.base import Place, Source, register
from adv_networks.data.sources.tfds import Tfds, directory_of
from adv_networks.errors import UsageError, UserError, printable
from adv_networks.experiments import DATASETS, Dataset
from adv_networks.lazy import np
from adv_networks.storage.files import read_text, reason
from adv_networks.storage.names import for_files

PREFIX = "tfds:"
_BATCH = 256
_LARGEST_VALIDATION = 5_000
# The names of the test part; if there is no test set, the validation set replaces it.
_TEST = ("test", "validation")


class _Description(NamedTuple):
    """The description of a prepared data set."""

    shape: tuple[int | None, ...]
    classes: int
    class_names: tuple[str, ...]
    counts: dict[str, int]


def declare(name: str, data_dir: Any = None, resize: tuple[int, int] | None = None) -> Dataset:
    """Declares the data set `tfds:NAME`, with images resized to a height and width.

    Args:
        name: its name, with or without `tfds:`; NAME/CONFIG if it has configurations.
        data_dir: TFDS directory; None for the default of TFDS.
        resize: height and width; None for images that already have one size.

    Raises:
        UserError: it is not prepared in the directory, or has no images with labels.
        UsageError: the name is empty or leaves the directory, or its files would have another data set's name; or its images
            have several sizes, and no size is given.

    Examples:
        >>> from adv_networks import data, errors
        >>> try:
        ...     data.prepared.declare("imagenette/160px-v2", "missing", resize=(64, 64))
        ... except errors.UserError as error:
        ...     print(error)
        data set imagenette/160px-v2: expected it prepared in ..., found none ...
    """
    name = name.removeprefix(PREFIX)
    if not all(part.strip(".") for part in name.split("/")):  # Other paths would leave the directory.
        raise UsageError(f"dataset: expected {PREFIX}NAME or {PREFIX}NAME/CONFIG, received {PREFIX}{name}")
    place = _place(name, data_dir)
    said = _read(place, name)
    if resize is None and None in said.shape:
        raise UsageError(f"resize: expected HEIGHT,WIDTH for data set {name}, whose images are of several sizes, received none")
    sides = resize or said.shape[:2]
    test = next((part for part in _TEST if part in said.counts), None)
    if "train" not in said.counts or test is None:
        raise UserError(f"data set {name} in {place}: expected parts train and test, found {', '.join(said.counts)}")
    parts = {"train": "train", "test": test}
    title = for_files(name) + (f"-{sides[0]}x{sides[1]}" if resize else "")
    other = DATASETS.get(title)
    if other is not None and other.tfds_name != name:
        raise UsageError(
            f"data set {name}: expected a name whose files differ from those of data set {other.tfds_name or other.name}, "
            f"received one that becomes {title} too"
        )
    counts = said.counts["train"], said.counts[test]
    declared = Dataset(
        title, name, (int(sides[0]), int(sides[1]), int(said.shape[2] or 3)), said.classes, *counts,
        min(_LARGEST_VALIDATION, counts[0] // 10), f"{PREFIX}{name}", said.class_names, split="as given",
        options={} if resize is None else {"resize": ",".join(map(str, resize))},
    )  # fmt: skip
    DATASETS[title] = declared
    return register(declared, lambda _: _Prepared(declared, Place(data_dir), place, parts))


class _Prepared(Source):
    """The images of a prepared data set, at the declared size."""

    def __init__(self, dataset: Dataset, place: Place, directory: Path, parts: dict[str, str]):
        self.dataset, self.place, self.directory, self.parts = dataset, place, directory, parts

    def read(self, split: str, limit: int = 0) -> Images:
        """See `Source.read`."""
        self.check([split])
        identity = ["tfds", self.dataset.name, split, str(self.directory.absolute()), str(self.dataset.image_shape)]
        found = [(file.name, file.stat()) for file in sorted(self.directory.iterdir())]
        state = json.dumps([[name, status.st_size, status.st_mtime_ns] for name, status in found])
        parts, _ = mapped.read(identity, state) or mapped.written(identity, state, lambda into: self._decode(split, into))
        return parts[split].first(limit)

    def check(self, splits: Sequence[str]) -> None:
        """See `Source.check`."""
        for split in splits:
            if split not in self.parts:
                raise NoSuchSplit(f"data set {self.dataset.name}: expected a split {' or '.join(self.parts)}, received {split}")

    def _decode(self, split: str, into: Path) -> dict[str, Any]:
        shape = self.dataset.image_shape
        count = self.dataset.train_images if split == "train" else self.dataset.test_images
        images = mapped.new_array(into, f"{split}-images", np.uint8, count, *shape)
        labels = mapped.new_array(into, f"{split}-labels", np.int32, count)
        done = 0
        source = Tfds(self.dataset.tfds_name or "", self.place)
        for some, own in source.batches(self.parts[split], _BATCH, resize=shape[:2]):
            images[done : done + len(some)], labels[done : done + len(own)] = some, own
            done += len(own)
        if done != count:
            raise UserError(f"data set {self.dataset.name}: expected {count} images in {split}, as declared, found {done}")
        return {"parts": [split]}


def _place(name: str, data_dir: Any) -> Path:
    """The directory of the newest prepared version."""
    root = directory_of(data_dir)
    found = sorted((root / name).glob("*/dataset_info.json"), key=lambda file: _version(file.parent.name)) if root else []
    if not found:
        raise UserError(
            f"data set {name}: expected it prepared in {root / name if root else 'a directory'}, found none "
            "(--data_dir says where it is; tfds build, of TensorFlow Datasets, prepares it)"
        )
    return found[-1].parent


def _version(text: str) -> list[int]:
    return [int(part) if part.isdecimal() else -1 for part in text.split(".")]


def _read(place: Path, name: str) -> _Description:
    try:
        features = json.loads(read_text(place / "features.json"))["featuresDict"]["features"]
        parts = json.loads(read_text(place / "dataset_info.json"))["splits"]
        dimensions = features["image"]["image"]["shape"]["dimensions"]
        shape = tuple(int(size) if int(size) > 0 else None for size in dimensions)
        classes = int(features["label"]["classLabel"]["numClasses"])
        counts = {part["name"]: sum(map(int, part["shardLengths"])) for part in parts}
        named = place / "label.labels.txt"
        names = tuple(map(printable, read_text(named).splitlines())) if named.is_file() else ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"data set {name} in {place}: expected images with labels, found: {reason(error)}") from None
    if len(shape) != 3 or classes < 2:
        raise UserError(f"data set {name} in {place}: expected images of classes, found shape {shape} and {classes} classes")
    return _Description(shape, classes, names if len(names) == classes else (), counts)
