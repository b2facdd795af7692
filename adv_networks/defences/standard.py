"""Standard training: no defence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adv_networks.defences.base import Defence, register
from adv_networks.defences.players import Players
from adv_networks.defences.updates import Scalars, compiled, descend
from adv_networks.experiments import Experiment

if TYPE_CHECKING:
    import tensorflow as tf

    from adv_networks.attacks.inputs import Array, Seed


@compiled
def standard_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One step of D on the cross-entropy of the clean images."""
    return descend(players, x, y, spec)


@register
class Standard(Defence):
    """Standard training, without a defence."""

    name, letter, title = "standard", "A", "standard training, undefended"
    reads = ("classes",)

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `standard_step`."""
        return standard_step(players, x, y, spec, seed)
