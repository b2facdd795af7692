"""Carlini and Wagner's attack on detectors: a margin and the detectors' excess, minimised together within the ball."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks import networks
from adv_networks.attacks.adam import adam_step, at_least_single
from adv_networks.attacks.base import register, setting
from adv_networks.attacks.evading import logits_and_excess
from adv_networks.attacks.geometry import finite, where_images
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.losses import margins
from adv_networks.attacks.quantities import as_scalar, check_epsilon, check_sizes, check_weight
from adv_networks.attacks.standing import StrongAttack
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import for_loops, mean_over_draws, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# How far from the ends of its interval a pixel starts, as a share of it: arctanh is infinite there, and flat near them.
_INSIDE = 0.01
# How far below 0 the margin (_GAP) and the detectors' excess (_BELOW) are pushed, and by what c changes after a round.
_GAP, _BELOW, _FACTOR = 1.0, 0.05, 10.0


@register("evading_cw", "evades the detectors of a defence: Adam on a margin and their excess, within the ball")
@dataclasses.dataclass(frozen=True, kw_only=True)
class EvadingCarliniWagner(StrongAttack):
    """The attack `evading_cw` as a column of tables; without detectors it only minimises the margin.

    Examples:
        >>> import keras, numpy as np
        >>> import adv_networks as an
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> y = np.argmax(model(x), 1)
        >>> an.evaluate(model, x, y, [an.attacks.EvadingCarliniWagner(epsilon=0.5, steps=20)], epsilon=0.5)
        {'evading_cw': 0.0, 'worst': 0.0}
    """

    kind: ClassVar[str] = "evading_cw"
    evades: ClassVar[bool] = True
    of_first_records: ClassVar[bool] = False

    rounds: int = setting(3, "values of c that are tried", least=1)
    steps: int = setting(200, "Adam steps for each", least=1)
    rate: float = setting(0.05, "Adam's learning rate", above=0)
    c: float = setting(1.0, "first weight of the margin", above=0)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`; a source with detectors returns their excess as a second output."""
        return evading_cw(source, x, y, self.epsilon, rounds=self.rounds, steps=self.steps, rate=self.rate, c=self.c)


def evading_cw(
    model: keras.Model,
    x: Array,
    y: Array,
    epsilon: float,
    *,
    rounds: int = 3,
    steps: int = 200,
    rate: float = 0.05,
    c: float = 1.0,
) -> tf.Tensor:
    """Images within ε in L∞ that are misclassified and not refused, found by Adam on c · margin + the detectors' excess.

    An image is a point of its box, the ball's part in [0,1], and is moved in the unbounded space of Carlini and Wagner. Every
    round starts next to the image itself: noise over the whole ball is what detectors refuse. If the classifier is right at the
    end of a round, c is multiplied by 10 for the next one, otherwise divided by 10. An image is done once it is misclassified
    and not refused; if that never happens, the last point of the last round is returned. (Carlini and Wagner, 2017,
    "Adversarial examples are not easily detected", and "MagNet and 'Efficient defenses against adversarial attacks' are not
    robust to adversarial examples".)

    Args:
        model: maps images in [0,1] to logits [batch, classes] and to the detectors' excess [batch], which is at least 0 for a
            refused image; a classifier alone refuses none.
        x: images in [0,1] or uint8, [batch, height, width, channels].
        y: true labels, integers [batch].
        epsilon: radius of the L∞ ball around each image, on the [0,1] pixel scale.
        rounds: how many values of c are tried for an image.
        steps: Adam steps for each.
        rate: Adam's learning rate.
        c: first weight of the margin.

    Raises:
        UsageError: invalid images, labels or ε, or a number out of range.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> images = keras.Input((8, 8, 1))
        >>> logits = keras.layers.Dense(2)(keras.layers.Flatten()(images))
        >>> too_bright = keras.ops.mean(images, (1, 2, 3)) - 0.7
        >>> model = keras.Model(images, [logits, too_bright])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> attacks.evading_cw(model, x, y, 0.1, steps=10).shape
        TensorShape([2, 8, 8, 1])
    """
    check_sizes(rate=rate)
    check_weight(c)
    check_epsilon(epsilon, "linf", rounds=rounds, steps=steps)
    x = as_images(model, x)
    dtype, labels = x.dtype, as_labels(y, x, model).numpy()
    x = at_least_single(x)
    originals, radius, pace = x.numpy(), as_scalar(epsilon, x.dtype), as_scalar(rate, x.dtype)
    images, weight = originals.copy(), np.full(len(labels), float(c))
    gap, excess = (found.numpy() for found in run_compiled(_outcome, model, x, tf.constant(labels)))
    stands = (gap >= 0) | (excess >= 0)
    for _ in range(rounds):
        if not len(rows := np.flatnonzero(stands)):
            break
        arrays = (tf.constant(own) for own in (originals[rows], labels[rows], weight[rows].astype(originals.dtype)))
        images[rows], evades, gap, pushed = (
            found.numpy() for found in run_compiled(_round, model, *arrays, radius, pace, tf.constant(steps))
        )
        weight[rows] *= np.where(gap < 0, 1 / _FACTOR, _FACTOR)
        # If no detector ever pushed, another c would repeat the round: Adam ignores the scale of a gradient.
        stands[rows] = ~evades & pushed
    return tf.cast(images, dtype)


def _outcome(model, x, labels):
    """The margin, below 0 for a misclassified image, and the detectors' excess, [batch] each."""

    def of(one):
        logits, excess = logits_and_excess(one, x)
        return margins(logits, labels), excess

    return mean_over_draws(model, of)


def _round(model, x, labels, c, epsilon, rate, steps):
    """A round of Adam: the images found, which of them evade, the last margins, and where detectors pushed."""
    low, high = tf.maximum(x - epsilon, 0), tf.minimum(x + epsilon, 1)

    def descent(one, w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            image = low + (high - low) * (tf.tanh(w) + 1) / 2
            logits, excess = logits_and_excess(one, image)
            gap = margins(logits, labels)
            loss = c * tf.nn.relu(gap + _GAP) + tf.nn.relu(excess + _BELOW)
            total = networks.loss_scale(model) * tf.reduce_sum(loss)
        gradient = tape.gradient(total, w, unconnected_gradients=tf.UnconnectedGradients.ZERO) / networks.loss_scale(model)
        return image, gap, excess, finite(gradient)

    @for_loops
    def evaluate(w):
        return mean_over_draws(model, lambda one: descent(one, w))

    def advance(step, w, first, second, best, evaded, gap, pushed):
        image, gap, excess, gradient = evaluate(w)
        moved = adam_step(w, first, second, gradient, rate, tf.cast(step + 1, x.dtype))
        best, evaded = where_images(evaded, best, image), evaded | (gap < 0) & (excess < 0)
        return step + 1, *moved, best, evaded, gap, pushed | (excess >= -_BELOW)

    # A pixel whose box has no width stays where it is.
    start = tf.atanh(2 * tf.clip_by_value(tf.math.divide_no_nan(x - low, high - low), _INSIDE, 1 - _INSIDE) - 1)
    nowhere = tf.zeros_like(labels, tf.bool)
    state = 0, start, tf.zeros_like(x), tf.zeros_like(x), x, nowhere, tf.zeros_like(c), nowhere
    *_, best, evaded, gap, pushed = tf.while_loop(
        # Once all are done, no step is left to take.
        lambda step, *state: (step < steps) & ~tf.reduce_all(state[4]),
        advance,
        state,
        parallel_iterations=1,
    )
    return best, evaded, gap, pushed
