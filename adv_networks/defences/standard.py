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
    """One step of D on the cross-entropy of the clean images.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "standard", classifier="mlp")
        >>> players = defences.make_players(spec)
        >>> x, y = np.zeros((4, 8, 8, 1), np.float32), np.arange(4)
        >>> scalars = defences.standard_step(players, x, y, spec, (0, 0))
        >>> round(float(scalars["d_loss"]), 4)  # log 10, as this network has no biases and all pixels are 0
        2.3026
    """
    return descend(players, x, y, spec)


@register
class Standard(Defence):
    """Standard training, without a defence.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> defences.Standard().files(experiments.experiment("digits", "standard"))
        ('d.keras', 'perturbations.png')
    """

    name, letter, title = "standard", "A", "standard training, undefended"
    reads = ("classes",)

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `standard_step`."""
        return standard_step(players, x, y, spec, seed)
