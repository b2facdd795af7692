"""The common part of the three attacks of Carlini and Wagner: Adam in an unbounded space, on all images at once.

Carlini and Wagner, 2017, "Towards evaluating the robustness of neural networks". An image is ½(tanh w + 1), so any w is a valid
image. Its loss is the size of its perturbation plus c times f, which says how far the logits are from the goal:
f = max(max_{i≠t} Z_i − Z_t, −κ) towards a target t, or max(Z_y − max_{i≠y} Z_i, −κ) away from a label y.

A round of steps is divided into parts. Images that are done leave the batch between parts. If the first success ends an image's
round, they also leave as soon as they make up half of the batch.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from adv_networks import networks
from adv_networks.attacks.base import setting
from adv_networks.attacks.geometry import finite, flat
from adv_networks.attacks.gradient import logits_of, predict
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.losses import margins
from adv_networks.attacks.minimum_norm import MinimumNormAttack
from adv_networks.attacks.quantities import as_scalar
from adv_networks.attacks.standing import where_images
from adv_networks.attacks.targets import TARGETS, targets_of
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import for_loops, mean_over_draws, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array

# How near to its bounds a starting pixel may be (arctanh is infinite there), and Adam's parameters, as in the authors' code.
_INSIDE = 0.999999
_FIRST_MOMENT, _SECOND_MOMENT, _ADAM_EPSILON = 0.9, 0.999, 1e-8
# A gap must be below zero by this fraction of the largest logit, so that a success survives sums in another order.
_ROUNDING = 1e-5
# The maximum number of parts of a round and the minimum number of steps of a part. An image stays in the round if its least
# loss fell by at least this fraction in one of the last two parts: Adam may increase the loss at first.
_PARTS, _SHORTEST, _LEAST_FALL = 10, 20, 1e-4


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
        originals = x.numpy()
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


class Round(NamedTuple):
    """The result of a round: images, the sizes of their perturbations (infinite for a failure), and the number of queries."""

    images: np.ndarray
    sizes: np.ndarray
    queries: np.ndarray

    @property
    def succeeded(self) -> np.ndarray:
        """Which images the round succeeded on: booleans [batch]."""
        return np.isfinite(self.sizes)


def descend(
    model: keras.Model, problem: Problem, rows: np.ndarray, starts: np.ndarray, c: np.ndarray, how: Descent, steps: int
) -> Round:
    """A round of Adam on some images of a problem.

    Args:
        model: classifier that returns logits.
        problem: the problem of the whole batch.
        rows: the images of the batch that take part.
        starts: the images in [0,1] to start from, [rows, …].
        c: the weight of the margin for each image, [rows].
        how: what is minimised, and what ends the round.
        steps: maximum number of steps.
    """
    dtype, count = starts.dtype, len(rows)
    w = np.arctanh(_INSIDE * (2 * starts - 1)).astype(dtype)
    state = [w, np.zeros_like(w), np.zeros_like(w)]
    images, sizes = starts.copy(), np.full(count, np.inf, dtype)
    queries, before, done = np.zeros(count, np.int64), np.full(count, np.inf), 0
    fell = np.ones(count, bool)
    here = np.arange(count)
    parts = max(1, min(_PARTS, steps // _SHORTEST))
    for part in range(parts):
        if not len(here):
            break
        least, active, end = np.full(count, np.inf), here, (part + 1) * steps // parts
        while len(active) and done < end:
            own = rows[active]
            arrays = [problem.originals[own], problem.allowed[own], problem.aim.labels[own], problem.threshold[own], c[active]]
            arrays += [values[active] for values in (*state, images, sizes)]
            numbers = as_scalar(problem.aim.kappa, dtype), as_scalar(how.rate, dtype), tf.constant(done), tf.constant(end)
            fixed = how.size, how.margin, how.ends, problem.aim.targeted
            step, *found, loss, taken = run_compiled(_advance, model, *map(tf.constant, arrays), *numbers, *fixed)
            for values, new in zip((*state, images, sizes), found, strict=True):
                values[active] = new
            queries[active] += taken.numpy()
            least[active] = np.minimum(least[active], loss.numpy())
            done = int(step)
            active = active[np.isinf(sizes[active])]
        done = end
        falls = least[here] <= (1 - _LEAST_FALL) * before[here]
        before[here] = np.minimum(least[here], before[here])
        stays, fell[here] = falls | fell[here], falls
        here = here[stays if how.ends == "best" else stays & ~np.isfinite(sizes[here])]
    return Round(images, sizes, queries)


def _advance(
    model, x, allowed, labels, threshold, c, w, first, second, images, sizes, kappa, rate, done, end,
    size, margin, ends, targeted,
):  # fmt: skip
    """Steps from `done` to `end`, or until half of the images are done if the first success ends an image's round.

    Returns the number of the last step, the state, the least loss, and the number of steps taken for each image.
    """
    infinity = tf.constant(np.inf, x.dtype)

    def image_of(w):
        return tf.where(allowed, (tf.tanh(w) + 1) / 2, x)

    def slopes(one, w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            image = image_of(w)
            logits = logits_of(one, image)
            gap = -margins(logits, labels) if targeted else margins(logits, labels)
            change = flat(image - x)
            by_size = tf.reduce_sum(change**2 if size == "l2" else tf.nn.relu(tf.abs(change) - threshold[:, None]), 1)
            by_margin = c * (tf.maximum(gap + margin, -kappa) + kappa)
            total = networks.loss_scale(model) * tf.reduce_sum(by_size + by_margin)
        gradient = tape.gradient(total, w, unconnected_gradients=tf.UnconnectedGradients.ZERO) / networks.loss_scale(model)
        return gap + _ROUNDING * tf.reduce_max(tf.abs(logits), 1), by_size, by_margin, finite(gradient)

    @for_loops
    def evaluate(w):
        return image_of(w), *mean_over_draws(model, lambda one: slopes(one, w))

    def advance(step, w, first, second, images, sizes, loss, taken):
        image, gap, by_size, by_margin, gradient = evaluate(w)
        works = tf.ones_like(sizes, tf.bool) if ends == "best" else tf.math.is_inf(sizes)
        reached = gap + margin <= -kappa if ends == "best" else _is_small(by_size, by_margin, c, ends)
        reached &= gap < 0
        better = works & reached & (by_size < sizes)
        number = tf.cast(step + 1, x.dtype)
        first = _FIRST_MOMENT * first + (1 - _FIRST_MOMENT) * gradient
        second = _SECOND_MOMENT * second + (1 - _SECOND_MOMENT) * gradient**2
        corrected = rate * tf.sqrt(1 - _SECOND_MOMENT**number) / (1 - _FIRST_MOMENT**number)
        moved = w - corrected * first / (tf.sqrt(second) + _ADAM_EPSILON)
        return (
            step + 1,
            where_images(works, moved, w),
            first,
            second,
            where_images(better, image, images),
            tf.where(better, by_size, sizes),
            tf.where(works, tf.minimum(loss, by_size + by_margin), loss),
            taken + tf.cast(works, tf.int64),
        )

    def goes_on(step, *state):
        more = step < end
        failing = tf.cast(tf.math.is_inf(state[4]), tf.int32)
        return more if ends == "best" else more & (2 * tf.reduce_sum(failing) > tf.size(failing))

    start = done, w, first, second, images, sizes, tf.fill(tf.shape(sizes), infinity), tf.zeros_like(sizes, tf.int64)
    return tf.while_loop(goes_on, advance, start, parallel_iterations=1)


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


def in_batch(count: int, rows: np.ndarray, values: Any, rest: Any) -> np.ndarray:
    """An array for the whole batch: `values` in these rows, `rest` in the others."""
    whole = np.array(np.broadcast_to(rest, (count, *np.shape(values)[1:])))
    whole[rows] = values
    return whole
