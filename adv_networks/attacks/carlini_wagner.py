"""The common part of the three attacks of Carlini and Wagner: Adam in an unbounded space, on all images at once.

Carlini and Wagner, 2017, "Towards evaluating the robustness of neural networks". An image is ½(tanh w + 1), so any w is a valid
image. Its loss is the size of its perturbation plus c times f, which says how far the logits are from the goal:
f = max(max_{i≠t} Z_i − Z_t, −κ) towards a target t, or max(Z_y − max_{i≠y} Z_i, −κ) away from a label y.

A round of steps is divided into parts. An image's round ends early if its loss stops falling from part to part or, in some
attacks, at its first success. Its next round then starts while other images are still in theirs, so that the batch stays full.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from adv_networks import networks
from adv_networks.attacks.adam import adam_step, at_least_single
from adv_networks.attacks.base import setting
from adv_networks.attacks.geometry import finite, per_image, where_images
from adv_networks.attacks.gradient import logits_of, predict
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.losses import margins
from adv_networks.attacks.minimum_norm import MinimumNormAttack
from adv_networks.attacks.quantities import as_scalar
from adv_networks.attacks.targets import TARGETS, targets_of
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import for_loops, mean_over_draws, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array

# How near to its bounds a starting pixel may be (arctanh is infinite there), as in the authors' code.
_INSIDE = 0.999999
# A gap must be below zero by this fraction of the largest logit, so that a success survives sums in another order.
_ROUNDING = 1e-5
# The maximum number of parts of a round and the minimum number of steps of a part. A round goes on while its least loss falls
# by at least this fraction in one of the last two parts: Adam may increase the loss at first.
_PARTS, _SHORTEST, _LEAST_FALL = 10, 20, 1e-4
# All rounds pause when one in this many has ended, so that new ones take their places.
_FULL = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class CarliniWagner(MinimumNormAttack):
    """The settings that the attacks of Carlini and Wagner share."""

    kappa: float = setting(0.0, "confidence κ: by how much the wanted logit must exceed the others", least=0)
    target: str = setting("none", "class to reach; none: any class but the true one", choices=("none", *TARGETS))

    def aim(self, source: keras.Model, x: tf.Tensor, y: tf.Tensor) -> Aim:
        """The goal of the attack for these images."""
        if self.target == "none":
            return Aim(y.numpy(), targeted=False, kappa=self.kappa)
        return Aim(targets_of(source, x, y, self.target).numpy(), targeted=True, kappa=self.kappa)


class Aim(NamedTuple):
    """The goal of an attack: labels to move away from, or towards if `targeted`, by a margin κ."""

    labels: np.ndarray
    targeted: bool
    kappa: float

    def is_reached(self, logits: np.ndarray) -> np.ndarray:
        """Which images have reached the goal, given their logits [batch, classes]; ignores κ. Booleans [batch]."""
        return (logits.argmax(1) == self.labels) == self.targeted


class Problem(NamedTuple):
    """The perturbations to find for a batch: NumPy arrays, whose first axis is the image.

    They are at least float32: in half precision Adam does not work, and 0.999999 is 1.

    Attributes:
        originals: images in [0,1].
        aim: the goal.
        allowed: which pixels may change, [batch, height, width, 1].
        threshold: τ, above which the change of a pixel counts in L∞, [batch].
    """

    originals: np.ndarray
    aim: Aim
    allowed: np.ndarray
    threshold: np.ndarray

    @classmethod
    def of(cls, x: tf.Tensor, aim: Aim) -> Problem:
        """The problem in which all pixels may change."""
        originals = at_least_single(x).numpy()
        return cls(originals, aim, np.ones((*originals.shape[:-1], 1), bool), np.ones(len(originals), originals.dtype))


class Descent(NamedTuple):
    """How a round descends. Everything but `rate` is a constant of the compiled graph.

    Attributes:
        size: how the perturbation δ is measured: l2 for ‖δ‖², linf for Σ max(0, |δ| − τ).
        rate: Adam's learning rate.
        margin: added to the gap between logits before it is cut off at −κ.
        ends: "best" keeps the smallest success of the round. "loss" or "margin" ends an image's round at its first success:
            when the loss, or the margin's part of it, is below 1e-4 c.
    """

    size: str
    rate: float
    margin: float
    ends: str


class Rounds:
    """Rounds of Adam on the images of a problem, each image in a round of its own. All that are running advance together.

    With a classifier that is not random, an image's rounds do not depend on the other images.

    Attributes:
        images: the smallest success of each image's last round, or the image it started from, [batch, height, width, channels].
        sizes: the sizes of their perturbations, infinite for a failure, [batch].
        slopes: the gradient of the gap between logits at these successes, [batch, height, width, channels].
        queries: the number of steps taken for each image so far, in all rounds, [batch].

    Args:
        model: classifier that returns logits.
        problem: the problem of the whole batch; its masks and thresholds may change between an image's rounds.
        how: what is minimised, and what ends a round.
        steps: maximum number of steps of a round.
    """

    def __init__(self, model: keras.Model, problem: Problem, how: Descent, steps: int):
        self._model, self._problem, self._how = model, problem, how
        self._numbers = [tf.constant(number, tf.int64) for number in (steps, max(1, min(_PARTS, steps // _SHORTEST)))]
        count, dtype = len(problem.originals), problem.originals.dtype
        self.images, self.sizes = problem.originals.copy(), np.full(count, np.inf, dtype)
        self.slopes, self.queries = np.zeros_like(self.images), np.zeros(count, np.int64)
        self._c, self._running = np.zeros(count, dtype), np.zeros(count, bool)
        self._point = [np.zeros_like(problem.originals) for _ in range(3)]  # w and Adam's two moments
        self._step = np.zeros(count, np.int64)
        self._least, self._before, self._fell = np.zeros(count, dtype), np.zeros(count, dtype), np.zeros(count, bool)

    def start(self, rows: np.ndarray, images: np.ndarray, c: np.ndarray) -> None:
        """Starts rounds of some images of the batch, from these images in [0,1] and with these weights c of the margin."""
        w, first, second = self._point
        w[rows], first[rows], second[rows] = np.arctanh(_INSIDE * (2 * images - 1)), 0, 0
        self.images[rows], self.sizes[rows], self._c[rows] = images, np.inf, c
        self._step[rows], self._running[rows], self._fell[rows] = 0, True, True
        self._least[rows], self._before[rows] = np.inf, np.inf

    def ended(self) -> Iterator[np.ndarray]:
        """Runs the rounds until none is left. Yields the rows whose rounds have just ended; the caller may start new ones."""
        while len(rows := np.flatnonzero(self._running)):
            self._advance(rows)
            yield rows[~self._running[rows]]

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows whose rounds have succeeded, and the others."""
        succeeded = np.isfinite(self.sizes[rows])
        return rows[succeeded], rows[~succeeded]

    def _advance(self, rows: np.ndarray) -> None:
        """Advances the rounds of these rows until some have ended."""
        problem, how = self._problem, self._how
        state = [*self._point, self.images, self.sizes, self.slopes, self._step, self._least, self._before, self._fell]
        given = [problem.originals, problem.allowed, problem.aim.labels, problem.threshold, self._c]
        arrays = [tf.constant(values[rows]) for values in (*given, *state)]
        numbers = [as_scalar(value, problem.originals.dtype) for value in (problem.aim.kappa, how.rate)]
        fixed = how.size, how.margin, how.ends, problem.aim.targeted
        *found, running, taken = run_compiled(_advance, self._model, *arrays, *numbers, *self._numbers, *fixed)
        for values, new in zip((*state, self._running), (*found, running), strict=True):
            values[rows] = new
        self.queries[rows] += taken.numpy()


