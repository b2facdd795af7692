"""The network families that there are, by name; `networks` declares them.

A family is what `--classifier` or `--generators` names: how a network is built of an experiment's settings, and what it costs.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from adv_networks.errors import UsageError
from adv_networks.experiments.datasets import find_dataset
from adv_networks.experiments.settings import choose

if TYPE_CHECKING:
    import keras

    from adv_networks.experiments.experiment import Experiment


_FILES = (".keras", ".h5", ".tflite", ".onnx", ".pt", ".pth", ".pb")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """A network family.

    Attributes:
        name: what the command line and runs call it.
        title: one line.
        build: a network of an experiment, with fresh weights, in the current floating type.
        multiply_adds: of the network on one image.
        settings: what it has of its own, laid over the data set's recipe. Its widths are not divided by the scale.
        least_side: the least height and width of images that it takes.
        drops: whether training drops units. Such a network is evaluated in inference mode only.
        is_own: whether it is the user's own, whose cost is not known.
    """

    name: str
    title: str
    build: Callable[[Experiment], keras.Model]
    multiply_adds: Callable[[Experiment], int]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    least_side: int = 1
    drops: bool = False
    is_own: bool = False

    def __hash__(self) -> int:
        return hash(self.name)

    def check(self, spec: Experiment) -> None:
        """Raises a UsageError where the images of an experiment are too small, or BN's mode at evaluation would drop units."""
        height, width, _ = find_dataset(spec.dataset).image_shape
        if min(height, width) < self.least_side:
            raise UsageError(
                f"{self.name}: expected images of at least {self.least_side} pixels a side, received {height}×{width} "
                f"({spec.dataset})"
            )
        if self.drops and spec.bn_evaluation != "moving":
            raise UsageError(
                f"bn_evaluation: expected moving with classifier {self.name}, which has dropout, received {spec.bn_evaluation}"
            )


class Families(dict[str, Family]):
    """Families by name. A name that says where a network of the user's own is, `is_own`, has one too, made by `opener`."""

    def __init__(self, opener: Callable[[str], Family]):
        super().__init__()
        self.opener = opener

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and is_own(name))

    def __missing__(self, name: str) -> Family:
        if not is_own(name):
            raise KeyError(name)
        return self.opener(name)


def is_own(name: str) -> bool:
    """Whether a name says where a network of the user's own is: `module:function`, or a path of what is taken for one.

    Of these, files of Keras are loaded; whoever loads another one is told what to do.
    """
    # os.path.isfile says no where Path.is_file raises, of names too long for instance.
    is_saved_model = os.path.isfile(os.path.join(name, "saved_model.pb"))  # noqa: PTH113, PTH118
    return is_saved_model or name.endswith(_FILES) or bool(re.fullmatch(r"[\w.]+:\w+", name))


def _own_family(kind: str) -> Callable[[str], Family]:
    def family(name: str) -> Family:
        build = functools.partial(OWN_BUILDERS[kind], name)
        return Family(name=name, title="the user's own", build=build, multiply_adds=lambda spec: 0, is_own=True)

    return family


# What builds a network of the user's own, from its name and an experiment: `networks` has them.
OWN_BUILDERS: dict[str, Callable[[str, Experiment], keras.Model]] = {}

CLASSIFIERS = Families(_own_family("classifier"))
GENERATORS = Families(_own_family("generator"))


def find_classifier(name: str) -> Family:
    """The classifier family of that name.

    Raises:
        UsageError: there is none.
    """
    return choose(CLASSIFIERS, name, "classifier")


def _register(registry: dict[str, Family]) -> Callable[..., Any]:
    def declare(name: str, title: str, **further: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def register(build: Callable[[Experiment], keras.Model]) -> Callable[[Experiment], keras.Model]:
            registry[name] = Family(name=name, title=title, build=build, **further)
            return build

        return register

    return declare


# Decorators of `build`, which take the other attributes of `Family`.
register_classifier = _register(CLASSIFIERS)
register_generator = _register(GENERATORS)
