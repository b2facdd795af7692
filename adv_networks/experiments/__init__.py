"""The paper as data: data sets, methods, attacks, protocols, scales, tables and the experiments they name.

Everything that is a number of the paper or of its authors' released code is declared here once and resolved by `experiment`.
Imports no TensorFlow, so the command line can list and plan without loading it. ε is on the [0,1] pixel scale everywhere.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adv_networks.errors import UsageError

# With BN on batch statistics the batch size is part of the protocol; like the released code's, its last batch is full.
BATCH_STATISTICS_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A labelled image data set. `tfds_name` is None for the one that ships with scikit-learn, `path` is of a user's own.

    Without `class_names` the classes go by their numbers.
    """

    name: str
    tfds_name: str | None
    image_shape: tuple[int, int, int]
    classes: int
    train_images: int
    test_images: int
    validation: int
    recipe: Mapping[str, Any]
    path: str | None = None
    class_names: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash(self.name)

    def class_name(self, label: int) -> str:
        """What the class of that label is called."""
        return self.class_names[label] if self.class_names else str(label)


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to train D or G: `letter` is the paper's name of the model, `needs` the method of the run it builds upon.

    `reads` names the parts of the settings (see `_setting`) that its training depends on, beside those of no part;
    `settings` are what the paper gives this method on every data set.
    """

    name: str
    letter: str
    title: str
    reads: tuple[str, ...] = ()
    trains_classifier: bool = True
    static_examples: bool = False
    needs: str | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def trains_generator(self) -> bool:
        """Whether the run has generators of its own."""
        return "generator" in self.reads


@dataclasses.dataclass(frozen=True)
class Attack:
    """An attack with all that its result depends on (Eq. 6-8); `kind` names the function of `attacks` that runs it.

    An attack whose ε is None is only a name: `Experiment.attack` or `dataclasses.replace` gives it one.
    `label` is the label that FGS ascends on: the true one or the one that the source predicts.
    `step_fraction` is PGD's step size over ε, `clip_start` whether its random start is clipped to [0,1]; ε is in `norm`.
    `loss` and the number of `targets` (0: untargeted) are those of the attacks in `strong_attacks`; `steps` are Square's
    queries. The attack of kind "worst" is the worst, image by image, of the `parts`: labels of other columns of its row.
    That of kind "foreign" is the class `algorithm` of another `library`, made with these `arguments`.
    """

    name: str
    kind: str
    epsilon: float | None = None
    label: str = "true"
    steps: int = 1
    step_fraction: float = 1.0
    restarts: int = 1
    clip_start: bool = True
    seed: int = 0
    norm: str = "linf"
    loss: str = "cross_entropy"
    targets: int = 0
    parts: tuple[str, ...] = ()
    library: str = ""
    algorithm: str = ""
    arguments: tuple[tuple[str, Any], ...] = ()

    @property
    def title(self) -> str:
        """Its name and the ball that it is held to."""
        return f"{self.name} ({self.norm} ≤ {self.epsilon:g})"

    @property
    def packages(self) -> tuple[str, ...]:
        """The further packages that its result depends on."""
        return (LIBRARIES[self.library],) if self.library else ()

    def settings(self) -> str:
        """All that the attack's result depends on, as one line of JSON. What the first records did not know goes unsaid."""
        unsaid = {
            "name": self.name, "norm": "linf", "loss": "cross_entropy", "targets": 0, "parts": (),
            "library": "", "algorithm": "", "arguments": (),
        }  # fmt: skip
        return json.dumps(dict(dataclasses.asdict(self).items() - unsaid.items()), sort_keys=True)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Named settings laid over the data set's recipe: a sequence of (data sets, methods, settings), None meaning all."""

    name: str
    title: str
    rules: tuple[tuple[tuple[str, ...] | None, tuple[str, ...] | None, Mapping[str, Any]], ...] = ()

    def settings(self, dataset: str, method: str) -> dict[str, Any]:
        """The settings of this protocol for one data set and method; a later rule wins."""
        merged: dict[str, Any] = {}
        for datasets, methods, settings in self.rules:
            if (datasets is None or dataset in datasets) and (methods is None or method in methods):
                merged.update(settings)
        return merged


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is computed, never what. Mappings are by data set, with "*" for the others; 0 images means all.

    Widths are the recipe's divided by the divisor, and so are the steps of the strong attacks; the data set says how many
    images to hold out for validation where `validation` does not.
    """

    name: str
    title: str
    steps: Mapping[str, int]
    generator_divisor: Mapping[str, int]
    classifier_divisor: Mapping[str, int]
    train_images: int = 0
    test_images: int = 0
    validation: Mapping[str, int] = dataclasses.field(default_factory=dict)
    attack_divisor: int = 1

    def __hash__(self) -> int:
        return hash(self.name)


def _setting(
    default: Any,
    help: str,
    part: str = "",
    *,
    choices: tuple | None = None,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """A field of `Experiment` with its help and range; `default` is the value that the paper gives all data sets.

    `part` says what reads it: "" every training; "perturbation" those with perturbed images; "generator" those of a
    generator; "game" those of D against generators; "pgd" those that run PGD; "frozen" those that attack a finished
    classifier; "lone" those of a generator alone; "test" none. Evaluation may read any of them.
    """
    rule = {"help": help, "part": part, "choices": choices, "above": above, "least": least, "most": most}
    return dataclasses.field(default=default, metadata=rule)


# A finite difference of lower precision is noise, and so is double backprop where small numbers vanish.
_REGULARISERS_IN: dict[str, tuple[str, ...]] = {
    "float32": ("fd", "exact", "none"),
    "mixed_bfloat16": ("exact", "none"),
    "mixed_float16": ("none",),
}

# The p of each norm, taken over all pixels and channels of an image.
NORMS: dict[str, float] = {"linf": math.inf, "l2": 2, "l1": 1}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One training run, fully resolved: what `experiment.json` holds and what the update rules read.

    Every field after `overrides` is a setting that a flag of the same name overrides.
    """

    dataset: str
    method: str
    protocol: str
    scale: str
    seed: int
    overrides: tuple[tuple[str, Any], ...] = ()

    epsilon: float = _setting(0.3, "size of the perturbations in the norm, on the [0,1] pixel scale", "perturbation", above=0)
    norm: str = _setting(
        "linf",
        "norm of the perturbations, in training and under attack; others than linf need an epsilon",
        "perturbation",
        choices=tuple(NORMS),
    )
    steps: int = _setting(200_000, "iterations: minibatches seen by D", least=1)
    batch_size: int = _setting(64, "images per minibatch", least=1)
    precision: str = _setting(
        "float32",
        "in which the layers of a network in training compute; weights, sums and what is saved are float32",
        choices=tuple(_REGULARISERS_IN),
    )
    xla: bool = _setting(False, "compile the training step by XLA")

    classifier: str = _setting("d1", "discriminative network (appendix, Fig. 3)", choices=("d1", "d2"))
    classifier_width: int = _setting(32, "filters of the discriminative network's first convolution", least=1)
    logits_initializer: str = _setting("zeros", "d1: initial kernel of the last layer", choices=("zeros", "glorot_uniform"))
    stem_normalisation: bool = _setting(True, "d2: BN and ReLU follow the first convolution")
    final_normalisation: bool = _setting(False, "d2: BN and ReLU precede the pooling")
    pixel_levels: int = _setting(255, "the networks see pixel / this, rescaled to [-1,1]", choices=(255, 256))
    learning_rate: float = _setting(0.01, "initial learning rate of D, η_D", above=0)
    learning_rate_drops: tuple[float, ...] = _setting(
        (), "fractions of the iterations after which η_D is divided by 10", above=0, most=1
    )
    momentum: float = _setting(0.9, "momentum of D's SGD", least=0, most=1)
    weight_decay: float = _setting(1e-5, "wd of the term wd/2 Σ w² over D's kernels", least=0)

    generators: tuple[str, ...] = _setting(
        ("g1",),
        "generative networks that share out the examples of each minibatch (appendix, Fig. 4; `released_mnist` is the "
        "authors' code's)",
        "generator",
        choices=("g1", "g2", "g3", "released_mnist"),
    )
    generator_width: int = _setting(64, "k, the width of the generative networks", "generator", least=1)
    encoder_widths: tuple[int, ...] = _setting(
        (1, 1, 2), "widths of g1's three encoder convolutions, in k", "generator", least=1
    )
    generator_optimizer: str = _setting("adam", "optimiser of G", "generator", choices=("adam", "sgd"))
    generator_learning_rate: float = _setting(0.002, "learning rate of G, η_G", "generator", above=0)
    generator_momentum: float = _setting(0.5, "G's momentum: β1 of Adam, momentum of SGD", "generator", least=0, most=1)
    generator_steps: int = _setting(5, "gradient steps of G on each minibatch", "generator", least=1)
    generator_weight_decay: float = _setting(0.0, "wd of the same term over G's kernels", "generator", least=0)
    clip_perturbed: bool = _setting(False, "clip x + εG(x) to [0,1] in training", "generator")
    discriminator_period: int = _setting(1, "D is updated on every this many-th minibatch", "game", least=1)

    against: str = _setting(
        "standard",
        "method of the classifier that a generator alone is trained against",
        "lone",
        choices=("standard", "pgd", "advnet", "ensemble", "advnet+ensemble"),
    )
    adversarial_weight: float = _setting(1.0, "λ, the weight of the adversarial loss (Eq. 4)", "generator", least=0)
    gradient_penalty: float = _setting(0.01, "γ, the weight of the gradient regulariser (Eq. 5)", "game", least=0)
    regulariser: str = _setting(
        "fd",
        "Hessian-vector product of Eq. 5: finite difference, double backprop or none",
        "game",
        choices=("fd", "exact", "none"),
    )
    regulariser_sign: int = _setting(1, "1 as in Eq. 5, -1 as in the released code", "game", choices=(1, -1))
    finite_difference_rate: str = _setting(
        "generator", "h is this network's initial learning rate / 10", "game", choices=("generator", "discriminator")
    )
    compare_regulariser: bool = _setting(
        False, "at each validation, also log how well the finite difference agrees with double backprop", "game"
    )

    pgd_steps: int = _setting(10, "steps of PGD in training and evaluation (Eq. 7)", "pgd", least=1)
    pgd_step_fraction: float = _setting(0.25, "step size of PGD over ε", "pgd", above=0)
    pgd_clip_start: bool = _setting(True, "clip PGD's random start to [0,1]", "pgd")

    augment_pad: int = _setting(0, "random pad-and-crop by at most this many pixels, with flips; 0: no augmentation", least=0)
    extra_images: int = _setting(0, "images drawn at random from the extra split", least=0)
    extra_replacement: bool = _setting(False, "draw them with replacement")
    validation: int = _setting(0, "training images held out for validation", least=0)
    train_images: int = _setting(0, "use only the first this many training images; 0: all", least=0)
    test_images: int = _setting(0, "use only the first this many test images; 0: all", "test", least=0)
    bn_evaluation: str = _setting(
        "moving", "BN at evaluation: moving averages, or statistics of each batch of 64", "frozen", choices=("moving", "batch")
    )

    @property
    def name(self) -> str:
        """The run's directory name: data set, method, scale, seed, then the protocol and the overrides that training reads."""
        parts = [self.dataset, self.method, self.scale, f"s{self.seed}"]
        parts += [self.protocol] * (self.protocol != "paper")
        parts += [f"{key}={written(value)}" for key, value in self.overrides if self.trains_with(key)]
        return _shortened("-".join(parts))

    def trains_with(self, setting: str) -> bool:
        """Whether the training reads a setting; the others only change how its result is evaluated."""
        part = SETTINGS[setting].metadata["part"]
        return not part or part in METHODS[self.method].reads

    def trained(self) -> Experiment:
        """The experiment that is trained for this one: without the overrides that its training does not read."""
        read = {key: value for key, value in self.overrides if self.trains_with(key)}
        return experiment(self.dataset, self.method, protocol=self.protocol, scale=self.scale, seed=self.seed, **read)

    @property
    def finite_difference_step(self) -> float:
        """h of Eq. 5: a tenth of the learning rate that `finite_difference_rate` names."""
        return (self.generator_learning_rate if self.finite_difference_rate == "generator" else self.learning_rate) / 10

    def needs(self) -> Experiment | None:
        """The experiment whose classifier this one builds upon (A for static examples, or one held fixed), if any."""
        needed = self.against if "lone" in METHODS[self.method].reads else METHODS[self.method].needs
        if needed is None:
            return None
        return experiment(
            self.dataset, needed, protocol=self.protocol, scale=self.scale, seed=self.seed, **dict(self.overrides)
        ).trained()

    def attack(self, name: str) -> Attack:
        """The attack of that name (or see `foreign_attack`) at this experiment's ε, norm, scale and PGD settings."""
        if ":" in name:
            return foreign_attack(name, epsilon=self.epsilon, norm=self.norm)
        attack = ATTACKS[name]
        if attack.kind != "clean":
            attack = dataclasses.replace(attack, epsilon=self.epsilon, norm=self.norm)
        if name in STRONG_ATTACKS:
            return dataclasses.replace(attack, steps=max(1, attack.steps // SCALES[self.scale].attack_divisor))
        if attack.kind == "pgd":
            attack = dataclasses.replace(
                attack, steps=self.pgd_steps, step_fraction=self.pgd_step_fraction, clip_start=self.pgd_clip_start
            )
        return attack

    def settings(self) -> dict[str, Any]:
        """All fields as plain values, in the form that a JSON file gives back."""
        return {key: _plain(value) for key, value in dataclasses.asdict(self).items()}


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def written(value: Any) -> str:
    """A setting's value in the name of a file: 0.25_0.5 for (0.25, 0.5)."""
    if isinstance(value, tuple):
        return "_".join(map(written, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def results_group(results: Path, scale: str, *, protocol: str = "paper", **overrides: Any) -> Path:
    """The directory of the results that one scale, protocol and set of overrides have in common.

    Raises:
        UsageError: an override of another type than the setting's, or out of its range.
    """
    parts = [scale] + [protocol] * (protocol != "paper")
    parts += [f"{key}={written(_check(key, value))}" for key, value in sorted(overrides.items())]
    return results / _shortened("-".join(parts))


def _shortened(name: str) -> str:
    """A name that file systems take, room for endings included: the end of a longer one is a hash of all of it."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def generator_file(position: int) -> str:
    """The file of a run's generator, which is at that position (from 0) among `generators`."""
    return f"g-{position + 1}.keras" if position else "g.keras"


SETTINGS: dict[str, dataclasses.Field] = {
    field.name: field for field in dataclasses.fields(Experiment) if "help" in field.metadata
}

_SGD = dict(generator_optimizer="sgd", generator_learning_rate=0.01, generator_momentum=0.9)

_CIFAR = dict(
    epsilon=8 / 256, classifier="d2", classifier_width=16,
    learning_rate=0.1, learning_rate_drops=(0.5,), weight_decay=1e-5, augment_pad=4,
)  # fmt: skip

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        # Not of the paper. MNIST's recipe; ε was chosen on the validation images (PGD on A and C after 600 iterations,
        # in %: 2 and 22 at 0.2, 14 and 52 at 0.15, 57 and 81 at 0.1).
        Dataset("digits", None, (8, 8, 1), 10, 1_437, 360, 237, dict(epsilon=0.15, weight_decay=1e-3, generator_width=8)),
        Dataset("mnist", "mnist", (28, 28, 1), 10, 60_000, 10_000, 5_000, dict(epsilon=0.3, weight_decay=1e-3)),
        Dataset(
            "svhn", "svhn_cropped", (32, 32, 3), 10, 73_257, 26_032, 5_000,
            dict(epsilon=0.05, classifier="d2", classifier_width=16, learning_rate_drops=(0.5,), weight_decay=1e-5,
                 extra_images=80_000, **_SGD),
        ),
        Dataset(
            "cifar10", "cifar10", (32, 32, 3), 10, 50_000, 10_000, 5_000, _CIFAR,
            class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        ),
        Dataset("cifar100", "cifar100", (32, 32, 3), 100, 50_000, 10_000, 5_000, _CIFAR),
    )
}  # fmt: skip

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("standard", "A", "standard training, undefended"),
        Method("pgd", "B", "adversarial training with PGD (Eq. 3, 7)", ("perturbation", "pgd")),
        Method("advnet", "C", "adversarial network: D co-trained with generators (Eq. 4-5)",
               ("perturbation", "generator", "game")),
        Method("ensemble", "EAT", "ensemble adversarial training on static examples of A (Section 4.4)",
               ("perturbation", "pgd", "frozen"), static_examples=True, needs="standard"),
        Method("advnet+ensemble", "C+EAT", "adversarial network and static examples of A together (Section 4.6)",
               ("perturbation", "generator", "game", "pgd", "frozen"), static_examples=True, needs="standard"),
        Method("generator", "G", "a generator trained against a classifier as it is: A (Section 4.5), or --against",
               ("perturbation", "generator", "frozen", "lone"), trains_classifier=False, needs="standard",
               settings=dict(generator_steps=1, **_SGD)),
    )
}  # fmt: skip

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack("clean", "clean", epsilon=0.0),
        Attack("fgs", "fgs"),
        Attack("fgs_predicted", "fgs", label="predicted"),
        Attack("least_likely", "least_likely"),
        Attack("pgd", "pgd", steps=10, step_fraction=0.25),
        Attack("generator", "generator"),
        Attack("worst", "worst"),
    )
}

