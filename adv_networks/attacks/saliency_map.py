"""JSMA, the Jacobian-based saliency map attack: it raises few values of an image, two at a time, each by a large amount."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks import networks
from adv_networks.attacks.base import register, setting
from adv_networks.attacks.geometry import finite, flat
from adv_networks.attacks.gradient import logits_of, predict
from adv_networks.attacks.inputs import as_images, as_labels, as_targets
from adv_networks.attacks.minimum_norm import Found, MinimumNormAttack
from adv_networks.attacks.quantities import as_scalar
from adv_networks.attacks.standing import likeliest_targets
from adv_networks.attacks.targets import TARGETS, targets_of
from adv_networks.errors import UsageError
from adv_networks.experiments import AttackDefaults, choose
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import for_loops, mean_over_draws, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# One step needs the logits and two gradients.
_QUERIES_A_STEP = 3
# Images that have reached their target leave the batch after this many steps.
_STEPS_AT_ONCE = 8
# A probability and its logarithm have one saliency map: probabilities sum to one, so the others fall as much as the target's
# rises, and the factor between the two gradients, the same for all values, changes neither their order nor their signs.
OUTPUTS = ("logits", "probabilities", "log_probabilities")


@register("jsma", "raises few values by much, two at a time by a saliency map, to reach another class")
@dataclasses.dataclass(frozen=True, kw_only=True)
class JSMA(MinimumNormAttack):
    """The attack `jsma` as a column of tables.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.JSMA(epsilon=10, target="all").title  # at most ten pixels
        'jsma (l0 ≤ 10)'
    """

    kind: ClassVar[str] = "jsma"
    norms: ClassVar[tuple[str, ...]] = ("l0", "l1", "l2", "linf")

    norm: str = "l0"
    target: str = setting("runner_up", "class to reach; all: the one that needs the fewest values", choices=(*TARGETS, "all"))
    share: float = setting(0.145, "largest fraction of an image's values that may change", above=0, most=1)
    theta: float = setting(1.0, "by how much a value is raised", above=0, most=1)
    of: str = setting("logits", "outputs that the saliency map differentiates", choices=OUTPUTS, omitted=True)

    @classmethod
    def of_experiment(cls, spec: AttackDefaults, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing: it takes few steps at every scale."""
        return {}

    def search(self, source: keras.Model, x: tf.Tensor, y: tf.Tensor, *, seed: Seed = 0) -> Found:
        """See `MinimumNormAttack.search`."""
        return search(source, x, y, target=self.target, share=self.share, theta=self.theta, of=self.of)


def _second_largest_before(values: tf.Tensor) -> tf.Tensor:
    """For each place in a row, the second largest of the values before it, [batch, n]; −∞ at the first two places."""

    def later(rows: tf.Tensor, places: int) -> tf.Tensor:
        return tf.pad(rows[:, :-places], [[0, 0], [places, 0]], constant_values=-math.inf)

    first, width = later(values, 1), 1
    second = tf.fill(tf.shape(values), tf.constant(-math.inf, values.dtype))
    while width < values.shape[1]:
        # Merge the two largest of the last `width` places with the two largest of the `width` places before those.
        second = tf.maximum(tf.minimum(first, later(first, width)), tf.maximum(second, later(second, width)))
        first, width = tf.maximum(first, later(first, width)), 2 * width
    return second


