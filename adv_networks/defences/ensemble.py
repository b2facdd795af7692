"""Ensemble adversarial training: the training set is enlarged by static examples of an undefended classifier (Section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adv_networks.defences.base import Defence, NeededRun, register
from adv_networks.defences.players import Players
from adv_networks.defences.standard import standard_step
from adv_networks.defences.static_examples import StaticExamples
from adv_networks.defences.updates import Scalars
from adv_networks.errors import UsageError
from adv_networks.experiments import Experiment

if TYPE_CHECKING:
    import tensorflow as tf

    from adv_networks.attacks.inputs import Array, Seed
    from adv_networks.data import Images

# What is added to the clean images, in equal parts.
STATIC_ATTACKS: tuple[str, ...] = ("fgs_predicted", "pgd", "least_likely")


class OnStaticExamples(Defence):
    """A defence that trains on static examples too: among the images, or beside each image where there are generators."""

    static_examples = True

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
        options = dict(perturbations=perturbations, paired=self.trains_generator, epsilon=spec.epsilon)
        return super().batches(spec, needed, training, start, **options, **further)

    def _examples(self, spec: Experiment, needed: Mapping[str, NeededRun], training: Images) -> StaticExamples:
        return StaticExamples(spec, [spec.attack(name) for name in STATIC_ATTACKS], needed["classifier"], training)


@register
class Ensemble(OnStaticExamples):
    """Section 4.4."""

    name, letter, title = "ensemble", "EAT", "ensemble adversarial training on static examples of A (Section 4.4)"
    reads = ("perturbation", "pgd", "frozen")

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `ensemble_step`."""
        return ensemble_step(players, x, y, spec, seed)


# The training set is another one; the update is the standard one.
ensemble_step = standard_step
