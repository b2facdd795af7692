"""The training methods, by name; `defences` declares them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from adv_networks.experiments.experiment import Experiment


class Method(Protocol):
    """The part of a training method that an experiment knows; `defences.base.Defence` documents the attributes.

    Examples:
        >>> from adv_networks.experiments import METHODS
        >>> METHODS["advnet"].letter, METHODS["advnet"].trains_generator, METHODS["pgd"].trains_generator
        ('C', True, False)
    """

    name: str
    letter: str
    title: str
    reads: tuple[str, ...]
    trains_classifier: bool
    knows_classifier: bool
    stands_in_front: bool
    static_examples: bool
    settings: Mapping[str, Any]
    Settings: type | None

    @property
    def trains_generator(self) -> bool:
        """Whether the run has generators of its own."""

    @property
    def gives_classifier(self) -> bool:
        """Whether a run has a classifier to evaluate: the one that it trains, or the one that it stands in front of."""

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """The experiments whose finished runs this experiment builds on, by their role."""

    def behind(self, spec: Experiment) -> Experiment | None:
        """The run of the classifier that this method stands in front of; None if it stands in front of none."""

    def adaptive_for(self, spec: Experiment) -> str:
        """The attack that knows how this defence works with these settings, as a text of the attack grammar."""

    def check(self, spec: Experiment) -> None:
        """Raises a UsageError if the experiment's settings contradict one another."""

    def files(self, spec: Experiment) -> tuple[str, ...]:
        """The names of the files of a finished run."""

    def multiply_adds(self, spec: Experiment) -> float:
        """Multiply-adds of a step, per image."""


# Experiments see each as a `Method`; training sees it as a `defences.Defence`.
METHODS: dict[str, Any] = {}
