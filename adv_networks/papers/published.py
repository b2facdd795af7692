"""The numbers that the sources published, by cell."""

from __future__ import annotations

import csv
import functools
import importlib.resources
from collections.abc import Callable, Mapping

from adv_networks.claims import Key, Number, cell_key
from adv_networks.experiments import DATASETS

_DIRECT_APPROACH = "direct_approach"

# Numbers of test images of data sets that sources use but that are not declared here: ImageNet's validation images.
_TEST_IMAGES = {"imagenet": 50_000}
# The data set with which a table is compared if its source does not state one.
_UNSTATED = "mnist"


@functools.cache
def published(source: str | None = None) -> Mapping[Key, float]:
    """The numbers of one source, or of all, by (table, dataset, row, column), and the metric unless it is accuracy.

    Proportions and confidences are in percent; a metric that begins with "images" is a count. The order is that of the source's
    tables.

    Args:
        source: name of a module of `papers`.

    Examples:
        >>> from adv_networks.papers.published import published
        >>> published("direct_approach")["1", "mnist", "standard (A)", "No Noise"]
        99.14
    """
    numbers = {}
    for line in _lines("tables.csv") if source in (None, _DIRECT_APPROACH) else ():
        numbers[_key(line)] = float(line["accuracy_percent"])
    for line in _lines("other_tables.csv"):
        if source in (None, line["source"]):
            # Printed fractions have at most four decimals.
            numbers[_key(line)] = float(line["value"]) if is_count(_key(line)) else round(100 * float(line["value"]), 6)
    return numbers


def published_numbers(source: str, images: Callable[[Key], int] | None = None) -> dict[Key, Number]:
    """The numbers of one source, each with its number of images.

    Args:
        source: name of a module of `papers`.
        images: returns the number of images of a cell; None for all test images of the data set.
    """
    images = images or all_test_images
    return {key: Number(value, None if is_count(key) else images(key)) for key, value in published(source).items()}


def all_test_images(key: Key) -> int:
    """The number of test images of a cell's data set."""
    dataset = key[1]
    return DATASETS[dataset].test_images if dataset in DATASETS else _TEST_IMAGES[dataset]


def is_count(key: Key) -> bool:
    """Whether a cell holds a number of images, not a proportion."""
    return key[-1].startswith("images") and len(key) > len(("table", "dataset", "row", "column"))


def _key(line: Mapping[str, str]) -> Key:
    dataset = _UNSTATED if line["dataset"] == "unstated" else line["dataset"]
    return cell_key(line["table"], dataset, line["row"], line["column"], line.get("metric", "accuracy"))


def _lines(file: str) -> list[dict[str, str]]:
    text = importlib.resources.files("adv_networks").joinpath("published", file).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
