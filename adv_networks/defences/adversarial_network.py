"""The adversarial network: a classifier trained together with generators that attack it (Section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adv_networks.defences.base import Defence, register
from adv_networks.defences.game import adversarial_network_step
from adv_networks.defences.players import Players, adversaries
from adv_networks.defences.regulariser_comparison import RegulariserComparison
from adv_networks.defences.updates import Scalars
from adv_networks.errors import UsageError
from adv_networks.experiments import Experiment
from adv_networks.networks import costs

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# In lower precision a finite difference is only noise. So is double backprop in float16, where small numbers vanish.
_REGULARISERS_IN: dict[str, tuple[str, ...]] = {
    "float32": ("fd", "exact", "none"),
    "mixed_bfloat16": ("exact", "none"),
    "mixed_float16": ("none",),
}


def generator_multiply_adds(spec: Experiment) -> float:
    """Multiply-adds of the generators' part of a step, per image of the minibatch (see `Defence.multiply_adds`)."""
    classified = costs.classifier_multiply_adds(spec) * len(spec.generators) / adversaries(spec)
    return spec.generator_steps * (2 * classified + 3 * _pass_of_generators(spec))


def _pass_of_generators(spec: Experiment) -> float:
    """Multiply-adds, per image of the minibatch, of each generator's pass over its share."""
    return sum(costs.generator_multiply_adds(spec, name) for name in spec.generators) / adversaries(spec)


@register
class AdversarialNetwork(Defence):
    """The adversarial network of Section 3.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "advnet", generators=("g1", "g2"))
        >>> defences.AdversarialNetwork().files(spec)
        ('d.keras', 'g.keras', 'g-2.keras', 'perturbations.png')
    """

    name, letter, title = "advnet", "C", "adversarial network: D co-trained with generators (Eq. 4-5)"
    reads = ("perturbation", "generator", "game", "classes")

    def check(self, spec: Experiment) -> None:
        """Refuses a regulariser, or its comparison with the finite difference, that the precision is too low for."""
        super().check(spec)
        allowed = _REGULARISERS_IN[spec.precision]
        needed = ("fd", "exact") if spec.compare_regulariser else (spec.regulariser,)
        if not set(needed) <= set(allowed):
            raise UsageError(
                f"regulariser: expected {' or '.join(allowed)} with precision {spec.precision}, received {' and '.join(needed)}"
            )

    def multiply_adds(self, spec: Experiment) -> float:
        """See `Defence.multiply_adds`; the finite difference is a third pass of D's update."""
        d = costs.classifier_multiply_adds(spec)
        g = _pass_of_generators(spec)
        second = {"none": 0, "fd": 3 * d + g, "exact": 3 * (d + g)}[spec.regulariser]
        return generator_multiply_adds(spec) + (6 * d + 3 * g + second) / spec.discriminator_period

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `adversarial_network_step`."""
        return adversarial_network_step(players, x, y, spec, seed)

    def measure(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """How well the finite difference agrees with the exact product, if the experiment asks for this comparison."""
        if not spec.compare_regulariser:
            return {}
        if players.comparison is None:
            players.comparison = RegulariserComparison(spec)
        return players.comparison.measure(players, x, y, seed)
