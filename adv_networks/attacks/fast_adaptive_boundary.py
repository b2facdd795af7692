"""FAB, the third attack of AutoAttack, implemented from the paper that defines it."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks import networks
from adv_networks.attacks.base import register, setting
from adv_networks.attacks.geometry import finite, where_images
from adv_networks.attacks.gradient import expected_outputs, logits_of
from adv_networks.attacks.inputs import as_images, as_labels, classes_of
from adv_networks.attacks.quantities import as_scalar, check_epsilon
from adv_networks.attacks.standing import StrongAttack, attack_standing, likeliest_targets
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import for_loops, mean_over_draws, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# Overshoot η, largest bias α towards the original image, and backward step β.
_OVERSHOOT, _LARGEST_BIAS, _BACKWARD = 1.05, 0.1, 0.9


@register("fab_targeted", "FAB towards each of the nine likeliest other classes", targets=9)
@dataclasses.dataclass(frozen=True, kw_only=True)
class FAB(StrongAttack):
    """The attack `fab` as a column of tables, with the numbers of AutoAttack's standard version (Croce and Hein, 2020).

    Examples:
        >>> from adv_networks import attacks
        >>> fab = attacks.FAB(epsilon=0.1, targets=3, steps=20)
        >>> fab.title, fab.leaves_failures
        ('fab (linf ≤ 0.1)', True)
    """

    kind: ClassVar[str] = "fab"
    leaves_failures: ClassVar[bool] = True

    steps: int = setting(100, "steps for each target", least=1)
    targets: int = setting(9, "classes to try, the likeliest first", least=1)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        self.check(classes=classes_of(source, x) or math.inf, bn_evaluation="batch" if training else "moving")
        return fab(source, x, y, self.epsilon, targets=self.targets, steps=self.steps)


def towards_hyperplane(x: tf.Tensor, normal: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """The smallest step in L∞ from x, within [0,1], such that value + ⟨normal, step⟩ = 0.

    Every pixel moves by the same length, or as far as [0,1] allows. Newton's iteration finds the length from below in finitely
    many steps, because the change of the linear function is concave and piecewise linear in it. If the plane does not meet the
    box, every pixel goes to its bound.

    Args:
        x: points in [0,1], [batch, n].
        normal: gradient of the linear function, [batch, n].
        value: value of the linear function at x, [batch].
    """
    direction = -tf.sign(value)[:, None] * tf.sign(normal)
    weights, nothing = tf.abs(normal), tf.zeros_like(x)
    room = tf.where(direction > 0, 1 - x, tf.where(direction < 0, x, nothing))

    def advance(length, _):
        free = room > length[:, None]
        left = tf.abs(value) - tf.reduce_sum(tf.where(free, nothing, weights * room), 1)
        slope = tf.reduce_sum(tf.where(free, weights, nothing), 1)
        longer = tf.where(slope > 0, tf.math.divide_no_nan(left, slope), length)
        # Otherwise rounding could make the last steps cycle.
        return tf.maximum(longer, length), longer > length

    start = tf.zeros_like(value), tf.ones_like(value, tf.bool)
    length = tf.while_loop(lambda _, moved: tf.reduce_any(moved), advance, start, parallel_iterations=1)[0]
    return direction * tf.minimum(length[:, None], room)


def approach_boundary(model, x, y, target, steps):
    """Targeted FAB (Algorithm 1 with one class) from x: the nearest point found that fools the model, and its distance."""
    pixels = math.prod(x.shape[1:])

    def flat(images):
        return tf.reshape(images, [-1, pixels])

    original = flat(x)

    def fools(points):
        logits = expected_outputs(model, False, tf.reshape(points, tf.shape(x)))
        return tf.not_equal(tf.argmax(logits, 1, tf.int32), y)

    def one_draw(point, model):
        with tf.GradientTape() as tape:
            tape.watch(point)
            logits = logits_of(model, tf.reshape(point, tf.shape(x)))
            gap = tf.gather(logits, target, batch_dims=1) - tf.gather(logits, y, batch_dims=1)
            total = networks.loss_scale(model) * tf.reduce_sum(gap)
        normal = tape.gradient(total, point, unconnected_gradients=tf.UnconnectedGradients.ZERO) / networks.loss_scale(model)
        return gap, normal

    @for_loops
    def linearise(point):
        gap, normal = mean_over_draws(model, functools.partial(one_draw, point))
        return gap, finite(normal)

    def advance(step, point, nearest, distance):
        gap, normal = linearise(point)
        values = tf.concat([gap, gap + tf.reduce_sum(normal * (original - point), 1)], 0)
        moves = towards_hyperplane(tf.concat([point, original], 0), tf.tile(normal, [2, 1]), values)
        own, biased = tf.split(moves, 2)
        lengths = [tf.reduce_max(tf.abs(move), 1, keepdims=True) for move in (own, biased)]
        bias = tf.minimum(tf.math.divide_no_nan(lengths[0], lengths[0] + lengths[1]), _LARGEST_BIAS)
        point = (1 - bias) * (point + _OVERSHOOT * own) + bias * (original + _OVERSHOOT * biased)
        point = tf.clip_by_value(point, 0, 1)
        adversarial, away = fools(point), tf.reduce_max(tf.abs(point - original), 1)
        nearer = adversarial & (away < distance)
        nearest = tf.where(nearer[:, None], point, nearest)
        point = tf.where(adversarial[:, None], (1 - _BACKWARD) * original + _BACKWARD * point, point)
        return step + 1, point, nearest, tf.where(nearer, away, distance)

    start = 0, original, original, tf.fill([tf.shape(x)[0]], tf.constant(math.inf, x.dtype))
    *_, nearest, distance = tf.while_loop(lambda step, *_: step < steps, advance, start, parallel_iterations=1)
    return tf.reshape(nearest, tf.shape(x)), distance


def fab(model: keras.Model, x: Array, y: Array, epsilon: float, *, targets: int = 9, steps: int = 100) -> tf.Tensor:
    """Targeted FAB: searches for the smallest perturbation by steps onto the linearised boundary, pulled back to the image.

    Croce and Hein, 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack", in the targeted form
    and with the parameters of AutoAttack: for each target one start, at the image, and no final search.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: true labels.
        epsilon: the largest perturbation that counts.
        targets: number of classes to try: the likeliest that are not y, in order.
        steps: number of steps for each target.

    Returns:
        For each image, the nearest point found that fools the model, from the first target with such a point within ε; the
        image itself if there is none.

    Raises:
        UsageError: a negative ε, or fewer than one target or step.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> y = np.argmax(model(x), 1)
        >>> adversarial = attacks.fab(model, x, y, 0.5, targets=1, steps=10)
        >>> np.argmax(model(adversarial), 1) != y
        array([ True,  True])
    """
    check_epsilon(epsilon, targets=targets, steps=steps)
    x = as_images(model, x)
    y = as_labels(y, x, model)
    radius = as_scalar(epsilon, x.dtype)

    def attempt(target: tf.Tensor, rows: np.ndarray, current: np.ndarray) -> tf.Tensor:
        own, labels, towards = (tf.gather(values, rows) for values in (x, y, target))
        nearest, distance = run_compiled(approach_boundary, model, own, labels, towards, tf.constant(steps))
        return where_images(distance <= radius, nearest, current)

    return attack_standing(
        model, x, y, (functools.partial(attempt, target) for target in likeliest_targets(model, x, y, targets))
    )
