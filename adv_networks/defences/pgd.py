"""Adversarial training with PGD (Eq. 3 and 7)."""

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
def pgd_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One step of D on the PGD example (Eq. 7) of every image, instead of the image (Eq. 3).

    Examples:
        >>> import numpy as np
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "pgd", classifier="mlp", pgd_steps=2)
        >>> players = defences.make_players(spec)
        >>> x, y = np.zeros((4, 8, 8, 1), np.float32), np.arange(4)
        >>> sorted(defences.pgd_step(players, x, y, spec, (0, 0)))
        ['d_accuracy', 'd_gradient_norm', 'd_loss', 'd_weight_decay']
    """
    adversarial = attacks.pgd(
        players.d,
        x,
        y,
        spec.epsilon,
        step_size=spec.epsilon * spec.pgd_step_fraction,
        steps=spec.pgd_steps,
        seed=seed,
        random_start=spec.pgd_random_start,
        clip_start=spec.pgd_clip_start,
        training=True,
        norm=spec.norm,
    )
    return descend(players, adversarial, y, spec)


@register
class PGDTraining(Defence):
    """Classifier B of Section 4.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "pgd", pgd_steps=6)
        >>> defences.PGDTraining().multiply_adds(spec) / defences.Standard().multiply_adds(spec)
        5.0
    """

    name, letter, title = "pgd", "B", "adversarial training with PGD (Eq. 3, 7)"
    reads = ("perturbation", "pgd", "classes")

    def multiply_adds(self, spec: Experiment) -> float:
        """See `Defence.multiply_adds`; PGD crafts with forward passes and passes to the inputs."""
        return super().multiply_adds(spec) + 2 * costs.classifier_multiply_adds(spec) * spec.pgd_steps

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `pgd_step`."""
        return pgd_step(players, x, y, spec, seed)
