"""Ensemble adversarial training: the training set is enlarged by static examples of an undefended classifier (Section 4.4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adv_networks import attacks
from adv_networks.defences.base import Defence, NeededRun, register, setting
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

# What is added to the clean images, in equal parts.
STATIC_ATTACKS: tuple[str, ...] = ("fgs_predicted", "pgd", "least_likely")


class OnStaticExamples(Defence):
    """A defence that trains on static examples too: among the images, or beside each image where there are generators."""

    static_examples = True

    def pairs(self, spec: Experiment) -> bool:
        """Whether the static examples come beside the images instead of among them."""
        return self.trains_generator

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """The undefended classifier that the examples are crafted on."""
        return {"classifier": spec.sibling("standard")}

    def check(self, spec: Experiment) -> None:
        """Refuses other norms than L∞."""
        super().check(spec)
        if spec.norm != "linf":
            # The examples are kept as 127ths of ε, too coarse where ε is shared by all pixels.
            raise UsageError(f"norm: expected linf for method {self.name}, received {spec.norm}")

    def prepare(self, spec: Experiment, needed: Mapping[str, NeededRun], training: Images) -> None:
        """Crafts the examples, which are kept in the directory of the run that they are crafted on."""
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
    """One step of D on images, static examples and, where the experiment says so, examples crafted on D itself.

    Args:
        players: D and its optimiser.
        x: the minibatch of the enlarged training set, [batch, …]; with `own_examples` [2, batch, …], images and a static
            example of each. Each place of the minibatch then takes the image, its static example or D's own by chance, so that
            all the kinds have the same share.
        y: labels int32 [batch].
        spec: the experiment.
        seed: (run seed, step).
    """
    if not spec.own.own_examples:
        return descend(players, x, y, spec)
    images, static = tf.unstack(x)
    kinds = 1 + len(STATIC_ATTACKS) + 1
    drawn = replicas.share_of(lambda shape: tf.random.stateless_uniform(shape, seed, 0, kinds, tf.int32), [tf.shape(images)[0]])
    # Of the predicted label, like its static twin: the true one would leak into the example.
    own = attacks.fgs(players.d, images, None, spec.epsilon, training=True)
    kind = drawn[:, None, None, None]
    return descend(players, tf.where(kind == 0, images, tf.where(kind == kinds - 1, own, static)), y, spec)


@register
class Ensemble(OnStaticExamples):
    """Section 4.4; with `own_examples` the form of Tramèr et al. (2018), which has the model itself among the sources."""

    name, letter, title = "ensemble", "EAT", "ensemble adversarial training on static examples of A (Section 4.4)"
    reads = ("perturbation", "pgd", "frozen", "classes")

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Settings:
        """The settings that it alone has."""

        own_examples: bool = setting(False, "ensemble: add FGS examples crafted on the model in training")

    def pairs(self, spec: Experiment) -> bool:
        """See `OnStaticExamples.pairs`."""
        return spec.own.own_examples

    def multiply_adds(self, spec: Experiment) -> float:
        """See `Defence.multiply_adds`; its own examples take a forward pass for the labels and one both ways."""
        return super().multiply_adds(spec) + 3 * costs.classifier_multiply_adds(spec) * spec.own.own_examples

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `ensemble_step`."""
        return ensemble_step(players, x, y, spec, seed)
