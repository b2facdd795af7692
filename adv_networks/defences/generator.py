"""A generator trained against a fixed classifier (Section 4.5): an attack that is trained like a defence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.defences.adversarial_network import generator_multiply_adds
from adv_networks.defences.base import Defence, register
from adv_networks.defences.game import ascend
from adv_networks.defences.needed_run import NeededRun
from adv_networks.defences.players import Players, make_players
from adv_networks.defences.updates import Scalars
from adv_networks.experiments import Experiment

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


@register
class GeneratorAlone(Defence):
    """The generator of Section 4.5.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "generator", against="pgd")
        >>> defences.GeneratorAlone().needs(spec)["classifier"].name
        'digits-pgd-cpu-s0'
    """

    name, letter, title = "generator", "G", "a generator trained against a fixed classifier: A (Section 4.5), or --against"
    reads = ("perturbation", "generator", "frozen", "lone")
    trains_classifier = False
    settings: ClassVar[Mapping[str, Any]] = MappingProxyType(
        dict(generator_steps=1, generator_optimizer="sgd", generator_learning_rate=0.01, generator_momentum=0.9)
    )

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """The classifier under attack."""
        return {"classifier": spec.sibling(spec.against)}

    def multiply_adds(self, spec: Experiment) -> float:
        """See `Defence.multiply_adds`."""
        return generator_multiply_adds(spec)

    def build(self, spec: Experiment, needed: Mapping[str, NeededRun]) -> Players:
        """See `Defence.build`; D is the classifier under attack."""
        players, attacked = make_players(spec), needed["classifier"]
        if attacked.given is not None:
            players.d = attacked.given
        else:
            players.d.set_weights(attacked.classifier().get_weights())
        return players

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `game.ascend`."""
        return ascend(players, x, y, spec, seed)
