"""FGS in many small steps, up the loss of the true label or down that of the least likely one (Kurakin et al., 2017)."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import Attack, register, setting
from adv_networks.attacks.gradient import gradient_attack, predict
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.quantities import check_epsilon, check_sizes
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

_ONE_LEVEL = 1 / 255


@register("iterative", "FGS in small steps from the image itself, the basic iterative method")
@register("iterative_least_likely", "FGS in small steps towards the class that is least likely at first", label="least_likely")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Iterative(Attack):
    """The attacks `iterative` and `iterative_least_likely` as columns of tables.

    Examples:
        >>> import keras, numpy as np
        >>> import adv_networks as an
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> y = np.argmax(model(x), 1)
        >>> an.evaluate(model, x, y, [an.attacks.Iterative(epsilon=0.5, alpha=0.05, steps=15)], epsilon=0.5)
        {'iterative': 0.0, 'worst': 0.0}
    """

    kind: ClassVar[str] = "iterative"

    alpha: float = setting(_ONE_LEVEL, "step size, on the [0,1] scale", above=0)
    steps: int = setting(0, "gradient steps; 0: min(255ε + 4, 1.25 · 255ε), rounded down", least=0)
    label: str = setting("true", "true: maximise its loss; least_likely: minimise its loss", choices=("true", "least_likely"))

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        labels = y if self.label == "true" else None
        how = dict(alpha=self.alpha, steps=self.steps or None, norm=self.norm, training=training)
        return iterative(source, x, labels, self.epsilon, **how)


def kurakin_steps(epsilon: float) -> int:
    """⌊min(255ε + 4, 1.25 · 255ε)⌋, at least 1: enough steps of 1/255 to reach the edge of the ball, and some more."""
    levels = round(255 * epsilon, 9)  # 8/255 must be exactly 8 levels.
    return max(1, math.floor(min(levels + 4, round(1.25 * levels, 9))))


def iterative(
    model: keras.Model,
    x: Array,
    y: Array | None,
    epsilon: float,
    *,
    alpha: float = _ONE_LEVEL,
    steps: int | None = None,
    norm: str = "linf",
    training: bool = False,
) -> tf.Tensor:
    """Iterative FGS: x_{i+1} = Proj(x_i + α sign ∇ℓ(D(x_i), y)) from x_0 = x; Proj is onto the ε-ball and onto [0,1].

    Kurakin, Goodfellow and Bengio, 2017, "Adversarial examples in the physical world".

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: labels to move away from; None to move towards each image's least likely class instead.
        epsilon: radius of the ball.
        alpha: α, the step size.
        steps: number of steps; None for `kurakin_steps`.
        norm: linf, l2 or l1.
        training: whether BN uses the batch's statistics.

    Raises:
        UsageError: α is not above 0, fewer than one step, an unknown norm, or invalid images.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> adversarial = attacks.iterative(model, x, y, 8 / 255)
        >>> (255 * attacks.distances(x, adversarial, "linf")).round(3).tolist()
        [8.0, 8.0]
    """
    check_epsilon(epsilon, norm, steps=1 if steps is None else steps)
    check_sizes(alpha=alpha)
    if not alpha > 0:
        raise UsageError(f"alpha: expected a value above 0, received {alpha}")
    x = as_images(model, x)
    steps = kurakin_steps(epsilon) if steps is None else steps
    if y is None:
        least_likely = tf.argmin(predict(model, x, training=training), 1, tf.int32)
        return gradient_attack(model, x, least_likely, epsilon, -alpha, steps, norm, training=training)
    return gradient_attack(model, x, as_labels(y, x, model), epsilon, alpha, steps, norm, training=training)