def best_pairs(own: tf.Tensor, others: tf.Tensor, free: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """For each image, the two values that move it most towards its target when raised, by the saliency map of pairs.

    Among all pairs p ≠ q of free values with own_p + own_q > 0 > others_p + others_q, the best has the largest
    −(own_p + own_q)·(others_p + others_q). A value is beaten by another with at least its `own` and at most its `others`. A
    value that two others beat can be left out: one of the two is not in the pair and can replace it at no loss. This leaves a
    few dozen of an image's hundreds or thousands of values, so all their pairs can be compared.

    Args:
        own: ∂z_t/∂x, [batch, n].
        others: Σ_{k≠t} ∂z_k/∂x, [batch, n].
        free: which values may be changed, booleans [batch, n].

    Returns:
        The places of the two values, int32 [batch, 2], and whether there is such a pair, booleans [batch].
    """
    # So low that no pair with this value counts, yet the sum of two is finite.
    never = tf.constant(own.dtype.min / 4, own.dtype)
    rise, order = tf.math.top_k(tf.where(free, own, never), own.shape[1])
    fall = tf.gather(tf.where(free, -others, never), order, batch_dims=1)
    unbeaten = fall > _second_largest_before(fall)
    count = tf.reduce_max(tf.math.count_nonzero(unbeaten, 1, dtype=tf.int32))
    places = tf.math.top_k(tf.cast(unbeaten, own.dtype), count).indices
    rises, falls = (
        values[:, :, None] + values[:, None, :] for values in (tf.gather(part, places, batch_dims=1) for part in (rise, fall))
    )
    distinct = tf.range(count)[:, None] < tf.range(count)
    score = tf.where((rises > 0) & (falls > 0) & distinct, rises * falls, 0)
    score = tf.reshape(score, [-1, count * count])
    best = tf.argmax(score, 1, tf.int32)
    pair = tf.gather(places, tf.stack([best // count, best % count], 1), batch_dims=1)
    return tf.gather(order, pair, batch_dims=1), tf.reduce_max(score, 1) > 0


def _logits_and_gradients(model, of, point, target):
    """Logits, and the gradients [batch, n] of the target's output and of the sum of all outputs, of a kind of `OUTPUTS`."""
    scale = networks.loss_scale(model)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(point)
        logits = logits_of(model, point)
        outputs = dict(logits=tf.identity, probabilities=tf.nn.softmax, log_probabilities=tf.nn.log_softmax)[of](logits)
        own = scale * tf.reduce_sum(tf.gather(outputs, target, batch_dims=1))
        # All probabilities sum to one, whose gradient is zero.
        total = tf.zeros([]) if of == "log_probabilities" else scale * tf.reduce_sum(outputs)
    return logits, *(flat(tape.gradient(part, point, unconnected_gradients="zero")) / scale for part in (own, total))


def _raise_pairs(model, of, x, target, free, pairs_left, theta, steps):
    """`steps` steps of JSMA: each raises, by θ, the best pair of values of every image that has not reached its target.

    Returns:
        The images, their free values, the number of pairs that may still be raised, and which images changed in the last step.
    """

    @for_loops
    def linearise(point):
        return mean_over_draws(model, lambda one: _logits_and_gradients(one, of, point, target))

    def advance(step, point, free, pairs_left, _):
        logits, own, total = linearise(point)
        pair, exists = best_pairs(finite(own), finite(total - own), free)
        moves = exists & (pairs_left > 0) & (tf.argmax(logits, 1, tf.int32) != target)
        chosen = tf.reduce_any(tf.one_hot(pair, free.shape[1], True, False), 1) & moves[:, None]
        raised = tf.clip_by_value(point + theta * tf.reshape(tf.cast(chosen, point.dtype), tf.shape(point)), 0, 1)
        return step + 1, raised, free & ~chosen, pairs_left - tf.cast(moves, tf.int32), moves

    def continues(step, *state):
        return (step < steps) & tf.reduce_any(state[-1])

    start = (0, x, free, pairs_left, tf.ones_like(target, tf.bool))
    return tf.while_loop(continues, advance, start, parallel_iterations=1)[1:]


def _towards(
    model: keras.Model, x: tf.Tensor, targets: np.ndarray, rows: np.ndarray, pairs: np.ndarray, theta: float, of: str
) -> tuple[np.ndarray, np.ndarray]:
    """JSMA on some rows of x, towards their targets with at most `pairs` pairs: the images, and the numbers of pairs raised."""
    points, left = x.numpy()[rows], pairs[rows].astype(np.int32)
    free = points.reshape(len(rows), -1) < 1
    going, step = np.arange(len(rows)), as_scalar(theta, x.dtype)
    while len(going):
        arguments = (tf.constant(part) for part in (points[going], targets[rows[going]], free[going], left[going]))
        found = run_compiled(_raise_pairs, model, of, *arguments, step, tf.constant(_STEPS_AT_ONCE))
        points[going], free[going], left[going], moves = (part.numpy() for part in found)
        going = going[moves]
    return points, pairs[rows] - left


def _most_pairs(share: float, values: int) -> int:
    """The number of pairs in this fraction of an image's values."""
    pairs = int(share * values / 2) if 0 < share <= 1 else 0
    if not pairs:
        raise UsageError(f"share: expected at least two and at most all of {values} values, received {share}")
    return pairs


def jsma(
    model: keras.Model,
    x: Array,
    y: Array,
    *,
    target: str | Array = "runner_up",
    share: float = 0.145,
    theta: float = 1.0,
    of: str = "logits",
) -> tf.Tensor:
    """JSMA: again and again raises by θ the two values that move the image most towards a class, until it has that class.

    Papernot, McDaniel, Jha, Fredrikson, Celik and Swami, 2016, "The limitations of deep learning in adversarial settings"
    (Algorithm 2 with the saliency map of pairs), on logits or, as in the paper, on probabilities. No value is raised twice.
    Each colour channel of a pixel is a separate value. ART's SaliencyMapMethod differs: it raises the two values of the
    target's largest gradients, whatever those of the other classes are, and one pair more than `share` allows.

    Prefer `of="log_probabilities"` as an attack. The map of logits, the default, counts every other class alike, even those far
    from likely. It passes over pairs that raise the target's logit most, and finds no pair where all raise the others' sum. Of
    50 digits and a D1 trained on FGS it moves 32 to the runner-up, ART 42 and the map of log-probabilities 44, each by a median
    of 4 pixels; with `share=1` the two maps move 46 and 50. The default stays because the lecture's results were measured with
    it.

    Args:
        model: classifier that returns logits.
        x: images in [0,1], [batch, height, width, channels].
        y: true labels.
        target: the class to reach: "runner_up", the likeliest class that is not y; "least_likely"; "next", y + 1; "all", the
            other class that needs the fewest pairs; or one class per image, integers [batch].
        share: the largest fraction of an image's values that may change (Υ), above 0 and at most 1.
        theta: by how much a value is raised, above 0 and at most 1.
        of: the outputs that the saliency map differentiates, one of `OUTPUTS`. The gradients of "probabilities" vanish if the
            target is improbable; "log_probabilities" give the same map, and do not.

    Returns:
        Images of the shape of x. An image that does not reach its target is returned unchanged. So is, unless targets are given
        for each image, one that is misclassified from the start.

    Raises:
        UsageError: a target that is the image's label or no class, a share or θ out of range, or an unknown `of`.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> attacks.jsma(model, np.zeros((3, 2, 2, 1)), np.zeros(3, int), share=0.5).shape
        TensorShape([3, 2, 2, 1])
    """
    if not 0 < theta <= 1:
        raise UsageError(f"theta: expected a value above 0 and of at most 1, received {theta}")
    choose(dict.fromkeys(OUTPUTS), of, "of")
    x = as_images(model, x)
    return tf.constant(search(model, x, as_labels(y, x, model), target=target, share=share, theta=theta, of=of).images)


def search(
    model: keras.Model, x: tf.Tensor, y: tf.Tensor, *, target: str | Array, share: float, theta: float, of: str
) -> Found:
    """JSMA on valid images and labels."""
    most = _most_pairs(share, math.prod(x.shape[1:]))
    images, labels, predicted = x.numpy().copy(), y.numpy(), np.argmax(predict(model, x), 1)
    # The fewest pairs that have reached a class so far; one more than allowed while none has.
    fewest, queries = np.full(len(labels), most + 1), np.ones(len(labels), np.int64)
    for own in _classes_to_try(model, x, y, target):
        starts = predicted == labels if isinstance(target, str) else predicted != own
        rows = np.flatnonzero(starts & (fewest > 1))
        if not len(rows):
            continue
        points, pairs = _towards(model, x, own, rows, fewest - 1, theta, of)
        queries[rows] += _QUERIES_A_STEP * pairs
        reached = np.argmax(predict(model, points), 1) == own[rows]
        images[rows[reached]], fewest[rows[reached]] = points[reached], pairs[reached]
    return Found(images, queries)


def _classes_to_try(model: keras.Model, x: tf.Tensor, y: tf.Tensor, target: str | Array) -> list[np.ndarray]:
    """The classes to move the images towards, one after the other, each int32 [batch]."""
    if not isinstance(target, str):
        return [as_targets(target, x, y, model).numpy()]
    if target == "all":
        return [own.numpy() for own in likeliest_targets(model, x, y, sys.maxsize)]
    return [targets_of(model, x, y, target).numpy()]
