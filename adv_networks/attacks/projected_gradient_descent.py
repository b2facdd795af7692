"""Projected gradient descent (Eq. 7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import Attack, register, setting
from adv_networks.attacks.geometry import moved_at_random, where_images
from adv_networks.attacks.gradient import gradient_attack, losses_and_logits
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.losses import LOSSES
from adv_networks.attacks.quantities import as_seed, check_epsilon, check_sizes
from adv_networks.experiments import CONVEX_NORMS, AttackDefaults, choose
from adv_networks.lazy import keras, tf
from adv_networks.runtime import mean_over_draws, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


@register("pgd", "projected gradient descent, Eq. 7, from a random start")
@dataclasses.dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """The attack `pgd` as a column of tables; its step size is a fraction of ε.

    Examples:
        >>> import keras, numpy as np
        >>> import adv_networks as an
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> y = np.argmax(model(x), 1)
        >>> an.accuracy(model, x, y), an.accuracy(model, x, y, attack=an.attacks.PGD(epsilon=0.5, steps=20))
        (1.0, 0.0)
    """

    kind: ClassVar[str] = "pgd"
    of_first_records: ClassVar[bool] = True

    steps: int = setting(10, "gradient steps", least=1)
    step_fraction: float = setting(0.25, "step size over ε", above=0)
    restarts: int = setting(1, "random starts; the strongest result for each image is kept", least=1)
    clip_start: bool = setting(True, "clip the random start to [0,1]")
    random_start: bool = setting(True, "start at random in the ball, not at the image", omitted=True)
    loss: str = setting("cross_entropy", "loss to maximise", choices=("cross_entropy", "dlr", "margin"), omitted=True)
    temperature: float = setting(1.0, "divisor of the logits before the loss", above=0, omitted=True)

    @classmethod
    def of_experiment(cls, spec: AttackDefaults, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The PGD settings of the experiment, which it may use in training too."""
        start = dict(random_start=spec.pgd_random_start, clip_start=spec.pgd_clip_start)
        return dict(steps=spec.pgd_steps, step_fraction=spec.pgd_step_fraction, **start)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        return pgd(
            source,
            x,
            y,
            self.epsilon,
            norm=self.norm,
            step_size=self.epsilon * self.step_fraction,
            steps=self.steps,
            restarts=self.restarts,
            seed=seed,
            random_start=self.random_start,
            clip_start=self.clip_start,
            loss=self.loss,
            temperature=self.temperature,
            training=training,
        )


def pgd(
    model: keras.Model,
    x: Array,
    y: Array,
    epsilon: float,
    *,
    norm: str = "linf",
    step_size: float | None = None,
    steps: int = 10,
    restarts: int = 1,
    seed: Seed = 0,
    random_start: bool = True,
    clip_start: bool = True,
    targeted: bool = False,
    loss: str = "cross_entropy",
    temperature: float = 1.0,
    training: bool = False,
) -> tf.Tensor:
    """Projected gradient descent (Eq. 7): after every step the point is projected onto the ε-ball and onto [0,1].

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: true labels, or the classes to reach if `targeted`.
        epsilon: radius of the ball.
        norm: norm of the ball and of the steps: linf, l2 or l1.
        step_size: α; None for ε/4.
        steps: number of gradient steps.
        restarts: number of random starts; the strongest result for each image is kept.
        seed: seed of the random starts; the result is a function of it and the other arguments.
        random_start: start uniformly in the ε-ball of the norm, as Foolbox does, instead of at x.
        clip_start: clip the random start to [0,1] (the released code does not).
        targeted: minimise the loss of y instead of maximising it.
        loss: cross_entropy, or a loss whose gradient keeps its direction when the logits are scaled: dlr
            (`difference_of_logits_ratio`, which needs three classes) or margin.
        temperature: divisor of the logits before the loss.
        training: whether BN uses the batch's statistics.

    Raises:
        UsageError: invalid images, labels or ε, an unknown norm or loss, or fewer than one step or restart.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> adversarial = attacks.pgd(model, x, y, 0.3, steps=20, restarts=2)
        >>> bool((attacks.distances(x, adversarial, "linf") <= 0.3 + 1e-6).all())
        True
    """
    check_epsilon(epsilon, norm, steps=steps, restarts=restarts)
    choose(LOSSES, loss, "loss")
    x, seed = as_images(model, x), as_seed(seed)
    y = as_labels(y, x, model)
    step_size = epsilon / 4 if step_size is None else step_size
    check_sizes(step_size=step_size)
    p, best = choose(CONVEX_NORMS, norm, "norm"), None
    for restart in range(restarts):
        start = x
        if random_start:
            restart_seed = seed if restarts == 1 else tf.random.experimental.stateless_fold_in(seed, restart)
            start = moved_at_random(x, epsilon, seed=restart_seed, p=p)
            start = tf.clip_by_value(start, 0, 1) if clip_start else start
        candidate = gradient_attack(
            model,
            x,
            y,
            epsilon,
            -step_size if targeted else step_size,
            steps,
            norm,
            start=start,
            training=training,
            loss=loss,
            temperature=temperature,
        )
        best = candidate if best is None else run_compiled(_replace_weaker, model, training, targeted, best, candidate, y)
    return best


def _replace_weaker(model, training, targeted, best, candidate, y):
    """For each image the stronger of two attacks: one that fools the model beats one that does not; then the loss decides."""

    def strength(x):
        loss, logits = mean_over_draws(model, lambda one: losses_and_logits(one, x, y, training))
        hit = tf.equal(tf.argmax(logits, 1, tf.int32), y)
        return hit == targeted, -loss if targeted else loss

    (best_fools, best_loss), (fools, loss) = strength(best), strength(candidate)
    stronger = (fools & ~best_fools) | ((fools == best_fools) & (loss > best_loss))
    return where_images(stronger, candidate, best)