# Beyond the paper: PGD with steps of 2.5 ε / 100 (Madry et al., 2018) and ten restarts, and the attacks of AutoAttack with the
# numbers of its standard version (Croce and Hein, 2020).
STRONG_ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack("restarted_pgd", "restarted_pgd", steps=100, step_fraction=0.025, restarts=10),
        Attack("apgd_ce", "apgd", steps=100),
        Attack("apgd_dlr", "apgd", steps=100, loss="dlr"),
        Attack("apgd_targeted", "apgd", steps=100, loss="dlr", targets=9),
        Attack("fab_targeted", "fab", steps=100, targets=9),
        Attack("square", "square", steps=5_000),
    )
}
ATTACKS |= STRONG_ATTACKS

# Other libraries whose attacks can be run, and the packages that they are in.
LIBRARIES: dict[str, str] = {"art": "adversarial-robustness-toolbox", "foolbox": "foolbox"}


def foreign_attack(text: str, *, epsilon: float, norm: str) -> Attack:
    """The attack of another library that is written LIBRARY:CLASS or LIBRARY:CLASS:ARGUMENT=VALUE:ARGUMENT=VALUE.

    It is held to the ball of ε in the norm, unless its own arguments `epsilon` and `norm` say otherwise. The other arguments
    are the class's: numbers, True, False, None or text.

    Raises:
        UsageError: written otherwise, or a norm of its own without an ε.
    """
    library, _, rest = text.partition(":")
    algorithm, *pairs = rest.split(":")
    if library not in LIBRARIES or not algorithm.isidentifier() or not all(re.fullmatch(r"\w+=.+", pair) for pair in pairs):
        raise UsageError(
            f"attack: expected LIBRARY:CLASS or LIBRARY:CLASS:ARGUMENT=VALUE with a library of {', '.join(LIBRARIES)}, "
            f"received {text}"
        )
    given = {argument: _literal(value) for argument, _, value in (pair.partition("=") for pair in pairs)}
    own_norm, own_epsilon = given.pop("norm", norm), given.pop("epsilon", None)
    choose(NORMS, own_norm, f"norm of {text}")
    if own_epsilon is None and own_norm != norm:
        raise UsageError(f"epsilon of {text}: expected a value with norm {own_norm} (the other is of {norm}), received none")
    own_epsilon = epsilon if own_epsilon is None else own_epsilon
    if isinstance(own_epsilon, (str, bool)) or not 0 < own_epsilon < math.inf:
        raise UsageError(f"epsilon of {text}: expected a value above 0, received {own_epsilon}")
    name = ":".join((library, algorithm, *(f"{argument}={value}" for argument, value in given.items())))
    options = dict(library=library, algorithm=algorithm, arguments=tuple(sorted(given.items())))
    return Attack(name, "foreign", epsilon=float(own_epsilon), norm=own_norm, **options)


