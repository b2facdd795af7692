"""The network families, by name; `networks` declares them.

`--classifier` and `--generators` name families. A family says how a network is built from an experiment's settings, and what
it costs.
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
        name: its name on the command line and in runs.
        title: one line of description.
        build: builds the network of an experiment, with fresh weights, in the current floating type.
        multiply_adds: multiply-adds of the network for one image.
        settings: settings that override the data set's recipe. Widths among them are not divided by the scale.
        least_side: the smallest height and width of images that it takes.
        drops: whether it has dropout. Such a network is evaluated in inference mode only.
        is_own: whether it is the user's own, whose cost is not known.

    Examples:
        >>> from adv_networks.experiments import CLASSIFIERS
        >>> CLASSIFIERS["mlp"].drops, CLASSIFIERS["mlp"].settings
        (True, {'classifier_width': 625})
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
        """Raises a UsageError if the experiment's images are too small, or its BN mode at evaluation would drop units."""
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
    """Families by name. For the location of a user's own network (`is_own`), `opener` makes the family."""

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
    """Whether a name is the location of a user's own network: `module:function`, or the path of a saved model.

    Only Keras files are loaded; for other formats, loading raises an error that says what to do.

    Examples:
        >>> from adv_networks.experiments import is_own
        >>> is_own("my_module:build"), is_own("mine.keras"), is_own("d1")
        (True, True, False)
    """
    # os.path.isfile returns False where Path.is_file raises, for example if a name is too long.
    is_saved_model = os.path.isfile(os.path.join(name, "saved_model.pb"))  # noqa: PTH113, PTH118
    return is_saved_model or name.endswith(_FILES) or bool(re.fullmatch(r"[\w.]+:\w+", name))


def _own_family(kind: str) -> Callable[[str], Family]:
    def family(name: str) -> Family:
        build = functools.partial(OWN_BUILDERS[kind], name)
        return Family(name=name, title="the user's own", build=build, multiply_adds=lambda spec: 0, is_own=True)

    return family


# Functions that build a user's own network from its name and an experiment; `networks` registers them.
OWN_BUILDERS: dict[str, Callable[[str, Experiment], keras.Model]] = {}

CLASSIFIERS = Families(_own_family("classifier"))
GENERATORS = Families(_own_family("generator"))


def find_classifier(name: str) -> Family:
    """The classifier family of that name.

    Raises:
        UsageError: there is no such family.

    Examples:
        >>> from adv_networks.experiments import find_classifier
        >>> find_classifier("d1").title
        "the paper's MNIST network: two 5×5 convolutions (Fig. 3a)"
    """
    return choose(CLASSIFIERS, name, "classifier")


def _register(registry: dict[str, Family]) -> Callable[..., Any]:
    def declare(name: str, title: str, **further: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """A decorator for a function from an experiment to a network; `further` are the other attributes of `Family`.

        Examples:
            >>> import keras
            >>> from adv_networks.experiments import CLASSIFIERS, register_classifier
            >>> @register_classifier("one_layer", "one dense layer on the digits", multiply_adds=lambda spec: 640)
            ... def build(spec):
            ...     return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
            >>> CLASSIFIERS.pop("one_layer").title  # It is gone again.
            'one dense layer on the digits'
        """

        def register(build: Callable[[Experiment], keras.Model]) -> Callable[[Experiment], keras.Model]:
            registry[name] = Family(name=name, title=title, build=build, **further)
            return build

        return register

    return declare


# Decorators for `build`, which take the other attributes of `Family`.
register_classifier = _register(CLASSIFIERS)
register_generator = _register(GENERATORS)
