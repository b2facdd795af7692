"""Attacks by name: the grammar `NAME[:ARGUMENT=VALUE]…`, and the registry that `attacks` fills.

One grammar names every attack, on the command line, in tables and from Python: `pgd`, `pgd:steps=100:restarts=10`,
`fgs:epsilon=0.1`, `art:DeepFool:max_iter=5:norm=l2:epsilon=1.5`. An attack that starts from the images of another attack names
that one last, with its arguments: `photo:blur=2:attack=fgs:epsilon=0.1`. The arguments are the fields of the attack's class.
Arguments that are not given come from the experiment: ε and the norm, and for some attacks the scale or the settings of PGD.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import numbers
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from adv_networks.errors import UsageError
from adv_networks.experiments.settings import NORMS, as_number, checked, choose, quoted

_BALL = ("epsilon", "norm")

# Stands for the attack that knows how the classifier's defence works.
ADAPTIVE = "adaptive"

# The gradient that an attack gets from a classifier behind a defence: the defence's exact one, a stand-in for it (BPDA), or
# that of the classifier alone.
GRADIENTS = ("exact", "straight_through", "none")


class Attack(Protocol):
    """The part of an attack that experiments and tables know; `attacks.base.Attack` documents the attributes."""

    kind: str
    access: str
    has_ball: bool
    has_source: bool
    leaves_failures: bool
    composed: bool
    learns: bool
    evades: bool
    follows_each: bool
    gradient: str
    epsilon: float
    norm: str
    seed: int
    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name in records and messages."""

    @property
    def title(self) -> str:
        """Its name and its ball."""

    @property
    def reads_gradients(self) -> bool:
        """Whether it follows the gradients of its source."""

    @property
    def packages(self) -> tuple[str, ...]:
        """The further packages that its result depends on."""

    def settings(self) -> str:
        """All that its result depends on, as one line of JSON."""

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """Raises the errors that crafting it would raise for any classifier with this number of classes."""


class DeclaredAttack(NamedTuple):
    """The meaning of a name in the grammar: the class of the attack, the arguments that the name implies, and a title.

    Examples:
        >>> from adv_networks.experiments import ATTACKS
        >>> ATTACKS["fgs_predicted"].arguments["label"], "steps" in ATTACKS["pgd"].fields
        ('predicted', True)
    """

    kind: Any
    arguments: Mapping[str, Any]
    title: str

    @property
    def fields(self) -> dict[str, dataclasses.Field]:
        """The arguments that it takes besides epsilon and norm."""
        every = {field.name: field for field in dataclasses.fields(self.kind) if "help" in field.metadata}
        # Only an attack that follows gradients can average them over draws.
        return {name: field for name, field in every.items() if name != "draws" or self.kind.access == "gradients"}


ATTACKS: dict[str, DeclaredAttack] = {}


class Library(NamedTuple):
    """Another library: its package, and the function that makes an attack from the name of its class and arguments.

    Examples:
        >>> from adv_networks.experiments import LIBRARIES
        >>> LIBRARIES["art"].package
        'adversarial-robustness-toolbox'
    """

    package: str
    attack: Callable[..., Attack]


LIBRARIES: dict[str, Library] = {}


class AttackText(NamedTuple):
    """The parsed text of an attack; `source` is what the attack is crafted on, None for its target."""

    name: str
    arguments: Mapping[str, Any]
    source: str | None

    @property
    def library(self) -> str:
        """The library of an attack that is not ours, else an empty string."""
        return self.name.partition(":")[0] if ":" in self.name else ""


def parse_attack(text: str) -> AttackText:
    """Parses the text of an attack.

    Raises:
        UsageError: the text does not follow the grammar, or there is no such attack.

    Examples:
        >>> from adv_networks.experiments import parse_attack
        >>> parse_attack("pgd:steps=100:source=standard")
        AttackText(name='pgd', arguments={'steps': 100}, source='standard')
    """
    if not isinstance(text, str):
        raise UsageError(f"attack: expected a text such as pgd:steps=100, received {quoted(text)}")
    first, *rest = text.split(":")
    if first in LIBRARIES:
        algorithm = rest.pop(0) if rest else ""
        if not algorithm.isidentifier():
            raise UsageError(f"attack: expected {first}:CLASS or {first}:CLASS:ARGUMENT=VALUE, received {text}")
        first = f"{first}:{algorithm}"
    elif first not in ATTACKS and first != ADAPTIVE:
        libraries = " or ".join(f"{library}:CLASS" for library in LIBRARIES)
        like = difflib.get_close_matches(first, ATTACKS, cutoff=0.6)
        expected = " or ".join(like) if like else f"one of {', '.join(sorted(ATTACKS))}, {libraries}"
        raise UsageError(f"attack: expected {expected}, received {text}")
    wrapped = None
    if first in ATTACKS and ATTACKS[first].kind.wraps and any(pair.startswith("attack=") for pair in rest):
        # All that follows belongs to the other attack.
        outer, _, wrapped = text.partition(":attack=")
        rest = outer.split(":")[1:]
    if not all(re.fullmatch(r"\w+=.+", pair) for pair in rest):
        raise UsageError(f"attack: expected NAME[:ARGUMENT=VALUE]…, received {text}")
    arguments: dict[str, Any] = dict(pair.split("=", 1) for pair in rest)
    if len(arguments) < len(rest):
        raise UsageError(f"attack: expected each argument once, received {text}")
    source = arguments.pop("source", None)
    arguments = {argument: _literal(value) for argument, value in arguments.items()}
    if wrapped is not None:
        source = source or parse_attack(wrapped).source
        arguments["attack"] = wrapped
    return AttackText(first, arguments, source)


