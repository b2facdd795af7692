"""The ways to train that there are, by name; `defences` declares them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from adv_networks.experiments.experiment import Experiment


class Method(Protocol):
    """What an experiment knows of the way that it trains; `defences.base.Defence` says what each of these is."""

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
    adaptive: str

    @property
    def trains_generator(self) -> bool:
        """Whether the run has generators of its own."""

    @property
    def gives_classifier(self) -> bool:
        """Whether a run of it gives a classifier: its own, or the one that it stands in front of."""

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """The experiments whose runs one of this method builds upon, by their role in it."""

    def behind(self, spec: Experiment) -> Experiment | None:
        """The run of the classifier that it stands in front of; None for a method that stands in front of none."""

    def check(self, spec: Experiment) -> None:
        """Raises a UsageError where the experiment's settings contradict one another."""

    def files(self, spec: Experiment) -> tuple[str, ...]:
        """The names of what a finished run holds."""

    def multiply_adds(self, spec: Experiment) -> float:
        """Multiply-adds of a step, per image."""


# Each is a `Method` to experiments, and a `defences.Defence` to those that train.
METHODS: dict[str, Any] = {}
