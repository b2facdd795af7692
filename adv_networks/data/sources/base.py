"""What a source of images is, and the source of each data set."""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Callable, Sequence

from adv_networks.data.images import Images, NoSuchSplit
from adv_networks.experiments import DATASETS, Dataset


@dataclasses.dataclass(frozen=True)
class Place:
    """Where data sets are looked for: a directory of TFDS (None: TFDS's own default), and whether to fetch what is missing."""

    data_dir: str | os.PathLike | None = None
    download: bool = False


class Source(abc.ABC):
    """Gives the images of one data set."""

    @abc.abstractmethod
    def read(self, split: str, limit: int = 0) -> Images:
        """The first `limit` images of a split in its official order; 0 means all.

        Raises:
            NoSuchSplit: the data set has no such split.
            UserError: the data set is not there, or damaged.
        """

    @abc.abstractmethod
    def check(self, splits: Sequence[str]) -> None:
        """Raises what `read` of these splits would raise, as far as that is known without reading their images."""


class InMemory(Source):
    """A data set whose splits are there already."""

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


# By the data set's name; one without is of TensorFlow Datasets.
SOURCES: dict[str, Callable[[Place], Source]] = {}


def register(dataset: Dataset, source: Callable[[Place], Source]) -> Dataset:
    """Declares a data set, if it is not, and says where its images come from; returns its declaration."""
    SOURCES[dataset.name] = source
    return DATASETS.setdefault(dataset.name, dataset)
