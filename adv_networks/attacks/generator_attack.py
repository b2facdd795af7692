"""The attack of a generator G (Eq. 4): x + εG(x)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks import networks
from adv_networks.attacks.base import Attack, register
from adv_networks.attacks.geometry import project
from adv_networks.attacks.inputs import as_floats, as_labels, check_shape
from adv_networks.attacks.quantities import as_scalar, as_seed, check_epsilon
from adv_networks.experiments import CONVEX_NORMS, choose
from adv_networks.lazy import keras, tf
from adv_networks.runtime import raw_outputs, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


@register("generator", "x + εG(x) by a trained generator, Eq. 4")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Generator(Attack):
    """The attack `generator` as a column of tables; it is crafted on a generator.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> g = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 3, padding="same", activation="tanh")])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> attacks.craft_all(attacks.Generator(epsilon=0.1), g, x, y).shape  # crafted on the generator
        (2, 8, 8, 1)
    """

    kind: ClassVar[str] = "generator"
    access: ClassVar[str] = "generator"
    of_first_records: ClassVar[bool] = True

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        return generator(source, x, y, self.epsilon, norm=self.norm, seed=seed, training=training)


def generator(
    g: keras.Model,
    x: Array,
    y: Array | None,
    epsilon: float,
    *,
    norm: str = "linf",
    seed: Seed = 0,
    training: bool = False,
) -> tf.Tensor:
    """The generator's attack x + εG, projected onto the ball. Only some generators take the label y, or noise from `seed`.

    If the generator was built for `norm`, the projection only clips to [0,1]; otherwise it also enforces the ball.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> g = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 3, padding="same", activation="tanh")])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> adversarial = attacks.generator(g, x, None, 0.1)
        >>> bool((attacks.distances(x, adversarial, "linf") <= 0.1 + 1e-6).all())
        True
    """
    check_epsilon(epsilon, norm)
    x, epsilon, p = as_floats(x, g.variable_dtype), as_scalar(epsilon, g.variable_dtype), choose(CONVEX_NORMS, norm, "norm")
    check_shape(g.output_shape, x)  # Not the input, which may be noise or labels.
    inputs = networks.generator_input(g, x, None if y is None else as_labels(y, x), as_seed(seed))
    perturbation = run_compiled(raw_outputs, g, training, inputs)
    return project(x, x + epsilon * perturbation, epsilon, p)
