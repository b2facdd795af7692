"""PGD whose restarts skip images that are already misclassified."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import register, setting
from adv_networks.attacks.gradient import gradient_attack
from adv_networks.attacks.inputs import as_images, as_labels, classes_of
from adv_networks.attacks.quantities import as_scalar, as_seed, check_epsilon, check_sizes
from adv_networks.attacks.standing import StrongAttack, attack_standing, random_start
from adv_networks.lazy import keras, np, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


@register("restarted_pgd", "PGD with steps of 2.5 ε / 100 (Madry et al., 2018) and ten restarts")
@dataclasses.dataclass(frozen=True, kw_only=True)
class RestartedPGD(StrongAttack):
    """The attack `restarted_pgd` as a column of tables.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.RestartedPGD(epsilon=0.3, restarts=3).steps  # from each start
        100
    """

    kind: ClassVar[str] = "restarted_pgd"

    steps: int = setting(100, "gradient steps from each start", least=1)
    step_fraction: float = setting(0.025, "step size over ε", above=0)
    restarts: int = setting(10, "random starts", least=1)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        self.check(classes=classes_of(source, x) or math.inf, bn_evaluation="batch" if training else "moving")
        return restarted_pgd(
            source,
            x,
            y,
            self.epsilon,
            step_size=self.epsilon * self.step_fraction,
            steps=self.steps,
            restarts=self.restarts,
            seed=seed,
        )


def restarted_pgd(
    model: keras.Model,
    x: Array,
    y: Array,
    epsilon: float,
    *,
    step_size: float,
    steps: int = 100,
    restarts: int = 10,
    seed: Seed = 0,
) -> tf.Tensor:
    """PGD (Eq. 7) in L∞ whose restarts skip images that are already misclassified, unlike those of `pgd`.

    This fools the same number of images with a fraction of the gradients, but does not increase the loss of a fooled image.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: true labels.
        epsilon: radius of the ball.
        step_size: α.
        steps: number of gradient steps from each start.
        restarts: number of random starts, uniform in the ball.
        seed: seed of the random starts.

    Raises:
        UsageError: a negative ε, or fewer than one step or restart.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> y = np.argmax(model(x), 1)
        >>> adversarial = attacks.restarted_pgd(model, x, y, 0.5, step_size=0.1, steps=10, restarts=3)
        >>> np.argmax(model(adversarial), 1) != y
        array([ True,  True])
    """
    check_sizes(step_size=step_size)
    check_epsilon(epsilon, steps=steps, restarts=restarts)
    x, seed = as_images(model, x), as_seed(seed)
    y = as_labels(y, x, model)
    radius = as_scalar(epsilon, x.dtype)

    def attempt(number: int, rows: np.ndarray, _: np.ndarray) -> tf.Tensor:
        start = random_start(x, rows, radius, tf.random.experimental.stateless_fold_in(seed, number))
        return gradient_attack(model, tf.gather(x, rows), tf.gather(y, rows), radius, step_size, steps, "linf", start=start)

    return attack_standing(model, x, y, (functools.partial(attempt, number) for number in range(restarts)))
