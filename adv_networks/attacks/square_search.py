"""Square, the last attack of AutoAttack, implemented from the paper that defines it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import register, setting
from adv_networks.attacks.geometry import where_images
from adv_networks.attacks.gradient import logits_of
from adv_networks.attacks.inputs import as_images, as_labels, classes_of
from adv_networks.attacks.losses import margins
from adv_networks.attacks.quantities import as_scalar, as_seed, check_epsilon
from adv_networks.attacks.standing import Attempt, StrongAttack, attack_standing
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# The first fraction of changed pixels, and the queries (out of 10,000) after which it is halved.
_FIRST_SHARE, _HALVINGS = 0.8, (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_QUERIES_AT_ONCE = 100


@register("square", "random search over squares, without gradients")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Square(StrongAttack):
    """The attack `square` as a column of tables; its steps are queries.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.Square(epsilon=0.1, steps=500).access  # it reads no gradients
        'scores'
    """

    kind: ClassVar[str] = "square"
    access: ClassVar[str] = "scores"

    steps: int = setting(5_000, "queries per image", least=1)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        self.check(classes=classes_of(source, x) or math.inf, bn_evaluation="batch" if training else "moving")
        return square(source, x, y, self.epsilon, queries=self.steps, seed=seed)


def square_sides(queries: int, height: int, width: int) -> np.ndarray:
    """The side of the square that each query after the first changes, int32 [queries − 1]: √(p·height·width), rounded.

    p is halved at the paper's times. These are for 10,000 queries and scale with the number of queries.
    """
    times = np.arange(1, queries) * 10_000 // queries
    share = _FIRST_SHARE / 2.0 ** np.searchsorted(_HALVINGS, times)
    return np.clip(np.round(np.sqrt(share * height * width)), 1, max(1, min(height, width) - 1)).astype(np.int32)


def _change_squares(model, x, y, point, rows, epsilon, count, seed, first, sides):
    """Square (Algorithms 1 and 2): one query for each side; keeps a change if it lowers the margin of a standing image."""
    height, width, channels = x.shape[1:]

    def margins_of(points):
        return margins(logits_of(model, points), y)

    def advance(step, point, margin):
        corner_seed, sign_seed = tf.unstack(
            tf.random.experimental.stateless_split(tf.random.experimental.stateless_fold_in(seed, first + step), 2)
        )
        side = sides[step]
        places = tf.stack([height - side + 1, width - side + 1])
        corners = tf.gather(tf.random.stateless_uniform([count, 2], corner_seed, dtype=x.dtype), rows)
        corners = tf.cast(corners * tf.cast(places, x.dtype), tf.int32)
        signs = tf.gather(_signs([count, 1, 1, channels], sign_seed, x.dtype), rows)
        inside = [
            (tf.range(length) >= corners[:, axis, None]) & (tf.range(length) < corners[:, axis, None] + side)
            for axis, length in enumerate((height, width))
        ]
        mask = (inside[0][:, :, None] & inside[1][:, None, :])[..., None]
        changed = tf.where(mask, tf.clip_by_value(x + epsilon * signs, 0, 1), point)
        found = margins_of(changed)
        accept = (found < margin) & (margin >= 0)
        return step + 1, where_images(accept, changed, point), tf.where(accept, found, margin)

    start = (0, point, margins_of(point))
    return tf.while_loop(lambda step, *_: step < tf.size(sides), advance, start, parallel_iterations=1)[1]


def _signs(shape: list[int], seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tf.where(tf.random.stateless_uniform(shape, seed) < 0.5, tf.constant(-1, dtype), tf.constant(1, dtype))


def square(model: keras.Model, x: Array, y: Array, epsilon: float, *, queries: int = 5_000, seed: Seed = 0) -> tf.Tensor:
    """Square: random search without gradients that sets the pixels of one square at a time to x ± ε.

    Andriushchenko, Croce, Flammarion and Hein, 2020, "Square attack: a query-efficient black-box adversarial attack via random
    search". The loss is the margin of the logits, as in AutoAttack.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: true labels.
        epsilon: radius of the L∞ ball.
        queries: maximum number of queries per image.
        seed: seed of the initial stripes and of the squares.

    Raises:
        UsageError: a negative ε, or no query.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> adversarial = attacks.square(model, x, y, 0.1, queries=50)
        >>> bool((attacks.distances(x, adversarial, "linf") <= 0.1 + 1e-6).all())
        True
    """
    check_epsilon(epsilon, queries=queries)
    x, seed = as_images(model, x), as_seed(seed)
    y = as_labels(y, x, model)
    (count, height, width, channels), radius = x.shape, as_scalar(epsilon, x.dtype)
    sides = square_sides(queries, height, width)

    def stripes(rows: np.ndarray, _: np.ndarray) -> tf.Tensor:
        signs = _signs([count, 1, width, channels], tf.random.experimental.stateless_fold_in(seed, 0), x.dtype)
        return tf.clip_by_value(tf.gather(x, rows) + radius * tf.gather(signs, rows), 0, 1)

    def squares(first: int, rows: np.ndarray, current: np.ndarray) -> tf.Tensor:
        own, labels, point = tf.gather(x, rows), tf.gather(y, rows), tf.constant(current)
        chosen = tf.constant(sides[first - 1 : first - 1 + _QUERIES_AT_ONCE])
        numbers = tf.constant(count), seed, tf.constant(first), chosen
        return run_compiled(_change_squares, model, own, labels, point, tf.constant(rows), radius, *numbers)

    def attempts() -> Iterator[Attempt]:
        yield stripes
        for first in range(1, queries, _QUERIES_AT_ONCE):
            yield functools.partial(squares, first)

    return attack_standing(model, x, y, attempts())
