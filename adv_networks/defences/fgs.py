"""Adversarial training with the fast gradient sign: on FGS examples only, as in the CIFAR10 report, or on clean images too.

The lecture's loss is α ℓ(D(x), y) + (1 − α) ℓ(D(x + ε sign ∇ℓ), y) (Goodfellow, Shlens and Szegedy, 2015, "Explaining and
harnessing adversarial examples", Section 6, where α is 0.5).

A classifier can learn to defeat the single step alone, and then PGD fools it as before (catastrophic overfitting). A random
start prevents or delays that: in the ball (Wong, Rice and Kolter, 2020, "Fast is better than free: revisiting adversarial
training") or in a ball twice as large, without projection (de Jorge et al., 2022, "Make some noise: reliable and efficient
single-step adversarial training").
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from adv_networks import attacks
from adv_networks.attacks.geometry import moved_at_random
from adv_networks.attacks.gradient import gradient_attack
from adv_networks.attacks.quantities import as_seed
from adv_networks.defences.base import Defence, register, setting
from adv_networks.defences.players import Players
from adv_networks.defences.updates import Scalars, accuracy, compiled, cross_entropy, descend, descend_on
from adv_networks.experiments import CONVEX_NORMS, Experiment
from adv_networks.networks import costs

if TYPE_CHECKING:
    import tensorflow as tf

    from adv_networks.attacks.inputs import Array, Seed


# Over ε: the length of the step after a start in the ball (Wong et al., Section 4.1), and the size of the noise (de Jorge et
# al.), after which the step has length ε.
_STEP, _NOISE = 1.25, 2.0
STARTS = ("image", "ball", "noise")


@dataclasses.dataclass(frozen=True)
class StartSettings:
    """The setting shared by defences that train on FGS examples crafted on D itself."""

    fgs_start: str = setting("image", "where the step starts: the image, a point of its ball, or 2 ε of noise", choices=STARTS)


@dataclasses.dataclass(frozen=True)
class Settings(StartSettings):
    """The settings of the mixture of clean and perturbed images, and of the step's start."""

    fgs_clean_weight: float = setting(0.0, "α, the weight of the clean images relative to the perturbed ones", least=0, most=1)


@compiled
def fgs_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One step of D on the FGS example (Eq. 6) of every image, or of a random point near it (`fgs_start`).

    With weight α, D also learns from the image itself.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "fgs", classifier="mlp", fgs_clean_weight=0.5)
        >>> players = defences.make_players(spec)
        >>> x, y = np.zeros((4, 8, 8, 1), np.float32), np.arange(4)
        >>> sorted(defences.fgs_step(players, x, y, spec, (0, 0)))
        ['d_accuracy', 'd_accuracy_adversarial', 'd_gradient_norm', 'd_loss', 'd_loss_adversarial', 'd_weight_decay']
    """
    adversarial = single_step(players, x, y, spec, seed)
    weight = spec.own.fgs_clean_weight
    if not weight:
        return descend(players, adversarial, y, spec)

    def losses() -> tuple[tf.Tensor, Scalars]:
        logits = [players.d(images, training=True) for images in (x, adversarial)]
        clean, attacked = (cross_entropy(y, own) for own in logits)
        logged = {"d_loss": clean, "d_loss_adversarial": attacked}
        logged |= {name: accuracy(y, own) for name, own in zip(("d_accuracy", "d_accuracy_adversarial"), logits, strict=True)}
        return weight * clean + (1 - weight) * attacked, logged

    return descend_on(players, spec, losses)


def single_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: Seed) -> tf.Tensor:
    """The FGS examples of D for these labels, in training; the step starts where `fgs_start` says.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import defences, experiments
        >>> from adv_networks.defences.fgs import single_step
        >>> spec = experiments.experiment("digits", "fgs", classifier="mlp", fgs_start="ball", epsilon=0.1)
        >>> players, x = defences.make_players(spec), np.full((4, 8, 8, 1), 0.5, np.float32)
        >>> bool(np.abs(single_step(players, x, np.arange(4), spec, (0, 0)) - x).max() < 0.1001)
        True
    """
    start, ball = spec.own.fgs_start, dict(norm=spec.norm, training=True)
    if start == "image":
        return attacks.fgs(players.d, x, y, spec.epsilon, **ball)
    if start == "ball":
        return attacks.pgd(players.d, x, y, spec.epsilon, step_size=_STEP * spec.epsilon, steps=1, seed=seed, **ball)
    noisy = moved_at_random(x, _NOISE * spec.epsilon, seed=as_seed(seed), p=CONVEX_NORMS[spec.norm])
    # No point that the step can reach from there is outside this ball.
    radius = (_NOISE + 1) * spec.epsilon
    return gradient_attack(players.d, x, y, radius, spec.epsilon, 1, start=noisy, **ball)


@register
class FGSTraining(Defence):
    """Adversarial training with FGS, which is PGD with one step, from the image itself or from a random point.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "fgs", fgs_clean_weight=0.5)
        >>> round(defences.FGSTraining().multiply_adds(spec) / defences.Standard().multiply_adds(spec), 2)
        2.67
    """

    name, letter, title = "fgs", "F", "adversarial training with FGS (a single step)"
    reads = ("perturbation",)
    Settings = Settings

    def multiply_adds(self, spec: Experiment) -> float:
        """See `Defence.multiply_adds`; an example takes a forward pass and one to the inputs, and clean images take three."""
        further = 2 + 3 * (spec.own.fgs_clean_weight > 0)
        return super().multiply_adds(spec) + further * costs.classifier_multiply_adds(spec)

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `fgs_step`."""
        return fgs_step(players, x, y, spec, seed)
