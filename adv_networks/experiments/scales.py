"""Scales: how much is computed, never what."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is computed, never what. Mappings are by data set, with "*" for the others; 0 images means all.

    The recipe's widths are divided by the divisors, and the steps of the strong attacks by `attack_divisor`. If `validation`
    does not give the number of images to hold out for validation, the data set does.

    Examples:
        >>> from adv_networks.experiments import SCALES
        >>> SCALES["paper"].steps["*"], SCALES["cpu"].steps["mnist"]
        (200000, 3000)
    """

    name: str
    title: str
    steps: Mapping[str, int]
    generator_divisor: Mapping[str, int]
    classifier_divisor: Mapping[str, int]
    train_images: int = 0
    test_images: int = 0
    validation: Mapping[str, int] = dataclasses.field(default_factory=dict)
    attack_divisor: int = 1

    def __hash__(self) -> int:
        return hash(self.name)


_ONE = {"*": 1}

SCALES: dict[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale(
            "tiny", "seconds, for tests: the numbers mean nothing", steps={"*": 8, "mnist": 20, "digits": 20},
            generator_divisor={"*": 16, "digits": 1}, classifier_divisor=_ONE, train_images=1024, test_images=128,
            validation={"*": 64}, attack_divisor=50,
        ),
        Scale(
            "cpu", "two cores, minutes to an hour a run", steps={"*": 1_000, "mnist": 3_000, "digits": 600},
            generator_divisor={"*": 4, "mnist": 8, "digits": 1}, classifier_divisor=_ONE,
        ),
        Scale(
            "paper", "the paper's 200k iterations at full width", steps={"*": 200_000, "digits": 20_000},
            generator_divisor=_ONE, classifier_divisor=_ONE, validation={"svhn": 0, "cifar10": 0, "cifar100": 0},
        ),
    )
}  # fmt: skip


def scaled(dataset: str, scale: str, settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The settings, with widths divided by the divisors of the scale."""
    amount = SCALES[scale]
    divisors = {"generator_width": amount.generator_divisor, "classifier_width": amount.classifier_divisor}
    return {
        key: max(1, value // divisors[key].get(dataset, divisors[key]["*"])) if key in divisors else value
        for key, value in settings
    }
