"""What every attack is: a frozen set of settings that crafts adversarial images of a batch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from adv_networks.attacks.inputs import ROUNDING, check_sizes
from adv_networks.errors import UsageError
from adv_networks.experiments import ATTACKS, AttackDefaults, DeclaredAttack, Defaults, resolve_attack, setting
from adv_networks.runtime import DRAWS

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from adv_networks.attacks.inputs import Array, Seed

# The first records had all of these, whatever the attack; the attacks that there were then write them still, so that their
# records keep their keys.
OF_FIRST_RECORDS: Mapping[str, Any] = MappingProxyType(
    {"label": "true", "steps": 1, "step_fraction": 1.0, "restarts": 1, "clip_start": True, "seed": 0}
)


class Crafted(NamedTuple):
    """Adversarial images, and of each, [batch], whether the attack changed it and how often it asked the classifier.

    `changed` is of the attack's own result, before that is held to a ball. `queries` counts the classifier's answers and its
    gradients alike; it is None where the attack does not count them. `wrapped` are the images of another attack that this one
    has worked on, None where there is none.
    """

    images: tf.Tensor
    changed: np.ndarray
    queries: np.ndarray | None = None
    wrapped: tf.Tensor | None = None


def are_changed(x: Array, moved: Array) -> np.ndarray:
    """Which images differ from x by more than rounding, booleans [batch]; x is uint8 or floats in [0,1]."""
    x = np.asarray(x)
    x = x / np.float32(255) if x.dtype == np.uint8 else x
    return (np.abs(np.asarray(moved) - x) > ROUNDING).any(tuple(range(1, x.ndim)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack with all that its result depends on; a subclass adds its own settings and says how it crafts.

    Attributes:
        epsilon: radius of the ball around each image, on the [0,1] pixel scale, that the result is held to.
        norm: of the ball, a key of `experiments.NORMS`.
        seed: of what it draws at random.
        draws: over how many draws of a random classifier the gradients are averaged that it follows (EOT).
        gradient: which gradient of a classifier behind a defence it follows, one of `experiments.GRADIENTS`; empty for the best
            that the defence offers.
        text: how the grammar of attacks writes it, without ε and norm; the attack's kind where it was not written so.

    Class attributes:
        kind: the name that records have for it, and the grammar.
        access: what it reads of the model: "gradients", "scores", "labels", "generator" for one that reads a generator, or
            "unknown" for another library's.
        norms: the balls that it knows.
        has_ball: whether ε and norm mean anything to it.
        needs_ball: whether it takes ε and norm from the experiment where its text has none; others then have no ball.
        has_source: whether it is crafted on a model.
        leaves_failures: whether it leaves images as they are where it finds none within its ball, although it works.
        learns: whether `fit` must be called before `craft`.
        wraps: whether it works on the images of another attack, its field `wrapped`, which its argument `attack` names.
        evades: whether it follows the detectors of a defence too, whose excess its source has as a second output
            (`evaluation.Defended.with_excess`).
        composed: whether it crafts nothing and is made of the results of others.
        of_first_records: whether it is as old as the first records, whose keys it keeps.
    """

    kind: ClassVar[str]
    access: ClassVar[str] = "gradients"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    has_ball: ClassVar[bool] = True
    needs_ball: ClassVar[bool] = True
    has_source: ClassVar[bool] = True
    leaves_failures: ClassVar[bool] = False
    learns: ClassVar[bool] = False
    wraps: ClassVar[bool] = False
    evades: ClassVar[bool] = False
    composed: ClassVar[bool] = False
    of_first_records: ClassVar[bool] = False

    epsilon: float
    norm: str = "linf"
    seed: int = 0
    draws: int = setting(DRAWS, "draws of a random classifier over which a gradient is averaged (EOT)", least=1, omitted=True)
    gradient: str = ""
    text: str = dataclasses.field(default="", repr=False)

    def __post_init__(self) -> None:
        """Takes numbers of NumPy for Python's, of which records are made.

        Raises:
            UsageError: ε is not one number of at least 0; infinite it may be.
        """
        for field in dataclasses.fields(self):
            if isinstance(value := getattr(self, field.name), np.generic):
                object.__setattr__(self, field.name, value.item())
        if not (isinstance(self.epsilon, float) and self.epsilon == math.inf):
            check_sizes(epsilon=self.epsilon)

    @property
    def name(self) -> str:
        """What records and messages call it: its text in the grammar."""
        return self.text or self.kind

    @property
    def title(self) -> str:
        """Its name and the ball that it is held to."""
        return f"{self.name} ({self.norm} ≤ {self.epsilon:g})"

    @property
    def reads_gradients(self) -> bool:
        """Whether it follows the gradients of what it is crafted on, as a generator did that was trained against it."""
        return self.access in ("gradients", "generator")

    @property
    def packages(self) -> tuple[str, ...]:
        """The further packages that its result depends on."""
        return ()

    @classmethod
    def of_experiment(cls, spec: AttackDefaults, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that an experiment gives the attack, beside ε and norm.

        Args:
            spec: the experiment whose classifier is attacked.
            arguments: what the attack's name in the grammar stands for.
        """
        return {}

    @property
    def learning_images(self) -> int:
        """How many training images `fit` asks for, of an attack that learns; 0 of the others."""
        return 0

    def settings(self) -> str:
        """All that the result depends on, as one line of JSON: what records are told apart by.

        A setting that is younger than the first records is left out at its default (`setting(…, omitted=True)`).
        """
        values = dict(OF_FIRST_RECORDS) if self.of_first_records else {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            omitted = field.metadata.get("omitted") or field.name in ("norm", "gradient")
            if field.name != "text" and not (omitted and value == field.default):
                values[field.name] = value
        return json.dumps({"kind": self.kind, **values}, sort_keys=True)

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """Raises what `craft` would raise whatever the classifier of so many classes is.

        Raises:
            UsageError: a norm that the attack does not know, or too few classes.
            UserError: a package that it needs is not installed.
        """
        if self.has_ball and self.norm not in self.norms:
            raise UsageError(f"norm: expected {' or '.join(self.norms)} for attack {self.name}, received {self.norm}")

    def fit(self, source: keras.Model, images: np.ndarray, labels: np.ndarray) -> Any:
        """What an attack that learns first has learned from images and labels, for `craft`; None for the others."""
        return None

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """Adversarial images of a batch, floats in [0,1] of the shape of x, within ε of it up to rounding.

        Args:
            source: classifier from images in [0,1] to logits [batch, classes]; a generator for the generator's attack.
            x: images in [0,1] or uint8, [batch, height, width, channels].
            y: labels, integers [batch].
            seed: of what it draws for this batch; the result is a function of it, the settings and the other arguments.
            training: BN with the batch's statistics instead of its averages.
            state: what `fit` returned.
        """
        raise NotImplementedError

    def crafted(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> Crafted:
        """What `craft` returns, and what else there is to say of it."""
        images = self.craft(source, x, y, seed=seed, training=training, state=state)
        return Crafted(images, are_changed(x, images))


def named(text: str, epsilon: float, *, norm: str = "linf") -> Attack:
    """The attack that a text of the grammar names, outside any experiment.

    Args:
        text: NAME[:ARGUMENT=VALUE]…, `pgd:steps=100` for instance; `main.py --list` shows the names and arguments.
        epsilon: radius of the ball, on the [0,1] pixel scale, where the text has none of its own.
        norm: of the ball.

    Raises:
        UsageError: no such attack, or an argument that it does not have or that is out of range.

    Example:
        >>> from adv_networks import attacks
        >>> attacks.named("pgd:steps=40", 0.3).steps
        40
    """
    return resolve_attack(text, Defaults(epsilon, norm))


def register(name: str, title: str, **arguments: Any):
    """A class decorator that makes an attack known to the grammar by a name, with the arguments that the name stands for.

    Example:
        >>> from adv_networks import attacks, experiments
        >>> experiments.ATTACKS["fgs_predicted"].arguments
        {'label': 'predicted'}
    """

    def declare(kind: type[Attack]) -> type[Attack]:
        ATTACKS[name] = DeclaredAttack(kind, arguments, title)
        return kind

    return declare


__all__ = ["Attack", "named", "register", "setting"]