def _literal(text: str) -> float | str | None:
    """The number or constant that the text is in Python, or the text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if value is None or isinstance(value, (int, float)) else text


# What ensemble adversarial training adds to the clean images, in equal parts (Section 4.4).
STATIC_ATTACKS: tuple[str, ...] = ("fgs_predicted", "pgd", "least_likely")

_GAME = ("advnet", "advnet+ensemble")

PROTOCOLS: dict[str, Protocol] = {
    "paper": Protocol("paper", "as the paper's text says"),
    "released": Protocol(
        "released",
        "as the authors' released code does",
        (
            (None, None, dict(regulariser_sign=-1, finite_difference_rate="discriminator", bn_evaluation="batch",
                              pgd_clip_start=False)),
            (("digits", "mnist"), None, dict(logits_initializer="glorot_uniform")),
            (("svhn", "cifar10", "cifar100"), None, dict(encoder_widths=(1, 2, 4))),
            (None, ("standard", "pgd", "ensemble"), dict(weight_decay=1e-4)),
            (("mnist",), ("standard",), dict(learning_rate=0.1)),
            (("mnist",), ("ensemble",), dict(learning_rate=0.1, learning_rate_drops=(0.5,))),
            (("mnist",), _GAME, dict(weight_decay=1e-5, generator_weight_decay=1e-5, learning_rate_drops=(0.5,),
                                           discriminator_period=5, generators=("released_mnist",), **_SGD)),
            (("svhn",), None, dict(stem_normalisation=False, final_normalisation=True, pixel_levels=256,
                                   extra_replacement=True)),
            (("svhn",), _GAME, dict(weight_decay=1e-4, generator_weight_decay=1e-4)),
            (("cifar10", "cifar100"), None, dict(augment_pad=2)),
            (("cifar10", "cifar100"), ("standard", "ensemble"), dict(learning_rate_drops=(0.5, 0.75))),
            (("cifar10", "cifar100"), _GAME, dict(weight_decay=1e-5, generator_weight_decay=1e-5)),
        ),
    ),
}  # fmt: skip

STRATEGIES = {
    "auto": "mirrored where there are several GPUs, else one",
    "one": "one device",
    "mirrored": "all visible GPUs share each minibatch",
    "multi_worker": "so do those of several processes, each started with the same command and its own TF_CONFIG",
}

_ONE = {"*": 1}

SCALES: dict[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale(
            "tiny", "seconds, for tests: the numbers mean nothing", steps={"*": 8, "mnist": 20, "digits": 20},
            generator_divisor={"*": 16, "digits": 1}, classifier_divisor=_ONE, train_images=1024, test_images=128,
            validation={"*": 64}, attack_divisor=50,
        ),
        Scale(
            "cpu", "two cores, minutes to an hour a run", steps={"*": 1_000, "mnist": 3_000, "digits": 600},
            generator_divisor={"*": 4, "mnist": 8, "digits": 1}, classifier_divisor=_ONE,
        ),
        Scale(
            "paper", "the paper's 200k iterations at full width", steps={"*": 200_000, "digits": 20_000},
            generator_divisor=_ONE, classifier_divisor=_ONE, validation={"svhn": 0, "cifar10": 0, "cifar100": 0},
        ),
    )
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table: the runs that have it in common, classifiers under attack or generators that attack.

    `settings` are at the paper's scale: a width among them is divided as the scale divides widths. `datasets` are the
    table's data sets that have this row, None meaning all; `protocol` is the row's own, None meaning the table's.
    """

    label: str
    method: str
    settings: tuple[tuple[str, Any], ...] = ()
    datasets: tuple[str, ...] | None = None
    protocol: str | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table: an attack on the row's classifier, crafted on it too unless `source` names the surrogate's method.

    Where the row is a generator, `target` names the method of the classifier that it attacks. These other runs have the
    next seed unless `same_seed`. `generator` is the position of the attacking generator among its run's. `fresh` makes the
    source a generator trained against the row's own run. A column that is the worst of others names them in `worst_of`.
    """

    label: str
    attack: str
    source: str | None = None
    target: str | None = None
    same_seed: bool = False
    generator: int = 0
    fresh: bool = False
    worst_of: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class AttackSuite:
    """Columns to add to a table's own; `images` is how many of the first test images it takes where nothing else says."""

    name: str
    title: str
    columns: tuple[Column, ...] = ()
    images: int = 0