def _advance(
    model, x, allowed, labels, threshold, c, w, first, second, images, sizes, slopes, step, least, before, fell,
    kappa, rate, steps, parts, size, margin, ends, targeted,
):  # fmt: skip
    """Steps of all images, until an eighth of the rounds have ended.

    Returns the state, which rounds are still running, and the number of steps taken for each image.
    """

    @for_loops
    def evaluate(w):
        """The image at w, its gap and the gap's slopes, the two parts of the loss, and the loss's gradient by w."""
        image = tf.where(allowed, (tf.tanh(w) + 1) / 2, x)
        gap, by_margin, slopes, counted = mean_over_draws(
            model, lambda one: _margin(one, image, labels, c, kappa, margin, targeted, networks.loss_scale(model))
        )
        change = image - x
        if size == "l2":
            changes, by_image = change**2, 2 * change
        else:
            beyond = tf.abs(change) - threshold[:, None, None, None]
            changes, by_image = tf.nn.relu(beyond), tf.where(beyond > 0, tf.sign(change), 0)
        by_image += per_image(c, image) * counted
        gradient = finite(tf.where(allowed, by_image * (1 - tf.tanh(w) ** 2) / 2, 0))
        return image, gap, slopes, tf.reduce_sum(changes, (1, 2, 3)), by_margin, gradient

    def parts_ended(step):
        """How many parts end within the first steps: part p, from 1, ends after ⌊p · steps / parts⌋."""
        return ((step + 1) * parts - 1) // steps

    def advance(w, first, second, images, sizes, slopes, step, least, before, fell, running, taken):
        image, gap, own_slopes, by_size, by_margin, gradient = evaluate(w)
        reached = gap + margin <= -kappa if ends == "best" else _is_small(by_size, by_margin, c, ends)
        better = running & reached & (gap < 0) & (by_size < sizes)
        moved, first, second = adam_step(w, first, second, gradient, rate, tf.cast(step + 1, x.dtype))
        least = tf.minimum(least, by_size + by_margin)
        falls, judged = least <= (1 - _LEAST_FALL) * before, parts_ended(step + 1) > parts_ended(step)
        is_last = (step + 1 == steps) | (judged & ~(falls | fell))
        return (
            where_images(running, moved, w),
            first,
            second,
            where_images(better, image, images),
            tf.where(better, by_size, sizes),
            where_images(better, own_slopes, slopes),
            tf.where(is_last, step, step + 1),
            tf.where(judged, tf.constant(np.inf, x.dtype), least),
            tf.where(judged, tf.minimum(least, before), before),
            tf.where(judged, falls, fell),
            running & ~(is_last if ends == "best" else is_last | better),
            taken + tf.cast(running, tf.int64),
        )

    def goes_on(*state):
        running = state[-2]
        return _FULL * tf.reduce_sum(tf.cast(running, tf.int32)) > (_FULL - 1) * tf.size(running)

    state = w, first, second, images, sizes, slopes, step, least, before, fell
    state += tf.ones_like(fell), tf.zeros_like(step, tf.int64)
    return tf.while_loop(goes_on, advance, state, parallel_iterations=1)