class AttackDefaults(Protocol):
    """Supplies the settings that a text does not give: an experiment, or `Defaults`.

    Examples:
        >>> from adv_networks.experiments import AttackDefaults, experiment
        >>> spec: AttackDefaults = experiment("mnist", "pgd")
        >>> spec.epsilon, spec.norm, spec.pgd_steps
        (0.3, 'linf', 10)
    """

    epsilon: float
    norm: str
    scale: str
    pgd_steps: int
    pgd_step_fraction: float
    pgd_random_start: bool
    pgd_clip_start: bool

    @property
    def adaptive(self) -> str:
        """The attack that knows how the classifier's defence works."""


@dataclasses.dataclass(frozen=True)
class Defaults:
    """A ball and the paper's attack settings, for attacks outside an experiment.

    Examples:
        >>> from adv_networks.experiments import Defaults, resolve_attack
        >>> resolve_attack("pgd", Defaults(epsilon=8 / 255)).title
        'pgd (linf ≤ 0.0313725)'
    """

    epsilon: float
    norm: str = "linf"
    scale: str = "paper"
    pgd_steps: int = 10
    pgd_step_fraction: float = 0.25
    pgd_random_start: bool = True
    pgd_clip_start: bool = True
    adaptive: str = "restarted_pgd"


def resolve_attack(text: str, spec: AttackDefaults) -> Attack:
    """The attack that a text of the grammar names, at the experiment's ε and norm unless the text gives others.

    Args:
        text: NAME[:ARGUMENT=VALUE]…
        spec: an experiment, or `Defaults`.

    Raises:
        UsageError: the text does not follow the grammar, there is no such attack, an argument is unknown or out of range, a
            norm is given without an ε, or ε is not a positive number.

    Examples:
        >>> from adv_networks.experiments import experiment, resolve_attack
        >>> resolve_attack("pgd:steps=100", experiment("mnist", "pgd")).title
        'pgd:steps=100 (linf ≤ 0.3)'
    """
    parsed = parse_attack(text)
    if parsed.name == ADAPTIVE:
        text = spec.adaptive + text.removeprefix(ADAPTIVE)
        parsed = parse_attack(text)
    name, given, _ = parsed
    own = {argument: value for argument, value in given.items() if argument not in _BALL}
    written_name = ":".join((name, *(f"{argument}={value}" for argument, value in own.items())))
    if parsed.library:
        return LIBRARIES[parsed.library].attack(name.partition(":")[2], own, text=written_name, **_ball(text, given, spec))
    declared = ATTACKS[name]
    gradient = own.pop("gradient", "")
    if gradient and declared.kind.access != "gradients":
        raise UsageError(f"attack {name}: expected no gradient argument, because it follows no gradient, received {gradient}")
    if gradient:
        choose(dict.fromkeys(GRADIENTS), gradient, f"gradient of {text}")
    for argument, value in own.items():
        if argument not in declared.fields:
            accepted = ", ".join(sorted({*declared.fields, *_BALL, *["gradient"] * (declared.kind.access == "gradients")}))
            raise UsageError(f"attack {name}: expected an argument among {accepted}, received {argument}")
        try:
            own[argument] = checked(declared.fields[argument], value)
        except UsageError as error:
            raise UsageError(f"attack {name}: {error}") from None
    values = {**declared.arguments, **declared.kind.of_experiment(spec, declared.arguments), **own}
    if declared.kind.wraps:
        if outside := [argument for argument in _BALL if argument in given]:
            raise UsageError(f"attack {name}: expected {outside[0]} after attack=NAME, to which it belongs, received {text}")
        values["wrapped"] = resolve_attack(values.get("attack", declared.fields["attack"].default), spec)
    ball = _ball(text, given, spec) if declared.kind.needs_ball else _own_ball(text, given)
    return declared.kind(**values, gradient=gradient, text=written_name, **(ball if declared.kind.has_ball else {}))


def _ball(text: str, given: Mapping[str, Any], spec: AttackDefaults) -> dict[str, Any]:
    """The ε and the norm of an attack that needs them: those of the text, else those of the experiment."""
    norm, epsilon = given.get("norm", spec.norm), given.get("epsilon")
    choose(NORMS, norm, f"norm of {text}")
    if epsilon is None and norm != spec.norm:
        raise UsageError(f"epsilon of {text}: expected a value with norm {norm} (the run's is for {spec.norm}), received none")
    return {"epsilon": _epsilon(text, spec.epsilon if epsilon is None else epsilon), "norm": norm}


def _own_ball(text: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The ε and the norm of an attack that needs none: those of the text, if any."""
    ball = {argument: value for argument, value in given.items() if argument in _BALL}
    if "norm" in ball:
        choose(NORMS, ball["norm"], f"norm of {text}")
    return ball | ({"epsilon": _epsilon(text, ball["epsilon"])} if "epsilon" in ball else {})


def _epsilon(text: str, epsilon: Any) -> float:
    """The ε of a text, checked to be a positive number."""
    number = as_number(epsilon)
    if not isinstance(number, numbers.Real) or isinstance(number, bool) or not 0 < number <= sys.float_info.max:
        raise UsageError(f"epsilon of {text}: expected a value above 0, received {quoted(epsilon)}")
    return float(number)


def _literal(text: str) -> float | str | None:
    """The number or constant that the text means in Python, else the text. A fraction such as 8/255 is a number too."""
    if match := re.fullmatch(r"(\d+(?:\.\d*)?)/(\d+(?:\.\d*)?)", text):
        numerator, denominator = map(float, match.groups())
        return numerator / denominator if denominator else text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if value is None or isinstance(value, (int, float)) else text
