"""The poster's game: a trained classifier and a generator that attacks it take turns."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from adv_networks.defences.adversarial_network import AdversarialNetwork
from adv_networks.defences.base import register
from adv_networks.defences.needed_run import NeededRun
from adv_networks.defences.players import Players, make_players
from adv_networks.experiments import Experiment


@register
class Alternating(AdversarialNetwork):
    """One ascent step of G, then one descent step of D without a regulariser. D starts from the weights of a finished run.

    In the poster, D sees clean and perturbed images; in its authors' script, only perturbed ones (`clean_weight` 0).

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "alternating")
        >>> spec.regulariser, spec.generator_steps, defences.Alternating().needs(spec)["classifier"].name
        ('none', 1, 'digits-standard-cpu-s0')
    """

    name, letter, title = "alternating", "P", "a finished D and its generator, trained in turn (the poster's game)"
    validated: ClassVar[tuple[str, ...]] = ("clean",)
    settings: ClassVar[Mapping[str, Any]] = MappingProxyType(
        dict(
            regulariser="none",
            generator_steps=1,
            generator_optimizer="sgd",
            generator_learning_rate=0.01,
            generator_momentum=0.0,
        )
    )

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """The classifier whose weights D starts from."""
        return {"classifier": spec.sibling("standard")}

    def build(self, spec: Experiment, needed: Mapping[str, NeededRun]) -> Players:
        """See `Defence.build`."""
        players = make_players(spec)
        players.d.set_weights(needed["classifier"].classifier().get_weights())
        return players
