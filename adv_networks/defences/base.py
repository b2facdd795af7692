"""The base class of defences: ways to train, one minibatch at a time. Nothing else in the project knows a defence by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks import data, evaluation
from adv_networks.defences.players import Players, TrainingState, learning_rate_drops, make_players
from adv_networks.errors import UsageError
from adv_networks.evaluation import gallery
from adv_networks.experiments import METHODS, SETTINGS, Experiment, generator_file, setting
from adv_networks.networks import costs

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

    from adv_networks.attacks.inputs import Array, Seed
    from adv_networks.data import Images
    from adv_networks.defences.needed_run import NeededRun
    from adv_networks.defences.updates import Scalars


class Defence:
    """A way to train; `register` makes it a `--method`.

    What a class declares needs no TensorFlow; the methods from `build` on compute. The defaults suit a method that trains a
    classifier, perhaps against generators. Other defences override what differs; `training` uses nothing else.

    Class attributes:
        name: its name on the command line and in runs.
        letter: the source's name for the model.
        title: one line.
        reads: the parts of the settings (`experiments.setting`) that its training depends on, besides those of no part.
        trains_classifier: whether the run has a classifier of its own, `d.keras`.
        knows_classifier: whether its training depends on a classifier, its own or another run's. If not, one run stands in
            front of any classifier, and settings of the part "classifier" apply only to the classifier behind it.
        stands_in_front: whether its run trains what stands in front of a classifier (`input_defence.InputDefence`).
        static_examples: whether its training set is enlarged by examples that are crafted before training.
        settings: the settings that the source gives this method on every data set.
        Settings: a dataclass of the settings that only this method has, `spec.own`, which become flags; None for none.
        validated: the attacks that its classifier is validated under, besides its own generator.
        adaptive: the attack that knows how this defence works (`--attack=adaptive`), by its name for `--attack`; read through
            `adaptive_for`.
        metrics: the columns of its runs' `metrics.csv` besides those of `training.logs.METRICS`.
        pictured: how many images `pictures` shows.

    Examples:
        >>> from adv_networks import defences
        >>> defences.Standard().trains_classifier, defences.MagNet().trains_classifier
        (True, False)
    """

    name: ClassVar[str]
    letter: ClassVar[str]
    title: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()
    trains_classifier: ClassVar[bool] = True
    knows_classifier: ClassVar[bool] = True
    stands_in_front: ClassVar[bool] = False
    static_examples: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    Settings: ClassVar[type | None] = None
    validated: ClassVar[tuple[str, ...]] = ("clean", "fgs", "pgd")
    metrics: ClassVar[tuple[str, ...]] = ()
    pictured: ClassVar[int] = 8
    adaptive: ClassVar[str] = "restarted_pgd"

    @property
    def trains_generator(self) -> bool:
        """Whether the run has generators of its own."""
        return "generator" in self.reads

    @property
    def gives_classifier(self) -> bool:
        """Whether a run of it gives a classifier: its own, or the one that it stands in front of."""
        return self.trains_classifier or self.stands_in_front

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """The experiments whose runs this method's run builds on, by their role: "classifier", "teacher" and so on.

        Args:
            spec: the experiment of this method.
        """
        return {}

    def behind(self, spec: Experiment) -> Experiment | None:
        """The run of the classifier that it stands in front of; None for a method that stands in front of none."""
        return None

    def adaptive_for(self, spec: Experiment) -> str:
        """The attack that knows how this defence works with these settings; see `adaptive`."""
        return self.adaptive

    def check(self, spec: Experiment) -> None:
        """Raises a UsageError if the settings contradict one another, or ask for something that the method does not have."""
        if self.trains_classifier and spec.class_weights != "none" and "classes" not in self.reads:
            raise UsageError(f"class_weights: expected none with method {self.name}, received {spec.class_weights}")

    def files(self, spec: Experiment) -> tuple[str, ...]:
        """The names of a finished run's files: `.keras` files, first the one that other runs build on, and pictures."""
        generators = [generator_file(position) for position in range(len(spec.generators) * self.trains_generator)]
        return (*["d.keras"] * self.trains_classifier, *generators, "perturbations.png")

    def member_files(self, spec: Experiment) -> tuple[str, ...]:
        """The files of the single classifiers of a run that has several; `d.keras` is then their mean."""
        return ()

    def multiply_adds(self, spec: Experiment) -> float:
        """Multiply-adds of a step, per image; a forward pass, one back to the inputs and one to the weights cost the same."""
        return 3 * costs.classifier_multiply_adds(spec)

    def first_difference(self, spec: Experiment, longer: Experiment, steps: int) -> str:
        """How the first `steps` steps differ between two experiments whose settings are equal except for the number of steps.

        Args:
            spec: the experiment that has been trained.
            longer: the experiment that is to go on from it, with more steps.
            steps: how many of its steps are done, at least 0.

        Returns:
            The difference in words, the first experiment first; empty if these steps are the same in both.
        """
        if not self.trains_classifier:
            return ""
        updates = steps // spec.discriminator_period
        # The last of the updates has the number `updates` - 1.
        reached = [[drop for drop in learning_rate_drops(own) if drop < updates - 1] for own in (spec, longer)]
        if reached[0] == reached[1]:
            return ""
        first, second = (" and ".join(str(drop + 1) for drop in drops) or "none of them" for drops in reached)
        return f"the learning rate drops after updates {first} of D in one, after {second} in the other"

    def build(self, spec: Experiment, needed: Mapping[str, NeededRun]) -> TrainingState:
        """The initial state of a run, in the current strategy's scope: fresh networks and optimisers, and loaded frozen ones.

        Args:
            spec: the experiment.
            needed: the runs of `needs`, finished, by their role.
        """
        return make_players(spec)

    def prepare(self, spec: Experiment, needed: Mapping[str, NeededRun], training: Images) -> None:
        """Writes what `batches` reads besides the images, if it is not there yet; only one process calls this.

        Args:
            spec: the experiment.
            needed: the runs of `needs`, finished, by their role.
            training: the training images, uint8 [images, height, width, channels], and labels [images], validation left out.

        Raises:
            UserError: it cannot be written.
        """

    def batches(
        self, spec: Experiment, needed: Mapping[str, NeededRun], training: Images, start: int, **further: Any
    ) -> tf.data.Dataset:
        """The endless minibatches (x, y) that `step` takes, from number `start` on; each is a function of its number.

        Args:
            spec: the experiment.
            needed: the runs of `needs`, finished, by their role.
            training: the training images, uint8 [images, height, width, channels], and labels [images], validation left out.
            start: the first number, at least 0.
            further: arguments of `data.batches`.

        Returns:
            Batches of images, floats in [0,1] [batch, height, width, channels], and labels, int32 [batch].
        """
        options = dict(seed=spec.seed, augment=spec.augment_pad, start=start)
        return data.batches(*training, spec.batch_size, training=True, **options, **further)

    def step(self, players: TrainingState, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """One minibatch, one update of the players (see `updates`).

        Args:
            players: what `build` returned; its variables are updated in place.
            x: images in [0,1], [batch, height, width, channels].
            y: labels, integers [batch].
            spec: the experiment.
            seed: two whole numbers, which determine all random draws of the step: the run's seed and the step's number.

        Returns:
            What to log of it: scalar tensors by their columns in `metrics.csv`.
        """
        raise NotImplementedError

    def validate(self, players: Players, validation: Images, spec: Experiment) -> dict[str, float]:
        """What to log about validation images, by column: D's accuracies under the `validated` attacks and its generator.

        Args:
            players: the networks so far.
            validation: the images held out for validation, uint8 [images, height, width, channels], and labels [images].
            spec: the experiment, whose ε and norm the attacks have.

        Returns:
            Numbers by column; accuracies are from 0 to 1.
        """
        sources = dict.fromkeys(self.validated, players.d) if self.trains_classifier else {}
        if players.g is not None:
            sources["generator"] = players.g
        options = dict(bn_evaluation=spec.bn_evaluation)
        return {
            f"validation_{name}": evaluation.accuracy(
                players.d, *validation, attack=spec.attack(name), source=source, **options
            )
            for name, source in sources.items()
        }

    def as_evaluated(self, classifier: keras.Model, spec: Experiment, training: Callable[[], Images]) -> keras.Model:
        """A finished run's `d.keras`, changed by the settings of the part "test", if any.

        Args:
            classifier: the classifier as it was trained: images in [0,1] to logits [batch, classes].
            spec: the experiment.
            training: returns the training images and labels, for a change that needs them.
        """
        return classifier

    def arrays(
        self, players: TrainingState, needed: Mapping[str, NeededRun], validation: Images, spec: Experiment
    ) -> dict[str, np.ndarray]:
        """The arrays that a finished run keeps besides its networks, such as held-out images, by the names of `.npy` files.

        Args:
            players: what was trained.
            needed: the runs of `needs`, finished, by their role.
            validation: the images held out for validation, all of them.
            spec: the experiment.
        """
        return {}

    def measure(self, players: TrainingState, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """What to log about a minibatch at each validation, besides what `step` returned; the arguments are those of `step`."""
        return {}

    def pictures(self, players: Players, shown: Images, spec: Experiment) -> dict[str, Any]:
        """Figures of a few images, by the file's name without its ending: perturbed by G, or by PGD if there is no G.

        Args:
            players: what was trained.
            shown: the images to draw, uint8 [images, height, width, channels], and their labels [images].
            spec: the experiment, whose ε and norm the perturbations have.
        """
        name, source = ("pgd", players.d) if players.g is None else ("generator", players.g)
        attacks = {"perturbation": (spec.attack(name), source)}
        made = gallery.make(players.d, shown, attacks, bn_evaluation=spec.bn_evaluation)
        return {"perturbations": gallery.draw(made, spec.dataset)}


def register(kind: type[Defence]) -> type[Defence]:
    """Class decorator that makes a defence a method, and adds its own settings to those of experiments.

    Raises:
        ValueError: one of its own settings has the name of another's.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> isinstance(experiments.METHODS["pgd"], defences.PGDTraining)
        True
    """
    method = kind()
    if kind.Settings is not None:
        # A defence that inherits the settings of another shares their fields.
        fields = {field.name: field for field in dataclasses.fields(kind.Settings)}
        if taken := [name for name, field in fields.items() if SETTINGS.get(name, field) is not field]:
            raise ValueError(f"defence {method.name}: expected settings of its own, received {', '.join(taken)}")
        SETTINGS.update(fields)
    METHODS[method.name] = method
    return kind


__all__ = ["Defence", "register", "setting"]
