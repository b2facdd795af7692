"""The numbers that the sources published, by cell."""

from __future__ import annotations

import csv
import functools
import importlib.resources
from collections.abc import Callable, Mapping

from adv_networks.claims import Key, Number, cell_key
from adv_networks.experiments import DATASETS

_DIRECT_APPROACH = "direct_approach"

# The test images of data sets that are published about and not declared here: the validation images of ImageNet.
_TEST_IMAGES = {"imagenet": 50_000}
# What a table is compared with whose source does not say which data set it is of.
_UNSTATED = "mnist"


@functools.cache
def published(source: str | None = None) -> Mapping[Key, float]:
    """The numbers of one source, or of all, by (table, dataset, row, column), and metric where it is not accuracy.

    Shares and confidences are in percent; a metric that begins with "images" is a count. They are in the order of the source's
    tables.

    Args:
        source: name of a module of `papers`.

    Example:
        >>> from adv_networks.papers.published import published
        >>> published("direct_approach")["1", "mnist", "standard (A)", "No Noise"]
        99.14
    """
    numbers = {}
    for line in _lines("tables.csv") if source in (None, _DIRECT_APPROACH) else ():
        numbers[_key(line)] = float(line["accuracy_percent"])
    for line in _lines("other_tables.csv"):
        if source in (None, line["source"]):
            # Fractions as they are printed have at most four decimals.
            numbers[_key(line)] = float(line["value"]) if is_count(_key(line)) else round(100 * float(line["value"]), 6)
    return numbers


def published_numbers(source: str, images: Callable[[Key], int] | None = None) -> dict[Key, Number]:
    """The numbers of one source with how many images each is of.

    Args:
        source: name of a module of `papers`.
        images: of a cell; None takes each to be of all the data set's test images.
    """
    images = images or all_test_images
    return {key: Number(value, None if is_count(key) else images(key)) for key, value in published(source).items()}


def all_test_images(key: Key) -> int:
    """How many test images the data set of a cell has."""
    dataset = key[1]
    return DATASETS[dataset].test_images if dataset in DATASETS else _TEST_IMAGES[dataset]


def is_count(key: Key) -> bool:
    """Whether a cell holds a number of images, not a share of them."""
    return key[-1].startswith("images") and len(key) > len(("table", "dataset", "row", "column"))


def _key(line: Mapping[str, str]) -> Key:
    dataset = _UNSTATED if line["dataset"] == "unstated" else line["dataset"]
    return cell_key(line["table"], dataset, line["row"], line["column"], line.get("metric", "accuracy"))


def _lines(file: str) -> list[dict[str, str]]:
    text = importlib.resources.files("adv_networks").joinpath("published", file).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
