"""The base class of attacks: a frozen set of settings that crafts adversarial images for a batch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from adv_networks.attacks.inputs import ROUNDING
from adv_networks.attacks.quantities import check_epsilon, check_seed
from adv_networks.errors import UsageError
from adv_networks.experiments import (
    ATTACKS,
    AttackDefaults,
    DeclaredAttack,
    Defaults,
    as_number,
    checked,
    quoted,
    resolve_attack,
    setting,
)
from adv_networks.lazy import np
from adv_networks.runtime import DRAWS

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from adv_networks.attacks.inputs import Array, Seed

# The first records stored all of these for every attack. The attacks of that time still write them, so that their records keep
# their keys.
OF_FIRST_RECORDS: Mapping[str, Any] = MappingProxyType(
    {"label": "true", "steps": 1, "step_fraction": 1.0, "restarts": 1, "clip_start": True, "seed": 0}
)

# The types of Python itself, which need no conversion.
_OF_PYTHON = (bool, int, float, str, tuple, type(None))


class Crafted(NamedTuple):
    """Adversarial images, and for each image whether the attack changed it and how many queries it made, both [batch].

    `changed` refers to the attack's raw result, before it is restricted to the ball. `queries` counts evaluations and gradients
    of the classifier alike; it is None if the attack does not count them. `wrapped` holds the images of the inner attack if
    this attack wraps another one, else None. `started_from` holds the images that distances count from if they are
    not the given ones, else None.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> crafted = attacks.FGS(epsilon=0.1).crafted(model, x, y)
        >>> crafted.images.shape, crafted.changed.tolist()
        (TensorShape([2, 8, 8, 1]), [True, True])
    """

    images: tf.Tensor
    changed: np.ndarray
    queries: np.ndarray | None = None
    wrapped: tf.Tensor | None = None
    started_from: tf.Tensor | None = None


def are_changed(x: Array, moved: Array) -> np.ndarray:
    """Which images differ from x by more than rounding: booleans [batch]. x is uint8 or floats in [0,1]."""
    x = np.asarray(x)
    x = x / np.float32(255) if x.dtype == np.uint8 else x
    return (np.abs(np.asarray(moved) - x) > ROUNDING).any(tuple(range(1, x.ndim)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack and every setting that its result depends on. A subclass adds its settings and implements `craft`.

    Attributes:
        epsilon: radius of the ball around each image, on the [0,1] pixel scale. The result stays in the ball.
        norm: norm of the ball, a key of `experiments.NORMS`.
        seed: seed of everything that the attack draws at random.
        draws: number of draws of a random classifier over which each gradient is averaged (EOT).
        gradient: which gradient of a defended classifier the attack follows, one of `experiments.GRADIENTS`; empty for the best
            that the defence offers.
        text: the attack in the attack grammar, without ε and norm; empty if it was not created from a text.

    Class attributes:
        kind: its name in records and in the grammar.
        access: what it reads of the model: "gradients", "scores", "labels", "generator" if it reads a generator, or "unknown"
            for an attack of another library.
        norms: the norms that it supports.
        has_ball: whether ε and norm apply to it.
        needs_ball: whether it takes ε and norm from the experiment if its text has none; other attacks then have no ball.
        has_source: whether it is crafted on a model.
        leaves_failures: whether an image without an adversarial image in its ball is returned unchanged, even though the attack
            works.
        learns: whether `fit` must be called before `craft`.
        wraps: whether it works on the images of another attack, its field `wrapped`, which its argument `attack` names.
        evades: whether it also follows the detectors of a defence. Its source then has their excess as a second output
            (`evaluation.Defended.with_excess`).
        follows_each: whether it follows each gradient of a defence in turn. Its source then has an output for each
            (`evaluation.Defended.with_each_gradient`).
        composed: whether it crafts nothing and combines the results of other attacks.
        of_first_records: whether it existed when the first records were written and keeps their keys.

    Examples:
        >>> import tensorflow as tf
        >>> from adv_networks import attacks
        >>> class Brighter(attacks.Attack):
        ...     kind = "brighter"
        ...     def craft(self, source, x, y, *, seed=0, training=False, state=None):
        ...         return tf.clip_by_value(x + self.epsilon, 0, 1)
        >>> Brighter(epsilon=0.3).title
        'brighter (linf ≤ 0.3)'
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
    follows_each: ClassVar[bool] = False
    composed: ClassVar[bool] = False
    of_first_records: ClassVar[bool] = False

    epsilon: float
    norm: str = "linf"
    seed: int = 0
    draws: int = setting(DRAWS, "draws of a random classifier over which a gradient is averaged (EOT)", least=1, omitted=True)
    gradient: str = ""
    text: str = dataclasses.field(default="", repr=False)

    def __post_init__(self) -> None:
        """Converts other libraries' numbers to Python's, which records can store, and checks all settings.

        Raises:
            UsageError: a setting is out of range or of another type. ε is a single number of at least 0, or infinite.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if type(value) not in _OF_PYTHON:
                object.__setattr__(self, field.name, as_number(value))
            if "help" in field.metadata:
                checked(field, value)
        check_seed(self.seed)
        if not (isinstance(self.epsilon, float) and self.epsilon == math.inf):
            check_epsilon(self.epsilon, self.norm)

    @property
    def name(self) -> str:
        """Its name in records and messages: its text in the attack grammar, or else its kind."""
        return self.text or self.kind

    @property
    def title(self) -> str:
        """Its name and its ball."""
        return f"{self.name} ({self.norm} ≤ {self.epsilon:g})"

    @property
    def reads_gradients(self) -> bool:
        """Whether it uses gradients of its source, either directly or through a generator that was trained on them."""
        return self.access in ("gradients", "generator")

    @property
    def packages(self) -> tuple[str, ...]:
        """Additional packages that its result depends on."""
        return ()

    @classmethod
    def of_experiment(cls, spec: AttackDefaults, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that an experiment gives the attack, besides ε and norm.

        Args:
            spec: the experiment whose classifier is attacked.
            arguments: the arguments that the attack's name in the grammar implies.
        """
        return {}

    @property
    def learning_images(self) -> int:
        """How many training images `fit` needs; 0 for attacks that do not learn."""
        return 0

    def settings(self) -> str:
        """Everything that the result depends on, as one line of JSON; records are told apart by it.

        A setting that was added after the first records is left out at its default (`setting(…, omitted=True)`).
        """
        values = dict(OF_FIRST_RECORDS) if self.of_first_records else {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            omitted = field.metadata.get("omitted") or field.name in ("norm", "gradient")
            if field.name != "text" and not (omitted and value == field.default):
                values[field.name] = value
        return json.dumps({"kind": self.kind, **values}, sort_keys=True)

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """Raises any error that `craft` would raise on every classifier with this number of classes.

        Raises:
            UsageError: a norm that the attack does not support, or too few classes.
            UserError: a package that it needs is not installed.
        """
        if self.has_ball and self.norm not in self.norms:
            raise UsageError(f"norm: expected {' or '.join(self.norms)} for attack {self.name}, received {self.norm}")

    def fit(self, source: keras.Model, images: np.ndarray, labels: np.ndarray) -> Any:
        """Learns from images and labels, and returns the state that `craft` takes; None if the attack does not learn."""
        return None

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """Crafts adversarial images for a batch: floats in [0,1] with the shape of x, within ε of it up to rounding.

        Args:
            source: classifier from images in [0,1] to logits [batch, classes]; a generator for the generator's attack.
            x: images in [0,1] or uint8, [batch, height, width, channels].
            y: labels, integers [batch].
            seed: random seed for this batch; the result is a function of it, the settings and the other arguments.
            training: whether BN uses the batch's statistics instead of its averages.
            state: the return value of `fit`.
        """
        raise NotImplementedError

    def crafted(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> Crafted:
        """The images that `craft` returns, with the other fields of `Crafted`."""
        images = self.craft(source, x, y, seed=seed, training=training, state=state)
        return Crafted(images, are_changed(x, images))


def checked_attack(attack: Any) -> Attack:
    """The attack itself; raises a UsageError for anything else, such as a name or an attack's class."""
    if not isinstance(attack, Attack):
        received = f"the class {attack.__name__}" if isinstance(attack, type) else quoted(attack)
        raise UsageError(f"attack: expected an attack such as attacks.PGD(epsilon=8 / 255), received {received}")
    return attack


def named(text: str, epsilon: float, *, norm: str = "linf") -> Attack:
    """The attack that a text in the attack grammar names, independent of any experiment.

    Args:
        text: NAME[:ARGUMENT=VALUE]…, for instance `pgd:steps=100`; `main.py --list` shows the names and arguments.
        epsilon: radius of the ball, on the [0,1] pixel scale, if the text does not set it.
        norm: norm of the ball, if the text does not set it.

    Raises:
        UsageError: an unknown attack, or an argument that it does not have or that is out of range.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.named("pgd:steps=40", 0.3).steps
        40
    """
    return resolve_attack(text, Defaults(epsilon, norm))


def register(name: str, title: str, **arguments: Any):
    """Class decorator that adds an attack to the grammar under a name, which implies these arguments.

    Examples:
        >>> from adv_networks import attacks, experiments
        >>> experiments.ATTACKS["fgs_predicted"].arguments
        {'label': 'predicted'}
    """

    def declare(kind: type[Attack]) -> type[Attack]:
        ATTACKS[name] = DeclaredAttack(kind, arguments, title)
        return kind

    return declare


__all__ = ["Attack", "named", "register", "setting"]
