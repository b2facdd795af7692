"""One step towards the class that the model finds least likely (Eq. 8)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import Attack, register
from adv_networks.attacks.gradient import gradient_attack, predict
from adv_networks.attacks.inputs import as_images
from adv_networks.attacks.quantities import check_epsilon
from adv_networks.lazy import keras, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


@register("least_likely", "one step towards the least likely class, Eq. 8")
@dataclasses.dataclass(frozen=True, kw_only=True)
class LeastLikely(Attack):
    """The attack `least_likely` as a column of tables.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.LeastLikely(epsilon=1.5, norm="l2").title
        'least_likely (l2 ≤ 1.5)'
    """

    kind: ClassVar[str] = "least_likely"
    of_first_records: ClassVar[bool] = True

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        return least_likely(source, x, self.epsilon, norm=self.norm, training=training)


def least_likely(model: keras.Model, x: Array, epsilon: float, *, norm: str = "linf", training: bool = False) -> tf.Tensor:
    """One step towards the least likely class (Eq. 8): x − ε sign ∇_x ℓ(D(x), argmin D(x)), projected; otherwise like `fgs`.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> adversarial = attacks.least_likely(model, x, 0.5)
        >>> np.array_equal(np.argmax(model(adversarial), 1), np.argmin(model(x), 1))
        True
    """
    check_epsilon(epsilon, norm)
    x = as_images(model, x)
    y = tf.argmin(predict(model, x, training=training), 1, tf.int32)
    return gradient_attack(model, x, y, epsilon, -epsilon, 1, norm, training=training)
