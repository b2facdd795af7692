"""The declarations of the labelled image data sets; `data` reads their images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adv_networks.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A labelled image data set.

    Attributes:
        name: its name in runs, in records and on the command line.
        tfds_name: its name in TensorFlow Datasets; None if it is not from there.
        image_shape: height, width, channels.
        classes: number of classes.
        train_images: number of training images.
        test_images: number of test images.
        validation: how many of the training images are held out for validation.
        path: the folder or file of a user's own data set.
        class_names: names of the classes; if empty, classes are named by their numbers.
        has_validation: whether the validation images are a split of their own and not training images.
        split: how the images of a user's own data set were split for training and testing.
        options: the flags, besides its path, with which a user's own data set was read.

    Examples:
        >>> from adv_networks.experiments import DATASETS
        >>> DATASETS["cifar10"].image_shape, DATASETS["cifar10"].class_name(3)
        ((32, 32, 3), 'cat')
    """

    name: str
    tfds_name: str | None
    image_shape: tuple[int, int, int]
    classes: int
    train_images: int
    test_images: int
    validation: int
    path: str | None = None
    class_names: tuple[str, ...] = ()
    has_validation: bool = False
    split: str = ""
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.name)

    def class_name(self, label: int) -> str:
        """The name of the class with this label."""
        return self.class_names[label] if self.class_names else str(label)


DATASETS: dict[str, Dataset] = {}

# Each opener takes what a user gave as a data set, such as the path of a folder, or arrays. It returns the data set that it
# reads, or None if it does not read that kind.
OPENERS: list[Callable[[Any], Dataset | None]] = []


def declare(*datasets: Dataset) -> None:
    """Registers data sets by their names.

    Examples:
        >>> from adv_networks.experiments import DATASETS, Dataset, declare
        >>> declare(Dataset("shapes", None, (16, 16, 1), classes=3, train_images=300, test_images=90, validation=30))
        >>> DATASETS.pop("shapes").classes  # It is gone again.
        3
    """
    DATASETS.update({dataset.name: dataset for dataset in datasets})


def find_dataset(name: Any) -> Dataset:
    """The declared data set of that name, in upper or lower case, or the data set that an opener reads from a path or arrays.

    A data set that an opener reads is declared from then on.

    Raises:
        UsageError: there is no such data set.
        UserError: the path holds no data set.

    Examples:
        >>> from adv_networks.experiments import find_dataset
        >>> find_dataset("MNIST").train_images
        60000
    """
    if isinstance(name, (tuple, list)):
        for opener in OPENERS:
            if (found := opener(name)) is not None:
                return found
    name = str(name)
    if name not in DATASETS and name.lower() in DATASETS and not Path(name).exists():
        name = name.lower()
    if name not in DATASETS:
        for opener in OPENERS:
            if (found := opener(name)) is not None:
                return DATASETS.setdefault(found.name, found)
    if name not in DATASETS:
        raise UsageError(f"dataset: expected one of {', '.join(DATASETS)}, a folder of images or an .npz, received {name}")
    return DATASETS[name]


declare(
    Dataset("digits", None, (8, 8, 1), 10, 1_437, 360, 237),
    Dataset("mnist", "mnist", (28, 28, 1), 10, 60_000, 10_000, 5_000),
    Dataset("svhn", "svhn_cropped", (32, 32, 3), 10, 73_257, 26_032, 5_000),
    Dataset(
        "cifar10", "cifar10", (32, 32, 3), 10, 50_000, 10_000, 5_000,
        class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    Dataset("cifar100", "cifar100", (32, 32, 3), 100, 50_000, 10_000, 5_000),
)  # fmt: skip
