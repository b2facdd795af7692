"""The base class of sources of images, and the source of each data set."""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Callable, Sequence

from adv_networks.data.images import Images, NoSuchSplit
from adv_networks.experiments import DATASETS, Dataset


@dataclasses.dataclass(frozen=True)
class Place:
    """Where to look for data sets: a TFDS directory (None: the default of TFDS), and whether to download what is missing."""

    data_dir: str | os.PathLike | None = None
    download: bool = False


class Source(abc.ABC):
    """A source of the images of one data set."""

    @abc.abstractmethod
    def read(self, split: str, limit: int = 0) -> Images:
        """The first `limit` images of a split in its official order; 0 means all.

        Raises:
            NoSuchSplit: the data set has no such split.
            UserError: the data set is missing or damaged.
        """

    @abc.abstractmethod
    def check(self, splits: Sequence[str]) -> None:
        """Raises the errors of `read` for these splits that can be found without reading their images."""


class InMemory(Source):
    """A data set whose splits are already in memory."""

    def __init__(self, name: str, splits: dict[str, Images]):
        self.name, self.splits = name, splits

    def read(self, split: str, limit: int = 0) -> Images:
        """See `Source.read`."""
        self.check([split])
        return self.splits[split].first(limit)

    def check(self, splits: Sequence[str]) -> None:
        """See `Source.check`."""
        for split in splits:
            if split not in self.splits:
                raise NoSuchSplit(f"{self.name}: expected split {' or '.join(self.splits)}, received {split}")


# By the data set's name; data sets that are not listed come from TensorFlow Datasets.
SOURCES: dict[str, Callable[[Place], Source]] = {}


def register(dataset: Dataset, source: Callable[[Place], Source]) -> Dataset:
    """Declares a data set, unless it is already declared, and registers its source; returns its declaration."""
    SOURCES[dataset.name] = source
    return DATASETS.setdefault(dataset.name, dataset)
