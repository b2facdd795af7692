"""R+FGSM: a random step before the gradient step, to leave the region where gradients are masked (Tramèr et al., 2018)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import Attack, register, setting
from adv_networks.attacks.gradient import gradient_attack
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.quantities import as_scalar, as_seed, check_epsilon, check_sizes
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


@register("r_fgs", "R+FGSM: a random sign step of α, then one of ε − α up the loss of the true label")
@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomisedFGS(Attack):
    """The attack `r_fgs` as a column of tables.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.RandomisedFGS(epsilon=0.3, alpha=0.1).title
        'r_fgs (linf ≤ 0.3)'
    """

    kind: ClassVar[str] = "r_fgs"
    norms: ClassVar[tuple[str, ...]] = ("linf",)

    alpha: float = setting(0.0, "size of the random step on the [0,1] scale, below ε; 0: ε/2", least=0)

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """See `Attack.check`; the random step must be smaller than ε."""
        super().check(classes=classes, bn_evaluation=bn_evaluation)
        check_alpha(self.alpha or self.epsilon / 2, self.epsilon)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        return r_fgs(source, x, y, self.epsilon, alpha=self.alpha or None, seed=seed, training=training)


def check_alpha(alpha: float, epsilon: float) -> None:
    """Raises a UsageError unless the random step is smaller than ε; if ε is 0, it must be 0 too."""
    check_sizes(alpha=alpha)
    if not 0 <= alpha < epsilon and not alpha == epsilon == 0:
        raise UsageError(f"alpha: expected a value of at least 0 and below ε {epsilon:g}, received {alpha:g}")


def r_fgs(
    model: keras.Model,
    x: Array,
    y: Array,
    epsilon: float,
    *,
    alpha: float | None = None,
    seed: Seed = 0,
    training: bool = False,
) -> tf.Tensor:
    """R+FGSM: x′ = x + α sign n with n ~ N(0, I), then x′ + (ε − α) sign ∇ℓ(D(x′), y), each clipped to [0,1].

    Tramèr, Kurakin, Papernot, Goodfellow, Boneh and McDaniel, 2018, "Ensemble adversarial training: attacks and defenses".

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: labels to move away from.
        epsilon: radius of the L∞ ball.
        alpha: α, from 0 to below ε; None for ε/2.
        seed: seed of the random step.
        training: whether BN uses the batch's statistics.

    Raises:
        UsageError: α out of range, or invalid images.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> adversarial = attacks.r_fgs(model, x, y, 0.3, alpha=0.1)
        >>> bool((attacks.distances(x, adversarial, "linf") <= 0.3 + 1e-6).all())
        True
    """
    check_epsilon(epsilon)
    alpha = epsilon / 2 if alpha is None else alpha
    check_alpha(alpha, epsilon)
    x = as_images(model, x)
    up = tf.random.stateless_uniform(tf.shape(x), as_seed(seed)) < 0.5
    step = as_scalar(alpha, x.dtype)
    start = tf.clip_by_value(tf.where(up, x + step, x - step), 0, 1)
    return gradient_attack(
        model, x, as_labels(y, x, model), epsilon, epsilon - alpha, 1, "linf", start=start, training=training
    )
