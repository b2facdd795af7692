"""Fast gradient sign towards a chosen class: one step down the loss of another label."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import Attack, register, setting
from adv_networks.attacks.gradient import gradient_attack
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.quantities import check_epsilon
from adv_networks.attacks.targets import TARGETS, targets_of
from adv_networks.lazy import keras, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


@register("fgs_targeted", "one step down the loss of a class other than the true one")
@dataclasses.dataclass(frozen=True, kw_only=True)
class TargetedFGS(Attack):
    """The attack `fgs_targeted` as a column of tables.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.named("fgs_targeted:target=next", 0.3).title
        'fgs_targeted:target=next (linf ≤ 0.3)'
    """

    kind: ClassVar[str] = "fgs_targeted"

    target: str = setting("least_likely", "class to reach, never the true one", choices=TARGETS)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        x = as_images(source, x)
        target = targets_of(source, x, as_labels(y, x, source), self.target, training=training)
        return fgs_targeted(source, x, target, self.epsilon, norm=self.norm, training=training)


def fgs_targeted(
    model: keras.Model, x: Array, target: Array, epsilon: float, *, norm: str = "linf", training: bool = False
) -> tf.Tensor:
    """Targeted fast gradient sign: x − ε sign ∇_x ℓ(D(x), t), projected; in l2 and l1 x − ε ∇_x ℓ / ‖∇_x ℓ‖.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        target: the class that each image should reach, integers [batch].
        epsilon: size of the perturbation.
        norm: linf, l2 or l1.
        training: whether BN uses the batch's statistics.

    Raises:
        UsageError: targets that name no class, an unknown norm, or invalid images.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> adversarial = attacks.fgs_targeted(model, x, np.array([0, 1]), 0.5)
        >>> np.argmax(model(adversarial), 1)
        array([0, 1])
    """
    check_epsilon(epsilon, norm)
    x = as_images(model, x)
    return gradient_attack(model, x, as_labels(target, x, model), epsilon, -epsilon, 1, norm, training=training)
