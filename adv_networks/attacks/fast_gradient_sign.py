"""Fast gradient sign (Eq. 6): one step along the sign of the gradient."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import Attack, register, setting
from adv_networks.attacks.gradient import gradient_attack, predict
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.quantities import check_epsilon
from adv_networks.lazy import keras, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


@register("fgs", "fast gradient sign, Eq. 6: one step up the loss of the true label")
@register("fgs_predicted", "one step up the loss of the predicted label, which avoids label leaking", label="predicted")
@dataclasses.dataclass(frozen=True, kw_only=True)
class FGS(Attack):
    """The attack `fgs` as a column of tables.

    Examples:
        >>> import keras, numpy as np
        >>> import adv_networks as an
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> y = np.argmax(model(x), 1)
        >>> an.accuracy(model, x, y), an.accuracy(model, x, y, attack=an.attacks.FGS(epsilon=0.5))
        (1.0, 0.0)
    """

    kind: ClassVar[str] = "fgs"
    of_first_records: ClassVar[bool] = True

    label: str = setting("true", "label whose loss is maximised", choices=("true", "predicted"))

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        return fgs(source, x, y if self.label == "true" else None, self.epsilon, norm=self.norm, training=training)


def fgs(
    model: keras.Model, x: Array, y: Array | None, epsilon: float, *, norm: str = "linf", training: bool = False
) -> tf.Tensor:
    """Fast gradient sign (Eq. 6): x + ε sign ∇_x ℓ(D(x), y), projected; in l2 and l1 x + ε ∇_x ℓ / ‖∇_x ℓ‖.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: labels to move away from; None for the predicted labels, which avoids label leaking.
        epsilon: size of the perturbation.
        norm: linf, l2 or l1.
        training: whether BN uses the batch's statistics.

    Raises:
        UsageError: an unknown norm, or images that are neither uint8 nor floats. The other attacks raise the same.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> adversarial = attacks.fgs(model, x, y, 0.5, norm="l2")
        >>> attacks.distances(x, adversarial, "l2").round(4).tolist()
        [0.5, 0.5]
    """
    check_epsilon(epsilon, norm)
    x = as_images(model, x)
    y = tf.argmax(predict(model, x, training=training), 1, tf.int32) if y is None else as_labels(y, x, model)
    return gradient_attack(model, x, y, epsilon, epsilon, 1, norm, training=training)
