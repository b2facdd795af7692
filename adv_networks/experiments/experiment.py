"""One experiment: its settings, resolved from recipe, method, protocol, scale and overrides."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adv_networks.errors import UsageError
from adv_networks.experiments.attacks import Attack, resolve_attack
from adv_networks.experiments.datasets import find_dataset
from adv_networks.experiments.methods import METHODS, Method
from adv_networks.experiments.names import shortened
from adv_networks.experiments.recipes import PROTOCOLS, recipe_of
from adv_networks.experiments.scales import SCALES, scaled
from adv_networks.experiments.settings import LARGEST, NORMS, checked, choose, plain, setting, written

_INITIALIZERS = ("he_normal", "lecun_normal", "truncated_normal")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One training run, fully resolved: what `experiment.json` holds and what the update rules read.

    Every field after `own` is a setting that a flag of the same name overrides; so are the fields of `own`, which are those
    that the method alone knows (`defences.base.Defence.Settings`).
    """

    dataset: str
    method: str
    protocol: str
    scale: str
    seed: int
    overrides: tuple[tuple[str, Any], ...] = ()
    own: Any = None

    epsilon: float = setting(0.3, "size of the perturbations in the norm, on the [0,1] pixel scale", "perturbation", above=0)
    norm: str = setting(
        "linf",
        "norm of the perturbations, in training and under attack; others than linf need an epsilon",
        "perturbation",
        choices=tuple(NORMS),
    )
    steps: int = setting(200_000, "iterations: minibatches seen by D", least=1)
    batch_size: int = setting(64, "images per minibatch", least=1)
    precision: str = setting(
        "float32",
        "in which the layers of a network in training compute; weights, sums and what is saved are float32",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    xla: bool = setting(False, "compile the training step by XLA")

    classifier: str = setting("d1", "discriminative network (appendix, Fig. 3)", choices=("d1", "d2"))
    classifier_width: int = setting(32, "filters of the discriminative network's first convolution", least=1)
    logits_initializer: str = setting("zeros", "d1: initial kernel of the last layer", choices=("zeros", "glorot_uniform"))
    stem_normalisation: bool = setting(True, "d2: BN and ReLU follow the first convolution")
    final_normalisation: bool = setting(False, "d2: BN and ReLU precede the pooling")
    kernel_initializer: str = setting(
        "he_normal",
        "initial kernels of d2 and of the generators; truncated_normal, of standard deviation 0.02, those of their fully "
        "connected layers too",
        choices=_INITIALIZERS,
    )
    strided_padding: str = setting(
        "same",
        "padding of strided convolutions: TensorFlow's, or as much at the end as at the beginning",
        choices=("same", "symmetric"),
    )
    pixel_levels: int = setting(255, "the networks see pixel / this, rescaled to [-1,1]", choices=(255, 256))
    learning_rate: float = setting(0.01, "initial learning rate of D, η_D", above=0)
    learning_rate_drops: tuple[float, ...] = setting(
        (), "fractions of the iterations after which η_D is divided by 10", above=0, most=1
    )
    momentum: float = setting(0.9, "momentum of D's SGD", least=0, most=1)
    weight_decay: float = setting(1e-5, "wd of the term wd/2 Σ w² over D's kernels", least=0)

    generators: tuple[str, ...] = setting(
        ("g1",),
        "generative networks that share out the examples of each minibatch (appendix, Fig. 4; `released_mnist` is the "
        "authors' code's)",
        "generator",
        choices=("g1", "g2", "g3", "released_mnist"),
    )
    generator_width: int = setting(64, "k, the width of the generative networks", "generator", least=1)
    encoder_widths: tuple[int, ...] = setting(
        (1, 1, 2), "widths of g1's three encoder convolutions, in k", "generator", least=1
    )
    last_kernel_initializer: str = setting(
        "he_normal", "initial kernels of the generators' deconvolutions and last layer", "generator", choices=_INITIALIZERS
    )
    generator_optimizer: str = setting("adam", "optimiser of G", "generator", choices=("adam", "sgd"))
    generator_learning_rate: float = setting(0.002, "learning rate of G, η_G", "generator", above=0)
    generator_momentum: float = setting(0.5, "G's momentum: β1 of Adam, momentum of SGD", "generator", least=0, most=1)
    generator_steps: int = setting(5, "gradient steps of G on each minibatch", "generator", least=1)
    generator_weight_decay: float = setting(0.0, "wd of the same term over G's kernels", "generator", least=0)
    clip_perturbed: bool = setting(False, "clip x + εG(x) to [0,1] in training", "generator")
    discriminator_period: int = setting(1, "D is updated on every this many-th minibatch", "game", least=1)

    against: str = setting(
        "standard",
        "method of the classifier that a generator alone is trained against",
        "lone",
        choices=("standard", "pgd", "advnet", "ensemble", "advnet+ensemble"),
    )
    adversarial_weight: float = setting(1.0, "λ, the weight of the adversarial loss (Eq. 4)", "generator", least=0)
    gradient_penalty: float = setting(0.01, "γ, the weight of the gradient regulariser (Eq. 5)", "game", least=0)
    regulariser: str = setting(
        "fd",
        "Hessian-vector product of Eq. 5: finite difference, double backprop or none",
        "game",
        choices=("fd", "exact", "none"),
    )
    regulariser_sign: int = setting(1, "1 as in Eq. 5, -1 as in the released code", "game", choices=(1, -1))
    finite_difference_rate: str = setting(
        "generator", "h is this network's initial learning rate / 10", "game", choices=("generator", "discriminator")
    )
    compare_regulariser: bool = setting(
        False, "at each validation, also log how well the finite difference agrees with double backprop", "game"
    )

    pgd_steps: int = setting(10, "steps of PGD in training and evaluation (Eq. 7)", "pgd", least=1)
    pgd_step_fraction: float = setting(0.25, "step size of PGD over ε", "pgd", above=0)
    pgd_clip_start: bool = setting(True, "clip PGD's random start to [0,1]", "pgd")

    augment_pad: int = setting(0, "random pad-and-crop by at most this many pixels, with flips; 0: no augmentation", least=0)
    extra_images: int = setting(0, "images drawn at random from the extra split", least=0)
    extra_replacement: bool = setting(False, "draw them with replacement")
    validation: int = setting(0, "training images held out for validation", least=0)
    train_images: int = setting(0, "use only the first this many training images; 0: all", least=0)
    test_images: int = setting(0, "use only the first this many test images; 0: all", "test", least=0)
    bn_evaluation: str = setting(
        "moving", "BN at evaluation: moving averages, or statistics of each batch of 64", "frozen", choices=("moving", "batch")
    )

    @property
    def name(self) -> str:
        """The run's directory name: data set, method, scale, seed, then the protocol and the overrides that training reads."""
        parts = [self.dataset, self.method, self.scale, f"s{self.seed}"]
        parts += [self.protocol] * (self.protocol != "paper")
        parts += [f"{key}={written(value)}" for key, value in self.overrides if self.trains_with(key)]
        return shortened("-".join(parts))

    def trains_with(self, setting: str) -> bool:
        """Whether the training reads a setting; the others only change how its result is evaluated."""
        method = METHODS[self.method]
        if setting not in _SHARED:
            return method.Settings is not None and setting in {field.name for field in dataclasses.fields(method.Settings)}
        part = SETTINGS[setting].metadata["part"]
        return not part or part in method.reads

    def trained(self) -> Experiment:
        """The experiment that is trained for this one: without the overrides that its training does not read."""
        read = {key: value for key, value in self.overrides if self.trains_with(key)}
        if len(read) == len(self.overrides):
            return self
        return experiment(self.dataset, self.method, protocol=self.protocol, scale=self.scale, seed=self.seed, **read)

    @property
    def finite_difference_step(self) -> float:
        """h of Eq. 5: a tenth of the learning rate that `finite_difference_rate` names."""
        return (self.generator_learning_rate if self.finite_difference_rate == "generator" else self.learning_rate) / 10

    def sibling(self, method: str, **changes: Any) -> Experiment:
        """The experiment of another method that is otherwise like this one, as it is trained.

        Args:
            method: its name.
            changes: overrides that it has beside this one's.
        """
        names = dict(protocol=self.protocol, scale=self.scale, seed=self.seed)
        return experiment(self.dataset, method, **names, **(dict(self.overrides) | changes)).trained()

    def needs(self) -> dict[str, Experiment]:
        """The experiments whose runs this one builds upon, by their role in it."""
        return METHODS[self.method].needs(self)

    def attack(self, text: str) -> Attack:
        """The attack that a text of the grammar names (`resolve_attack`), at this experiment's ε, norm, scale and settings."""
        return resolve_attack(text, self)

    def settings(self) -> dict[str, Any]:
        """All settings as plain values, in the form that a JSON file gives back; those of the method's own among them."""
        values = dataclasses.asdict(self)
        own = values.pop("own")
        return {key: plain(value) for key, value in (values | (own or {})).items()}


def results_group(results: Path, scale: str, *, protocol: str = "paper", **overrides: Any) -> Path:
    """The directory of the results that one scale, protocol and set of overrides have in common.

    Raises:
        UsageError: an override of another type than the setting's, or out of its range.
    """
    parts = [scale] + [protocol] * (protocol != "paper")
    parts += [f"{key}={written(checked_setting(key, value))}" for key, value in sorted(overrides.items())]
    return results / shortened("-".join(parts))


_SHARED = frozenset(field.name for field in dataclasses.fields(Experiment) if "help" in field.metadata)

# By name; a method adds those of its own when it is declared.
SETTINGS: dict[str, dataclasses.Field] = {
    field.name: field for field in dataclasses.fields(Experiment) if "help" in field.metadata
}


def checked_setting(name: str, value: Any, **limits: float) -> Any:
    """The value of the setting of that name, in its declared type and range (`settings.checked`)."""
    return checked(choose(SETTINGS, name, "setting"), value, **limits)


def experiment(
    dataset: str, method: str, *, protocol: str = "paper", scale: str = "cpu", seed: int = 0, **overrides: Any
) -> Experiment:
    """Resolves one experiment: the data set's recipe, the method's settings, the protocol, the scale, then the overrides.

    Args:
        dataset: name of a data set, or the path of a folder or file that holds one.
        method: key of `METHODS`.
        protocol: key of `PROTOCOLS`.
        scale: key of `SCALES`.
        seed: of the run.
        overrides: settings by name, keys of `SETTINGS`.

    Raises:
        UsageError: a name that is not declared, an override out of its range, or another norm than the recipes' without an ε.

    Example:
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
    settings |= scaled(dataset, scale, widths.items())
    settings["steps"] = amount.steps.get(dataset, amount.steps["*"])
    settings["validation"] = amount.validation.get(dataset, amount.validation.get("*", declared.validation))
    settings.update(train_images=amount.train_images, test_images=amount.test_images)
    norm = checked_setting("norm", overrides.get("norm", SETTINGS["norm"].default))
    if norm != SETTINGS["norm"].default:
        if "epsilon" not in overrides:
            raise UsageError(f"epsilon: expected a value with norm {norm} (the recipe's is of linf), received none")
        settings["epsilon"] = None  # The recipe's number is of L∞; without it, an override that equals it is kept.
    kept = _kept_for_what_it_needs(METHODS[method], dataset, protocol, scale, overrides)
    limits = {"epsilon": {"most": math.prod(declared.image_shape) ** (1 / NORMS[norm])}}
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
    return resolved


def _checked_override(key: str, value: Any, limits: Mapping[str, float]) -> Any:
    try:
        return checked_setting(key, value, **limits)
    except UsageError as error:
        hint = " (on the [0,1] pixel scale: 8/255 for 8 of 255)" if key == "epsilon" and "of at most" in str(error) else ""
        raise UsageError(f"{error}{hint}") from None


def _kept_for_what_it_needs(
    method: Method, dataset: str, protocol: str, scale: str, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of the classifier that a generator alone is trained against, where an override names it.

    An override of that classifier must stay one here, or `needs` would lose it where it equals a generator's default.
    """
    if "lone" not in method.reads or "against" not in overrides:
        return {}
    against = checked_setting("against", overrides["against"])
    return experiment(dataset, against, protocol=protocol, scale=scale).settings()
