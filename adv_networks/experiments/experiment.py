"""One experiment: its settings, resolved from the recipe, the method, the protocol, the scale and the overrides."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adv_networks.errors import UsageError
from adv_networks.experiments.attacks import Attack, resolve_attack
from adv_networks.experiments.datasets import find_dataset
from adv_networks.experiments.methods import METHODS, Method
from adv_networks.experiments.names import shortened
from adv_networks.experiments.networks import GENERATORS, find_classifier
from adv_networks.experiments.recipes import PROTOCOLS, recipe_of
from adv_networks.experiments.scales import SCALES, scaled
from adv_networks.experiments.settings import CONVEX_NORMS, LARGEST, checked, choose, plain, written
from adv_networks.experiments.shared_settings import SharedSettings


@dataclasses.dataclass(frozen=True)
class Experiment(SharedSettings):
    """One training run with all its settings: the content of `experiment.json`, which the update rules read.

    Each setting can be overridden by a flag of the same name. Settings are those of `SharedSettings`, and the fields of `own`,
    which only the method knows (`defences.base.Defence.Settings`).

    Examples:
        >>> from adv_networks.experiments import experiment
        >>> spec = experiment("mnist", "generator", scale="paper", epsilon=0.2)
        >>> spec.steps, [needed.name for needed in spec.needs().values()]
        (200000, ['mnist-standard-paper-s0'])
    """

    dataset: str
    method: str
    protocol: str
    scale: str
    seed: int
    overrides: tuple[tuple[str, Any], ...] = ()
    own: Any = None

    @property
    def name(self) -> str:
        """The run's directory name: data set, method, scale, seed, then the protocol and the overrides that training reads."""
        return self._named(self.trains_with)

    def _named(self, is_told: Callable[[str], bool]) -> str:
        """The run's name with only the overrides for which `is_told` is true."""
        parts = [self.dataset, self.method, self.scale, f"s{self.seed}"]
        parts += [self.protocol] * (self.protocol != "paper")
        parts += [f"{key}={written(value)}" for key, value in self.overrides if is_told(key)]
        return shortened("-".join(parts))

    @property
    def target_name(self) -> str:
        """The classifier's name in records: the run's name, with further overrides.

        These are settings of the classifier behind a defence that does not know it, and settings of the defence that only
        evaluation reads.
        """
        method = METHODS[self.method]

        def is_told(key: str) -> bool:
            of_classifier_behind = method.stands_in_front and key in _SHARED and SETTINGS[key].metadata["part"] == "classifier"
            return of_classifier_behind or self.trains_with(key)

        own = set() if method.Settings is None else {field.name for field in dataclasses.fields(method.Settings)}
        parts = [f"{key}={written(value)}" for key, value in self.overrides if key in own and not self.trains_with(key)]
        return "-".join([self._named(is_told), *parts])

    def trains_with(self, setting: str) -> bool:
        """Whether the training reads a setting; the others only change how its result is evaluated."""
        method = METHODS[self.method]
        if setting not in _SHARED:
            own = [] if method.Settings is None else dataclasses.fields(method.Settings)
            return any(field.name == setting and field.metadata["part"] != "test" for field in own)
        part = SETTINGS[setting].metadata["part"]
        return not part or part in method.reads or (part == "classifier" and method.knows_classifier)

    def trained(self) -> Experiment:
        """The experiment that is trained for this one: without the overrides that its training does not read."""
        read = {key: value for key, value in self.overrides if self.trains_with(key)}
        if len(read) == len(self.overrides):
            return self
        return experiment(self.dataset, self.method, protocol=self.protocol, scale=self.scale, seed=self.seed, **read)

    @property
    def adaptive(self) -> str:
        """The attack that knows how this method's defence works, as a text of the attack grammar."""
        return METHODS[self.method].adaptive_for(self)

    @property
    def finite_difference_step(self) -> float:
        """h of Eq. 5: a tenth of the learning rate that `finite_difference_rate` names."""
        return (self.generator_learning_rate if self.finite_difference_rate == "generator" else self.learning_rate) / 10

    def sibling(self, method: str, **changes: Any) -> Experiment:
        """The experiment of another method with otherwise the same settings, as it is trained.

        Args:
            method: name of the other method.
            changes: further overrides.
        """
        names = dict(protocol=self.protocol, scale=self.scale, seed=self.seed)
        return experiment(self.dataset, method, **names, **(dict(self.overrides) | changes)).trained()

    def needs(self) -> dict[str, Experiment]:
        """The experiments whose finished runs this one builds on, by their role."""
        return METHODS[self.method].needs(self)

    def behind(self) -> Experiment | None:
        """The run of the classifier that this method stands in front of; None if it stands in front of none."""
        return METHODS[self.method].behind(self)

    def attack(self, text: str) -> Attack:
        """The attack that a text of the grammar names (`resolve_attack`), at this experiment's ε, norm, scale and settings."""
        return resolve_attack(text, self)

    def settings(self) -> dict[str, Any]:
        """All settings, including the method's own, as plain values that JSON preserves."""
        values = {name: value for name, value in vars(self).items() if name != "own" and name not in _SHARED}
        shared = {name: getattr(self, name) for name in _SHARED}
        own = {} if self.own is None else vars(self.own)
        return {key: plain(value) for key, value in (values | shared | own).items()}


