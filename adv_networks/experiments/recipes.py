"""Recipes and protocols: named settings, which `papers` declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from adv_networks.experiments.datasets import Dataset

# What a source gives a data set, by the data set's name.
RECIPES: dict[str, Mapping[str, Any]] = {}

# What a data set without a recipe gets: a user's own.
DEFAULT_RECIPE: list[Callable[[Dataset], Mapping[str, Any]]] = []


def recipe_of(dataset: Dataset) -> Mapping[str, Any]:
    """The recipe of a data set: its own, or the one that its images ask for."""
    return RECIPES[dataset.name] if dataset.name in RECIPES else DEFAULT_RECIPE[-1](dataset)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Named settings laid over the data set's recipe: a sequence of (data sets, methods, settings), None meaning all.

    Its `steps`, if any, are a number of iterations by scale, for scales whose own is not meant.
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
