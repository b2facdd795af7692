"""Recipes and protocols: sets of settings that `papers` declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from adv_networks.experiments.datasets import Dataset

# The settings that a source gives for a data set, by the data set's name.
RECIPES: dict[str, Mapping[str, Any]] = {}

# Makes the recipe of a data set that has none, such as a user's own.
DEFAULT_RECIPE: list[Callable[[Dataset], Mapping[str, Any]]] = []


def recipe_of(dataset: Dataset) -> Mapping[str, Any]:
    """The recipe of a data set: its own, or the default for its images."""
    return RECIPES[dataset.name] if dataset.name in RECIPES else DEFAULT_RECIPE[-1](dataset)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Named settings that override the data set's recipe: `rules` are (data sets, methods, settings), where None means all.

    A rule's `steps` map scales to iterations; a scale that is not listed keeps its own number.

    Examples:
        >>> from adv_networks.experiments import Protocol
        >>> protocol = Protocol("mine", "a larger ball on MNIST", ((("mnist",), None, {"epsilon": 0.4}),))
        >>> protocol.settings("mnist", "pgd"), protocol.settings("svhn", "pgd")
        ({'epsilon': 0.4}, {})
    """

    name: str
    title: str
    rules: tuple[tuple[tuple[str, ...] | None, tuple[str, ...] | None, Mapping[str, Any]], ...] = ()

    def settings(self, dataset: str, method: str) -> dict[str, Any]:
        """The settings of this protocol for one data set and method; a later rule wins."""
        merged: dict[str, Any] = {}
        for datasets, methods, settings in self.rules:
            if (datasets is None or dataset in datasets) and (methods is None or method in methods):
                merged.update(settings)
        return merged


PROTOCOLS: dict[str, Protocol] = {}