def results_group(results: Path, scale: str, *, protocol: str = "paper", **overrides: Any) -> Path:
    """The directory for all results of one scale, protocol and set of overrides.

    Raises:
        UsageError: an override has the wrong type, or is out of range.

    Examples:
        >>> from pathlib import Path
        >>> from adv_networks.experiments import results_group
        >>> results_group(Path("results"), "cpu", steps=1500).as_posix()
        'results/cpu-steps=1500'
    """
    parts = [scale] + [protocol] * (protocol != "paper")
    parts += [f"{key}={written(checked_setting(key, value))}" for key, value in sorted(overrides.items())]
    return results / shortened("-".join(parts))


_SHARED = {field.name: field for field in dataclasses.fields(SharedSettings)}

# All settings by name; a method adds its own when it is declared.
SETTINGS: dict[str, dataclasses.Field] = dict(_SHARED)


def checked_setting(name: str, value: Any, **limits: float) -> Any:
    """Converts and checks a value of the setting of that name (`settings.checked`).

    Examples:
        >>> from adv_networks.experiments import checked_setting
        >>> checked_setting("steps", "1500")
        1500
    """
    return checked(choose(SETTINGS, name, "setting"), value, **limits)


def experiment(
    dataset: Any, method: str, *, protocol: str = "paper", scale: str = "cpu", seed: int = 0, **overrides: Any
) -> Experiment:
    """Resolves one experiment: the data set's recipe, the method's settings, the protocol, the scale, then the overrides.

    Args:
        dataset: name of a data set, the path of a folder or file that holds one, or arrays (images, labels).
        method: key of `METHODS`.
        protocol: key of `PROTOCOLS`.
        scale: key of `SCALES`.
        seed: seed of the run.
        overrides: settings by name, keys of `SETTINGS`.

    Raises:
        UsageError: a name is not declared, an override is out of range, or the norm is not the recipe's and ε is missing.

    Examples:
        >>> from adv_networks.experiments import experiment
        >>> experiment("mnist", "advnet", scale="paper").epsilon
        0.3
        >>> experiment("mnist", "pgd", steps=100).name
        'mnist-pgd-cpu-s0-steps=100'
    """
    declared = find_dataset(dataset)
    dataset = declared.name
    choose(METHODS, method, "method")
    amount = choose(SCALES, scale, "scale")
    if not 0 <= seed < LARGEST:
        raise UsageError(f"seed: expected a value from 0 to {LARGEST - 1}, received {seed}")
    settings = {
        **recipe_of(declared),
        **METHODS[method].settings,
        **choose(PROTOCOLS, protocol, "protocol").settings(dataset, method),
    }
    widths = {key: settings.get(key, SETTINGS[key].default) for key in ("generator_width", "classifier_width")}
    settings |= scaled(dataset, scale, widths.items()) | _of_networks(settings, overrides)
    settings["steps"] = settings.get("steps", {}).get(scale, amount.steps.get(dataset, amount.steps["*"]))
    settings["validation"] = amount.validation.get(dataset, amount.validation.get("*", declared.validation))
    settings.update(train_images=amount.train_images, test_images=amount.test_images)
    norm = checked_setting("norm", overrides.get("norm", SETTINGS["norm"].default))
    if norm != SETTINGS["norm"].default:
        if "epsilon" not in overrides:
            raise UsageError(f"epsilon: expected a value with norm {norm} (the recipe's is for linf), received none")
        settings["epsilon"] = None  # The recipe's ε is for L∞. With None, an override that equals it is kept.
    kept = _kept_for_what_it_needs(METHODS[method], dataset, protocol, scale, overrides)
    limits = {"epsilon": {"most": math.prod(declared.image_shape) ** (1 / CONVEX_NORMS[norm])}}
    chosen = {}
    for key in sorted(overrides):
        value = _checked_override(key, overrides[key], limits.get(key, {}))
        default = settings.get(key, SETTINGS[key].default)
        if value != default or plain(value) != kept.get(key, plain(default)):
            chosen[key] = value
    values = settings | chosen
    own = METHODS[method].Settings
    if own is not None:
        names = [field.name for field in dataclasses.fields(own)]
        own = own(**{name: values[name] for name in names if name in values})
    shared = {key: value for key, value in values.items() if key in _SHARED}
    resolved = Experiment(dataset, method, protocol, scale, seed, tuple(chosen.items()), own, **shared)
    METHODS[method].check(resolved)
    find_classifier(resolved.classifier).check(resolved)
    return resolved


def _of_networks(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the chosen network families bring with them."""

    def asked(name: str) -> Any:
        return checked_setting(name, overrides.get(name, settings.get(name, SETTINGS[name].default)))

    families = [find_classifier(asked("classifier")), *(GENERATORS[name] for name in asked("generators"))]
    return {key: value for family in families for key, value in family.settings.items()}


def _checked_override(key: str, value: Any, limits: Mapping[str, float]) -> Any:
    try:
        return checked_setting(key, value, **limits)
    except UsageError as error:
        hint = " (on the [0,1] pixel scale: 8/255 for 8 of 255)" if key == "epsilon" and "of at most" in str(error) else ""
        raise UsageError(f"{error}{hint}") from None


def _kept_for_what_it_needs(
    method: Method, dataset: str, protocol: str, scale: str, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of the classifier that a lone generator is trained against, if an override names its method.

    An override for that classifier must be kept in the generator's experiment. Otherwise `needs` would lose an override that
    equals the generator's default.
    """
    if "lone" not in method.reads or "against" not in overrides:
        return {}
    against = checked_setting("against", overrides["against"])
    network = {key: overrides[key] for key in ("classifier",) if key in overrides}
    return experiment(dataset, against, protocol=protocol, scale=scale, **network).settings()
