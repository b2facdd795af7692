"""Ensemble adversarial training: static examples from an undefended classifier enlarge the training set (Section 4.4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adv_networks.attacks.gradient import predict
from adv_networks.defences.base import Defence, register, setting
from adv_networks.defences.fgs import StartSettings, single_step
from adv_networks.defences.needed_run import NeededRun
from adv_networks.defences.players import Players
from adv_networks.defences.static_examples import StaticExamples
from adv_networks.defences.updates import Scalars, compiled, descend
from adv_networks.errors import UsageError
from adv_networks.experiments import Experiment
from adv_networks.lazy import tf
from adv_networks.networks import costs
from adv_networks.runtime import replicas

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed
    from adv_networks.data import Images

# The attacks whose examples are added to the clean images, in equal parts.
STATIC_ATTACKS: tuple[str, ...] = ("fgs_predicted", "pgd", "least_likely")


class OnStaticExamples(Defence):
    """A defence that also trains on static examples: among the images, or, with generators, beside each image.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "ensemble")
        >>> defences.OnStaticExamples().needs(spec)["classifier"].name
        'digits-standard-cpu-s0'
    """

    static_examples = True

    def pairs(self, spec: Experiment) -> bool:
        """Whether the static examples come beside the images instead of among them."""
        return self.trains_generator

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """The undefended classifier on which the examples are crafted."""
        return {"classifier": spec.sibling("standard")}

    def check(self, spec: Experiment) -> None:
        """Refuses norms other than L∞."""
        super().check(spec)
        if spec.norm != "linf":
            # The examples are stored in units of ε/127, which are too coarse if all pixels share ε.
            raise UsageError(f"norm: expected linf for method {self.name}, received {spec.norm}")

    def prepare(self, spec: Experiment, needed: Mapping[str, NeededRun], training: Images) -> None:
        """Crafts the examples, and stores them in the directory of the run on which they are crafted."""
        self._examples(spec, needed, training).make()

    def batches(
        self, spec: Experiment, needed: Mapping[str, NeededRun], training: Images, start: int, **further: Any
    ) -> tf.data.Dataset:
        """See `Defence.batches`; the examples join the images, or come beside them (`data.batches`)."""
        perturbations = self._examples(spec, needed, training).read()
        options = dict(perturbations=perturbations, paired=self.pairs(spec), epsilon=spec.epsilon)
        return super().batches(spec, needed, training, start, **options, **further)

    def _examples(self, spec: Experiment, needed: Mapping[str, NeededRun], training: Images) -> StaticExamples:
        return StaticExamples(spec, [spec.attack(name) for name in STATIC_ATTACKS], needed["classifier"], training)


@compiled
def ensemble_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One step of D on images, static examples and, with `own_examples`, examples crafted on D itself.

    Args:
        players: D and its optimiser.
        x: a minibatch of the enlarged training set, [batch, …]; with `own_examples` [2, batch, …], images and a static example
            of each. Each place then takes, at random, the image, its static example or D's own, with equal shares of all kinds.
        y: labels int32 [batch].
        spec: the experiment.
        seed: (run seed, step).

    Examples:
        >>> import numpy as np
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "ensemble", classifier="mlp", own_examples=True)
        >>> players = defences.make_players(spec)
        >>> both, y = np.zeros((2, 4, 8, 8, 1), np.float32), np.arange(4)  # images, and a static example of each
        >>> sorted(defences.ensemble_step(players, both, y, spec, (0, 0)))
        ['d_accuracy', 'd_gradient_norm', 'd_loss', 'd_weight_decay']
    """
    if not spec.own.own_examples:
        return descend(players, x, y, spec)
    images, static = tf.unstack(x)
    kinds = 1 + len(STATIC_ATTACKS) + 1
    drawn = replicas.share_of(lambda shape: tf.random.stateless_uniform(shape, seed, 0, kinds, tf.int32), [tf.shape(images)[0]])
    # Crafted for the predicted label, like its static counterpart, because the true label would leak into the example.
    predicted = tf.argmax(predict(players.d, images, training=True), 1, tf.int32)
    own = single_step(players, images, predicted, spec, tf.random.experimental.stateless_fold_in(seed, 1))
    kind = drawn[:, None, None, None]
    return descend(players, tf.where(kind == 0, images, tf.where(kind == kinds - 1, own, static)), y, spec)


@register
class Ensemble(OnStaticExamples):
    """The defence of Section 4.4; with `own_examples` as in Tramèr et al. (2018), where the model itself is a source too.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> for own_examples in (False, True):
        ...     defences.Ensemble().pairs(experiments.experiment("digits", "ensemble", own_examples=own_examples))
        False
        True
    """

    name, letter, title = "ensemble", "EAT", "ensemble adversarial training on static examples of A (Section 4.4)"
    reads = ("perturbation", "pgd", "frozen", "classes")

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Settings(StartSettings):
        """The settings that only this defence has, and where the step to its own examples starts."""

        own_examples: bool = setting(False, "ensemble: add FGS examples crafted on the model in training")

    def pairs(self, spec: Experiment) -> bool:
        """See `OnStaticExamples.pairs`."""
        return spec.own.own_examples

    def check(self, spec: Experiment) -> None:
        """See `OnStaticExamples.check`; also refuses `fgs_start` without `own_examples`."""
        super().check(spec)
        if spec.own.fgs_start != "image" and not spec.own.own_examples:
            raise UsageError(f"fgs_start: expected image without own_examples, received {spec.own.fgs_start}")

    def multiply_adds(self, spec: Experiment) -> float:
        """See `Defence.multiply_adds`; D's own examples take two forward passes, one for the labels, and one to the inputs."""
        return super().multiply_adds(spec) + 3 * costs.classifier_multiply_adds(spec) * spec.own.own_examples

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `ensemble_step`."""
        return ensemble_step(players, x, y, spec, seed)