def _margin(model, image, labels, c, kappa, margin, targeted, scale):
    """The gap between logits, its part of the loss, and the gradients of the gap: its own, and 0 where it is cut off at −κ."""
    with tf.GradientTape() as tape:
        tape.watch(image)
        logits = logits_of(model, image)
        gap = -margins(logits, labels) if targeted else margins(logits, labels)
        total = scale * tf.reduce_sum(gap)
    slopes = finite(tape.gradient(total, image, unconnected_gradients=tf.UnconnectedGradients.ZERO) / scale)
    counted = where_images(gap + margin >= -kappa, slopes, tf.zeros_like(slopes))
    by_margin = c * (tf.maximum(gap + margin, -kappa) + kappa)
    return gap + _ROUNDING * tf.reduce_max(tf.abs(logits), 1), by_margin, slopes, counted


def _is_small(by_size, by_margin, c, ends):
    """Whether the remaining loss is negligible compared with c: the whole loss, or the margin's part of it."""
    return by_size + by_margin < 1e-4 * c if ends == "loss" else by_margin < 1e-4 * c


def prepared(model: keras.Model, x: Array, y: Array, *, targeted: bool, kappa: float) -> tuple[tf.Tensor, Aim]:
    """The checked images and the goal, from the arguments of a public function.

    Raises:
        UsageError: κ below 0, or invalid images or labels.
    """
    if not 0 <= kappa < np.inf:
        raise UsageError(f"kappa: expected a value of at least 0, received {kappa}")
    x = as_images(model, x)
    return x, Aim(as_labels(y, x, model).numpy(), targeted, kappa)


def standing(model: keras.Model, x: tf.Tensor, aim: Aim) -> np.ndarray:
    """The rows of the images to attack: with κ = 0, those that have not reached the goal; otherwise all."""
    if aim.kappa > 0:
        return np.arange(len(aim.labels))
    return np.flatnonzero(~aim.is_reached(predict(model, x).numpy()))
