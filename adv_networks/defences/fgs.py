"""Adversarial training with the fast gradient sign, as the CIFAR10 report has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adv_networks import attacks
from adv_networks.defences.base import Defence, register
from adv_networks.defences.players import Players
from adv_networks.defences.updates import Scalars, compiled, descend
from adv_networks.experiments import Experiment
from adv_networks.networks import costs

if TYPE_CHECKING:
    import tensorflow as tf

    from adv_networks.attacks.inputs import Array, Seed


@compiled
def fgs_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One step of D on the FGS example (Eq. 6) of every image, in place of the image."""
    adversarial = attacks.fgs(players.d, x, y, spec.epsilon, norm=spec.norm, training=True)
    return descend(players, adversarial, y, spec)


@register
class FGSTraining(Defence):
    """PGD training with one step of ε from the image itself."""

    name, letter, title = "fgs", "F", "adversarial training with FGS (one step from the image)"
    reads = ("perturbation",)

    def multiply_adds(self, spec: Experiment) -> float:
        """See `Defence.multiply_adds`; the example takes a forward pass and one to the inputs."""
        return super().multiply_adds(spec) + 2 * costs.classifier_multiply_adds(spec)

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `fgs_step`."""
        return fgs_step(players, x, y, spec, seed)
