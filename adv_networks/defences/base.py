"""What every defence is: a way to train a classifier (or a generator), one minibatch at a time."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from adv_networks.errors import UsageError
from adv_networks.experiments import METHODS, SETTINGS, Experiment, setting


class Defence:
    """A way to train: `register` makes it a `--method`.

    Class attributes:
        name: what the command line and runs call it.
        letter: the source's name of the model.
        title: one line.
        reads: the parts of the settings (`experiments.setting`) that its training depends on, beside those of no part.
        trains_classifier: whether D is trained, not only attacked.
        static_examples: whether its training set is enlarged by examples that are crafted before.
        settings: what the source gives this method on every data set.
        Settings: a dataclass of the settings that it alone has, whose flags are made of it; None for none.
    """

    name: ClassVar[str]
    letter: ClassVar[str]
    title: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()
    trains_classifier: ClassVar[bool] = True
    static_examples: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    Settings: ClassVar[type | None] = None

    @property
    def trains_generator(self) -> bool:
        """Whether the run has generators of its own."""
        return "generator" in self.reads

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """The experiments whose runs one of this method builds upon, by their role in it."""
        return {}

    def check(self, spec: Experiment) -> None:
        """Raises a UsageError where the experiment's settings contradict one another."""
        if self.static_examples and spec.norm != "linf":
            # They are kept as 127ths of ε, too coarse where ε is shared by all pixels.
            raise UsageError(f"norm: expected linf for method {self.name}, received {spec.norm}")


def register(kind: type[Defence]) -> type[Defence]:
    """A class decorator that makes a defence a method, and its own settings settings of experiments."""
    method = kind()
    METHODS[method.name] = method
    if kind.Settings is not None:
        import dataclasses

        fields = {field.name: field for field in dataclasses.fields(kind.Settings)}
        if taken := fields.keys() & SETTINGS.keys():
            raise ValueError(f"defence {method.name}: expected settings of its own, received {', '.join(sorted(taken))}")
        SETTINGS.update(fields)
    return kind


__all__ = ["Defence", "register", "setting"]