_AUTOATTACK = (
    Column("APGD-CE", "apgd_ce"),
    Column("APGD-T", "apgd_targeted"),
    Column("FAB-T", "fab_targeted"),
    Column("Square", "square"),
)

SUITES: dict[str, AttackSuite] = {
    suite.name: suite
    for suite in (
        AttackSuite("paper", "the table's own attacks"),
        AttackSuite(
            "strong",
            "and PGD-100 with 10 restarts, the four of AutoAttack, APGD-DLR, a fresh generator, and the worst case of all",
            (
                Column("PGD-100×10", "restarted_pgd"),
                *_AUTOATTACK,
                Column("APGD-DLR", "apgd_dlr"),
                Column("Fresh G", "generator", source="generator", same_seed=True, fresh=True),
                Column("AutoAttack", "worst", worst_of=tuple(column.label for column in _AUTOATTACK)),
                Column("Worst case", "worst"),
            ),
            images=1_000,
        ),
    )
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the paper: `rows` of runs against `columns` of attacks, repeated for each data set.

    Without `datasets` it is of any one that is asked for (`on`). With `along_training` it also reports what the runs logged
    on their way, and the time that a step takes. `suite` names the attack suite whose columns it has beside its own, and
    `has_foreign_attacks` says whether it has other libraries' too.
    """

    name: str
    title: str
    datasets: tuple[str, ...]
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    along_training: bool = False
    suite: str = "paper"
    has_foreign_attacks: bool = False

    @property
    def rows_are_classifiers(self) -> bool:
        """Whether its rows are under attack, not generators that attack."""
        return all(METHODS[row.method].trains_classifier for row in self.rows)

    @property
    def row_settings(self) -> frozenset[str]:
        """The settings that rows have of their own, so that an override would give several rows the same runs."""
        return frozenset(key for row in self.rows for key, _ in row.settings)

    def under(self, suite: str) -> Table:
        """This table with the columns of an attack suite; a worst case that names no other columns is that of all.

        Raises:
            UsageError: the suite has columns, and the table's rows are generators.
        """
        added = choose(SUITES, suite, "attack_suite").columns
        if not added:
            return self
        self._check_under_attack("attack_suite", suite)
        every = tuple(column.label for column in (*self.columns, *added) if column.attack != "worst")
        added = tuple(
            dataclasses.replace(column, worst_of=column.worst_of or every) if column.attack == "worst" else column
            for column in added
        )
        title = f"{self.title}, {suite} attack suite"
        return dataclasses.replace(self, title=title, columns=self.columns + added, along_training=False, suite=suite)

    def with_attacks(self, names: Sequence[str]) -> Table:
        """This table with a column for each attack of another library (see `foreign_attack`), in no worst case.

        Raises:
            UsageError: there are any, and the table's rows are generators.
        """
        if not names:
            return self
        self._check_under_attack("attack", names[0])
        columns = self.columns + tuple(Column(name, name) for name in dict.fromkeys(names))
        title = f"{self.title}, with attacks of other libraries"
        return dataclasses.replace(self, title=title, columns=columns, along_training=False, has_foreign_attacks=True)

    def _check_under_attack(self, argument: str, attack: str) -> None:
        if not self.rows_are_classifiers:
            rows = f"table {self.name}" if self.name in TABLES else f"method {self.rows[0].method}"
            raise UsageError(
                f"{argument}: expected classifiers to attack with {attack}, received {rows}, which is of generators"
            )

    def on(self, datasets: tuple[str, ...] | None) -> Table:
        """The table itself, or, where it has no data sets of its own, the one of these."""
        if self.datasets:
            return self
        if not datasets:
            raise UsageError(f"table {self.name}: expected a data set, received none")
        names = ", ".join(datasets)
        return dataclasses.replace(self, name=f"{self.name}-{names}", title=f"{self.title} on {names}", datasets=datasets)

    def cells(
        self,
        scale: str,
        *,
        protocol: str = "paper",
        seed: int = 0,
        datasets: tuple[str, ...] | None = None,
        **overrides: Any,
    ) -> list[Cell]:
        """Every cell with the experiments that it rests on; `datasets` keeps only those data sets' cells.

        Raises:
            UsageError: an override of what the rows are told apart by (see `row_settings`), or another protocol where they
                have their own.
        """
        self._check_overrides(protocol, overrides)
        chosen = [name for name in self.datasets if datasets is None or name in datasets]
        return [
            self._cell(dataset, row, column, scale, protocol, seed, overrides)
            for dataset in chosen
            for row in self.rows
            if row.datasets is None or dataset in row.datasets
            for column in self.columns
        ]

    def _check_overrides(self, protocol: str, overrides: Mapping[str, Any]) -> None:
        if fixed := sorted(self.row_settings & overrides.keys()):
            key, value = fixed[0], written(_check(fixed[0], overrides[fixed[0]]))
            raise UsageError(f"{key}: expected no override with table {self.name}, whose rows set it, received {value}")
        if protocol != "paper" and any(row.protocol for row in self.rows):
            raise UsageError(f"protocol: expected paper with table {self.name}, whose rows have their own, received {protocol}")

    def _cell(
        self, dataset: str, row: Row, column: Column, scale: str, protocol: str, seed: int, overrides: Mapping[str, Any]
    ) -> Cell:
        settings = _scaled(dataset, scale, row.settings) | overrides
        own = experiment(dataset, row.method, protocol=row.protocol or protocol, scale=scale, seed=seed, **settings)
        other = None
        if column.source or column.target:
            other_seed = seed if column.same_seed else seed + 1
            method = column.source or column.target
            if column.fresh:
                # It is of the row's own kind and size, as it shares the row's settings.
                settings = settings | {"against": row.method}
                other = experiment(dataset, method, protocol=own.protocol, scale=scale, seed=other_seed, **settings)
            else:
                other = experiment(dataset, method, protocol=protocol, scale=scale, seed=other_seed, **overrides)
        target, source = (other, own) if column.target else (own, other)
        attack = dataclasses.replace(target.attack(column.attack), parts=column.worst_of)
        label = attack.title if attack.kind == "foreign" else column.label
        return Cell(self.name, dataset, row.label, label, target, source, attack, column.generator)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell: `attack` crafted on `source` (None: on the target itself) and scored on `target`.

    For the generator's attack `generator` is its position among the source's.
    """

    table: str
    dataset: str
    row: str
    column: str
    target: Experiment
    source: Experiment | None
    attack: Attack
    generator: int = 0


_LARGEST = 2**31 - 1
_LONGEST_NAME = 160


def _check(name: str, value: Any, **limits: float) -> Any:
    """The value of a setting in its declared type and range, or a UsageError that says what was expected."""
    rule, default = {**SETTINGS[name].metadata, **limits}, SETTINGS[name].default
    many = isinstance(default, tuple)
    kind = (type(default[0]) if default else float) if many else type(default)
    try:
        given = value if many and not isinstance(value, str) else (value,)
        items = [kind(item) for item in given]
        if kind is int and any(isinstance(item, float) and not item.is_integer() for item in given):
            raise ValueError
    except (TypeError, ValueError):
        raise UsageError(
            f"{name}: expected {'values' if many else 'a value'} of type {kind.__name__}, received {value}"
        ) from None
    if (many and kind is int and len(items) != len(default)) or (kind is str and not items):
        raise UsageError(f"{name}: expected {len(default)} values, received {len(items)}")
    for item in items:
        if rule["choices"] and item not in rule["choices"]:
            raise UsageError(f"{name}: expected one of {', '.join(map(str, rule['choices']))}, received {item}")
        if kind in (int, float) and not _in_range(item, rule):
            raise UsageError(f"{name}: expected a value {_range(rule)}, received {item}")
    if kind is float and many and items != sorted(set(items)):
        raise UsageError(f"{name}: expected ascending values, received {value}")
    return tuple(items) if many else items[0]


def _in_range(item: float, rule: Mapping[str, Any]) -> bool:
    """Whether a number is in the range of a setting; one that is no number is in none."""
    above, least, most = rule["above"], rule["least"], rule["most"]
    return (above is None or item > above) and (least is None or item >= least) and abs(item) <= (most or _LARGEST)


def _range(rule: Mapping[str, Any]) -> str:
    bounds = {"above": rule["above"], "of at least": rule["least"], "of at most": rule["most"] or _LARGEST}
    return " and ".join(f"{words} {bound:.10g}" for words, bound in bounds.items() if bound is not None)


def choose(mapping: Mapping[str, Any], name: str, what: str) -> Any:
    """`mapping[name]`, or a UsageError that lists the names there are."""
    if name not in mapping:
        raise UsageError(f"{what}: expected one of {', '.join(mapping)}, received {name}")
    return mapping[name]


def _scaled(dataset: str, scale: str, settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The settings with their widths divided as the scale divides them."""
    amount = SCALES[scale]
    divisors = {"generator_width": amount.generator_divisor, "classifier_width": amount.classifier_divisor}
    return {
        key: max(1, value // divisors[key].get(dataset, divisors[key]["*"])) if key in divisors else value
        for key, value in settings
    }


def experiment(
    dataset: str, method: str, *, protocol: str = "paper", scale: str = "cpu", seed: int = 0, **overrides: Any
) -> Experiment:
    """Resolves one experiment: the data set's recipe, the method's settings, the protocol, the scale, then the overrides.

    Raises:
        UsageError: a name that is not declared here, an override out of its range, or another norm than the recipes'
            without an ε or for ensemble training.
    """
    recipe = choose(DATASETS, dataset, "dataset")
    choose(METHODS, method, "method")
    amount = choose(SCALES, scale, "scale")
    if not 0 <= seed < _LARGEST:
        raise UsageError(f"seed: expected a value from 0 to {_LARGEST - 1}, received {seed}")
    settings = {
        **recipe.recipe,
        **METHODS[method].settings,
        **choose(PROTOCOLS, protocol, "protocol").settings(dataset, method),
    }
    widths = {key: settings.get(key, SETTINGS[key].default) for key in ("generator_width", "classifier_width")}
    settings |= _scaled(dataset, scale, widths.items())
    settings["steps"] = amount.steps.get(dataset, amount.steps["*"])
    settings["validation"] = amount.validation.get(dataset, amount.validation.get("*", recipe.validation))
    settings.update(train_images=amount.train_images, test_images=amount.test_images)
    norm = _check("norm", overrides.get("norm", SETTINGS["norm"].default))
    if norm != SETTINGS["norm"].default:
        _check_other_norm(norm, method, overrides)
        settings["epsilon"] = None  # The recipe's number is of L∞; without it, an override that equals it is kept.
    builds_upon: dict[str, Any] = {}
    if "lone" in METHODS[method].reads and "against" in overrides:
        # What is an override of the classifier is one here, or `needs` would lose it where it is a generator's default.
        against = _check("against", overrides["against"])
        builds_upon = experiment(dataset, against, protocol=protocol, scale=scale).settings()
    limits = {"epsilon": {"most": math.prod(recipe.image_shape) ** (1 / NORMS[norm])}}
    chosen = {}
    for key in sorted(overrides):
        choose(SETTINGS, key, "setting")
        value = _check(key, overrides[key], **limits.get(key, {}))
        default = settings.get(key, SETTINGS[key].default)
        if value != default or _plain(value) != builds_upon.get(key, _plain(default)):
            chosen[key] = value
    resolved = Experiment(dataset, method, protocol, scale, seed, tuple(chosen.items()), **{**settings, **chosen})
    _check_precision(resolved)
    return resolved


def _check_precision(spec: Experiment) -> None:
    """Raises a UsageError where the regulariser, or the comparison with its finite difference, asks for more precision."""
    allowed = _REGULARISERS_IN[spec.precision]
    needed = ("fd", "exact") if spec.compare_regulariser else (spec.regulariser,)
    if spec.trains_with("regulariser") and not set(needed) <= set(allowed):
        raise UsageError(
            f"regulariser: expected {' or '.join(allowed)} with precision {spec.precision}, received {' and '.join(needed)}"
        )


def _check_other_norm(norm: str, method: str, overrides: Mapping[str, Any]) -> None:
    """Raises a UsageError where the recipe has nothing to say of a norm that is not its own."""
    if "epsilon" not in overrides:
        raise UsageError(f"epsilon: expected a value with norm {norm} (the recipe's is of linf), received none")
    if METHODS[method].static_examples:
        # Its examples are kept as 127ths of ε, too coarse where ε is shared by all pixels.
        raise UsageError(f"norm: expected linf for method {method}, received {norm}")


WHITE_BOX = (Column("No Noise", "clean"), Column("FGS", "fgs"), Column("PGD", "pgd"))
_BLACK_BOX = tuple(
    Column(f"{attack.upper()}({METHODS[source].letter}')", attack, source)
    for source in ("standard", "pgd", "advnet")
    for attack in ("fgs", "pgd")
)
_A, _B, _C = (
    Row("standard (A)", "standard"),
    Row("adversarial PGD (B)", "pgd"),
    Row("adversarial network (C)", "advnet"),
)


def _grid(name: str, title: str, *datasets: str) -> Table:
    return Table(name, title, datasets, (_A, _B, _C), (*WHITE_BOX, *_BLACK_BOX))


_GENERATORS = (
    Row("autoencoder (8 filters)", "", (("generators", ("g1",)), ("generator_width", 8))),
    Row("autoencoder (64 filters)", "", (("generators", ("g1",)), ("generator_width", 64))),
    Row("random Gaussian", "", (("generators", ("g2",)),)),
    Row("label", "", (("generators", ("g3",)),)),
)


def _generators(method: str) -> tuple[Row, ...]:
    """The four generators of Section 4.5, each in a run of that method."""
    return tuple(dataclasses.replace(row, method=method) for row in _GENERATORS)


# Along this run the finite difference is compared with double backprop.
_PAPER_ROW = Row("paper", "advnet", (("compare_regulariser", True),))


def _switches(dataset: str) -> tuple[Row, ...]:
    """The paper's C with each deviation of the released code alone; G's optimiser with its rates is one."""
    own, released = (experiment(dataset, "advnet", protocol=name, scale="paper").settings() for name in PROTOCOLS)
    changed = {
        key: value for key, value in PROTOCOLS["released"].settings(dataset, "advnet").items() if own[key] != released[key]
    }
    groups: dict[str, dict[str, Any]] = {}
    for key, value in changed.items():
        groups.setdefault("G by SGD" if key in _SGD else f"{key} = {written(value)}", {})[key] = value
    paper = experiment(dataset, "advnet", scale="paper").trained()
    for group in groups.values():
        if experiment(dataset, "advnet", scale="paper", **group).trained() == paper:
            group.update(_PAPER_ROW.settings)  # What only evaluation reads needs no training of its own.
    return tuple(Row(f"paper, but {label}", "advnet", tuple(group.items()), (dataset,)) for label, group in groups.items())


def _ablations() -> tuple[Table, ...]:
    columns = (*WHITE_BOX, Column("G", "generator"))
    titles = {"fd": "finite difference", "exact": "exact", "none": "no regulariser"}
    regularisers = tuple(
        Row(
            f"{title}, {count} G step{'s' * (count > 1)}",
            "advnet",
            (("regulariser", name), ("generator_steps", count), ("compare_regulariser", name == "fd" and count == 5)),
        )
        for count in (5, 1)
        for name, title in titles.items()
    )
    compared = ("mnist", "cifar10")
    return (
        Table("protocol", "The paper's text against its released code, switch by switch: adversarial network (C)", compared,
              (_PAPER_ROW, Row("released", "advnet", protocol="released"), *_switches("mnist"), *_switches("cifar10")),
              columns),
        Table("regulariser", "The regulariser of Eq. 5 and the number of G's steps: adversarial network (C)", compared,
              regularisers, columns, along_training=True),
    )  # fmt: skip


TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        _grid("1", "White-box and black-box attacks on MNIST (ε = 0.3)", "mnist"),
        _grid("2", "White-box and black-box attacks on SVHN (ε = 0.05)", "svhn"),
        _grid("3", "White-box and black-box attacks on CIFAR10 (ε = 8/256)", "cifar10"),
        Table("4", "Ensemble adversarial training against the adversarial network", ("mnist", "svhn", "cifar10"),
              (Row("ensemble adversarial training", "ensemble"), _C), (*WHITE_BOX, *_BLACK_BOX)),
        Table("5", "Attack performance of various generator networks trained against A, on CIFAR10 (ε = 8/256)", ("cifar10",),
              _generators("generator"),
              (Column("Test Acc on Original (A)", "generator", target="standard", same_seed=True),
               Column("standard (A')", "generator", target="standard"),
               Column("adversarial PGD (B)", "generator", target="pgd", same_seed=True),
               Column("adversarial network (C)", "generator", target="advnet", same_seed=True))),
        Table("6", "Adversarial networks trained with various generators, on CIFAR10 (ε = 8/256)", ("cifar10",),
              _generators("advnet"), (*WHITE_BOX, *(column for column in _BLACK_BOX if column.source != "advnet"))),
        _grid("7", "White-box and black-box attacks on CIFAR100 (ε = 8/256)", "cifar100"),
        Table("digits", "White-box attacks on the embedded digits, not of the paper (ε = 0.15)", ("digits",), (_A, _C),
              (*WHITE_BOX, Column("G(C)", "generator", "advnet", same_seed=True))),
        _grid("grid", "White-box and black-box attacks"),
    )
}  # fmt: skip
TABLES |= {table.name: table for table in _ablations()}


def experiments_of(cells: Iterable[Cell]) -> list[Experiment]:
    """The experiments that the cells rest on, each once, after those that it needs."""
    ordered: dict[Experiment, None] = {}
    for cell in cells:
        for spec in (cell.target, cell.source):
            if spec is not None:
                needed = spec.needs()
                ordered.update({needed: None} if needed else {})
                ordered[spec.trained()] = None
    return list(ordered)
