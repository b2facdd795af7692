"""The attacks of AutoAttack in L∞: APGD, targeted FAB and Square, from the algorithms in the papers that define them.

Images, labels and ε are those of `attacks`. An attack stops working on an image once it is misclassified, at the latest with
the next target, restart or hundred queries; images that are misclassified from the start come back as they are. What happens
to an image depends on the seed and on its place in the batch, not on which of the others have fallen.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from adv_networks.attacks import (
    Array,
    Seed,
    as_images,
    as_labels,
    as_scalar,
    as_seed,
    finite,
    gradient_attack,
    predict,
    run_compiled,
)
from adv_networks.errors import UsageError
from adv_networks.runtime import discarding_statistics, for_loops, loss_scale

# Of an attempt: the rows of the batch that still stand, and what the attack has made of them so far; it returns its own.
Attempt = Callable[[np.ndarray, np.ndarray], tf.Tensor]

# APGD's momentum, and the share of steps that must increase the loss for the step size to stay.
_MOMENTUM, _INCREASING = 0.75, 0.75
# FAB's overshoot η, largest bias α towards the original image, and backward step β.
_OVERSHOOT, _LARGEST_BIAS, _BACKWARD = 1.05, 0.1, 0.9
# Square's first share of changed pixels, and the queries (out of 10,000) after which it is halved.
_FIRST_SHARE, _HALVINGS = 0.8, (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_QUERIES_AT_ONCE = 100


def _margins(logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """z_y − max_{i≠y} z_i, negative where the image is misclassified."""
    return tf.gather(logits, y, batch_dims=1) - tf.reduce_max(_without(logits, y), 1)


def _without(logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The logits, that of y being −∞."""
    return tf.where(tf.one_hot(y, tf.shape(logits)[1], True, False), tf.constant(-math.inf, logits.dtype), logits)


def difference_of_logits_ratio(logits: tf.Tensor, y: tf.Tensor, target: tf.Tensor | None = None) -> tf.Tensor:
    """The DLR loss [batch], invariant to the logits' shift and scale; zero where its denominator is.

    −(z_y − max_{i≠y} z_i) / (z_(1) − z_(3)), or with targets −(z_y − z_t) / (z_(1) − (z_(3) + z_(4)) / 2), z_(k) being the
    k-th largest (Croce and Hein, 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", Section 4). Logits are [batch, classes] of at least 3 classes, or 4 with targets.
    """
    largest = tf.math.top_k(logits, 3 if target is None else 4).values
    if target is None:
        return tf.math.divide_no_nan(-_margins(logits, y), largest[:, 0] - largest[:, 2])
    difference = tf.gather(logits, target, batch_dims=1) - tf.gather(logits, y, batch_dims=1)
    return tf.math.divide_no_nan(difference, largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2)


def _cross_entropy(logits: tf.Tensor, y: tf.Tensor, target: tf.Tensor | None = None) -> tf.Tensor:
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits
    return loss(y, logits) if target is None else -loss(target, logits)


LOSSES = {"cross_entropy": _cross_entropy, "dlr": difference_of_logits_ratio}


def _attack_standing(model: keras.Model, x: tf.Tensor, y: tf.Tensor, attempts: Iterable[Attempt]) -> tf.Tensor:
    """What the attempts make of the images, one after the other, each of those that the model still labels correctly."""
    current, labels = x.numpy(), y.numpy()

    def stand(rows: np.ndarray) -> np.ndarray:
        return rows[np.argmax(predict(model, current[rows]), 1) == labels[rows]]

    standing = stand(np.arange(len(labels)))
    for attempt in attempts:
        if not len(standing):
            break
        current[standing] = attempt(standing, current[standing])
        standing = stand(standing)
    return tf.constant(current)


def _targets(model: keras.Model, x: tf.Tensor, y: tf.Tensor, count: int) -> list[tf.Tensor]:
    """The likeliest class that is not y, the second likeliest, and so on: `count` tensors [batch], or as many as there are."""
    logits = predict(model, x)
    order = tf.argsort(_without(logits, y), 1, "DESCENDING")
    return tf.unstack(order[:, : min(count, logits.shape[1] - 1)], axis=1)


def _random_start(x: tf.Tensor, rows: np.ndarray, radius: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Points drawn uniformly from the balls around those rows' images, clipped to [0,1]."""
    noise = tf.random.stateless_uniform(tf.shape(x), seed, -1, 1, x.dtype)
    return tf.clip_by_value(tf.gather(x + radius * noise, rows), 0, 1)


def _check(epsilon: float, **counts: int) -> None:
    if epsilon < 0:
        raise ValueError(f"epsilon: expected at least 0, received {epsilon}")
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}: expected at least 1, received {count}")


# --- PGD with restarts -----------------------------------------------------------------------------------------------


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
    """PGD (Eq. 7) in L∞ whose restarts leave out what an earlier one fooled, unlike those of `attacks.pgd`.

    That fools the same number of images with a fraction of the gradients, but seeks no larger loss for one that is fooled.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: true labels.
        epsilon: radius of the ball.
        step_size: α.
        steps: number of gradient steps from each start.
        restarts: number of random starts, uniform in the ball.
        seed: of the random starts.

    Raises:
        ValueError: a negative ε, fewer than one step or restart.
    """
    _check(epsilon, steps=steps, restarts=restarts)
    x, y, seed = as_images(model, x), as_labels(y), as_seed(seed)
    radius = as_scalar(epsilon, x.dtype)

    def attempt(number: int, rows: np.ndarray, _: np.ndarray) -> tf.Tensor:
        start = _random_start(x, rows, radius, tf.random.experimental.stateless_fold_in(seed, number))
        return gradient_attack(model, tf.gather(x, rows), tf.gather(y, rows), radius, step_size, steps, "linf", start=start)

    return _attack_standing(model, x, y, (functools.partial(attempt, number) for number in range(restarts)))


# --- APGD ------------------------------------------------------------------------------------------------------------


def checkpoints(steps: int) -> np.ndarray:
    """After each of APGD's steps: how many it took since the last checkpoint if this is one, else 0; int32 [steps].

    Checkpoints are at the shares p of the steps, rounded up: 0.22, then each later than the one before by a length that
    shrinks by 0.03, down to 0.06.
    """
    lengths, last, share, length = np.zeros(steps, np.int32), 0, 0.22, 0.22
    while (step := math.ceil(round(share * steps, 9))) <= steps:
        if step > last:
            lengths[step - 1] = step - last
            last = step
        length = max(length - 0.03, 0.06)
        share += length
    return lengths


class _Ascent(NamedTuple):
    """APGD's state, of each image: the point it is at and the one before, the best one, and one that fools the model."""

    point: tf.Tensor
    previous: tf.Tensor
    gradient: tf.Tensor
    loss: tf.Tensor
    best: tf.Tensor
    best_gradient: tf.Tensor
    best_loss: tf.Tensor
    fooling: tf.Tensor
    fooled: tf.Tensor
    step_size: tf.Tensor
    increases: tf.Tensor
    best_loss_before: tf.Tensor
    may_be_stuck: tf.Tensor


def _where(condition: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """tf.where of images, with a condition [batch]."""
    return tf.where(condition[:, None, None, None], first, second)


def _ascend(model, loss, x, start, y, target, epsilon, lengths):
    """APGD (Algorithm 1) from `start`; the point that fools the model if one did, else the one of the largest loss."""
    low, high = tf.maximum(x - epsilon, 0), tf.minimum(x + epsilon, 1)

    def project(points):
        return tf.clip_by_value(points, low, high)

    @for_loops
    def evaluate(points):
        with tf.GradientTape() as tape:
            tape.watch(points)
            logits = discarding_statistics(model, points, training=False)
            losses = LOSSES[loss](logits, y, target)
            total = loss_scale(model) * tf.reduce_sum(losses)
        return (
            losses,
            tape.gradient(total, points, unconnected_gradients=tf.UnconnectedGradients.ZERO),
            tf.not_equal(tf.argmax(logits, 1, tf.int32), y),
        )

    def advance(step, state):
        along = project(state.point + state.step_size[:, None, None, None] * tf.sign(finite(state.gradient)))
        share = tf.where(step > 0, tf.constant(_MOMENTUM, x.dtype), 1)
        point = project(state.point + share * (along - state.point) + (1 - share) * (state.point - state.previous))
        losses, gradient, fools = evaluate(point)
        better = losses > state.best_loss
        state = _Ascent(
            point,
            state.point,
            gradient,
            losses,
            _where(better, point, state.best),
            _where(better, gradient, state.best_gradient),
            tf.maximum(losses, state.best_loss),
            _where(fools & ~state.fooled, point, state.fooling),
            state.fooled | fools,
            state.step_size,
            state.increases + tf.cast(losses > state.loss, x.dtype),
            state.best_loss_before,
            state.may_be_stuck,
        )
        length = tf.cast(lengths[step], x.dtype)
        return step + 1, tf.cond(length > 0, lambda: _checked(state, length), lambda: state)

    losses, gradient, fools = evaluate(start)
    nothing = tf.zeros_like(losses)
    first = _Ascent(
        start, start, gradient, losses, start, gradient, losses, start, fools, nothing + 2 * epsilon, nothing, losses,
        tf.ones_like(fools),
    )  # fmt: skip
    last = tf.while_loop(lambda step, _: step < tf.size(lengths), advance, (0, first), parallel_iterations=1)[1]
    return _where(last.fooled, last.fooling, last.best)


def _checked(state: _Ascent, length: tf.Tensor) -> _Ascent:
    """The state after a checkpoint: where the loss hardly grew the step size is halved, from the best point on."""
    rarely = state.increases < _INCREASING * length
    stuck = state.may_be_stuck & (state.best_loss <= state.best_loss_before)
    halve = rarely | stuck
    return state._replace(
        point=_where(halve, state.best, state.point),
        gradient=_where(halve, state.best_gradient, state.gradient),
        loss=tf.where(halve, state.best_loss, state.loss),
        step_size=tf.where(halve, state.step_size / 2, state.step_size),
        increases=tf.zeros_like(state.increases),
        best_loss_before=state.best_loss,
        may_be_stuck=~halve,
    )


def check_classes(classes: int, *, loss: str, targets: int) -> None:
    """Raises a UsageError where a classifier has fewer classes than the loss, towards so many targets, takes."""
    needed = (4 if targets else 3) if loss == "dlr" else 2
    if classes < needed:
        raise UsageError(
            f"classes: expected at least {needed} for loss {loss}{' with targets' * bool(targets)}, received {classes}"
        )


def apgd(
    model: keras.Model,
    x: Array,
    y: Array,
    epsilon: float,
    *,
    loss: str = "cross_entropy",
    targets: int = 0,
    steps: int = 100,
    restarts: int = 1,
    seed: Seed = 0,
) -> tf.Tensor:
    """Auto-PGD: PGD with momentum and a step size that is halved, from the best point on, where the loss hardly grows.

    Croce and Hein, 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks".

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: true labels.
        epsilon: radius of the L∞ ball.
        loss: cross_entropy or dlr (`difference_of_logits_ratio`).
        targets: 0 to move away from y; else so many runs, each towards one of the likeliest classes that are not y.
        steps: number of gradient steps of a run.
        restarts: number of random starts, uniform in the ball, of each target.
        seed: of the random starts.

    Returns:
        Images within ε of x, in [0,1]: of each the first point that fools the model, or the one of the largest loss of the
        last run.

    Raises:
        UsageError: another loss, or fewer classes than it takes.
        ValueError: a negative ε, fewer than one step or restart.
    """
    _check(epsilon, steps=steps, restarts=restarts)
    if loss not in LOSSES:
        raise UsageError(f"loss: expected one of {', '.join(LOSSES)}, received {loss}")
    x, y, seed = as_images(model, x), as_labels(y), as_seed(seed)
    check_classes(predict(model, x[:1]).shape[1], loss=loss, targets=targets)
    radius, lengths = as_scalar(epsilon, x.dtype), tf.constant(checkpoints(steps))

    def attempt(number: int, target: tf.Tensor | None, rows: np.ndarray, _: np.ndarray) -> tf.Tensor:
        own = tf.gather(x, rows)
        start = _random_start(x, rows, radius, tf.random.experimental.stateless_fold_in(seed, number))
        target = None if target is None else tf.gather(target, rows)
        return run_compiled(_ascend, model, loss, own, start, tf.gather(y, rows), target, radius, lengths)

    runs = [target for target in (_targets(model, x, y, targets) if targets else [None]) for _ in range(restarts)]
    attempts = (functools.partial(attempt, number, target) for number, target in enumerate(runs))
    return _attack_standing(model, x, y, attempts)


# --- FAB -------------------------------------------------------------------------------------------------------------


def towards_hyperplane(x: tf.Tensor, normal: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """The smallest step in L∞ from x to where value + ⟨normal, step⟩ = 0, within [0,1].

    Every pixel moves by the same length, or as far as [0,1] goes. Newton's iteration finds that length from below in finitely
    many steps, as what is reached is concave and piecewise linear in it. Where the plane does not meet the box, every pixel
    goes to its bound.

    Args:
        x: [batch, n], in [0,1].
        normal: [batch, n].
        value: [batch], of the linear function at x.
    """
    direction = -tf.sign(value)[:, None] * tf.sign(normal)
    weights, nothing = tf.abs(normal), tf.zeros_like(x)
    room = tf.where(direction > 0, 1 - x, tf.where(direction < 0, x, nothing))

    def advance(length, _):
        free = room > length[:, None]
        left = tf.abs(value) - tf.reduce_sum(tf.where(free, nothing, weights * room), 1)
        slope = tf.reduce_sum(tf.where(free, weights, nothing), 1)
        longer = tf.where(slope > 0, tf.math.divide_no_nan(left, slope), length)
        # Rounding must not turn the last steps into a cycle.
        return tf.maximum(longer, length), longer > length

    start = tf.zeros_like(value), tf.ones_like(value, tf.bool)
    length = tf.while_loop(lambda _, moved: tf.reduce_any(moved), advance, start, parallel_iterations=1)[0]
    return direction * tf.minimum(length[:, None], room)


def _approach_boundary(model, x, y, target, steps):
    """Targeted FAB (Algorithm 1 with one class) from x: the nearest point found that fools the model, and its distance."""
    pixels = math.prod(x.shape[1:])

    def flat(images):
        return tf.reshape(images, [-1, pixels])

    original = flat(x)

    def fools(points):
        logits = discarding_statistics(model, tf.reshape(points, tf.shape(x)), training=False)
        return tf.not_equal(tf.argmax(logits, 1, tf.int32), y)

    @for_loops
    def linearise(point):
        with tf.GradientTape() as tape:
            tape.watch(point)
            logits = discarding_statistics(model, tf.reshape(point, tf.shape(x)), training=False)
            gap = tf.gather(logits, target, batch_dims=1) - tf.gather(logits, y, batch_dims=1)
            total = loss_scale(model) * tf.reduce_sum(gap)
        normal = tape.gradient(total, point, unconnected_gradients=tf.UnconnectedGradients.ZERO) / loss_scale(model)
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
    """Targeted FAB: steps onto the decision boundary's linearisation, pulled back to the image, for the smallest perturbation.

    Croce and Hein, 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack", in the targeted form
    and with the parameters of AutoAttack: one start, at the image, for each target, and no final search.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: true labels.
        epsilon: the largest perturbation that counts.
        targets: number of classes to try, the likeliest that are not y first.
        steps: for each target.

    Returns:
        Of each image the nearest point that fools the model, of the first target with one within ε; x itself if none is.

    Raises:
        ValueError: a negative ε, fewer than one target or step.
    """
    _check(epsilon, targets=targets, steps=steps)
    x, y = as_images(model, x), as_labels(y)
    radius = as_scalar(epsilon, x.dtype)

    def attempt(target: tf.Tensor, rows: np.ndarray, current: np.ndarray) -> tf.Tensor:
        own, labels, towards = (tf.gather(values, rows) for values in (x, y, target))
        nearest, distance = run_compiled(_approach_boundary, model, own, labels, towards, tf.constant(steps))
        return _where(distance <= radius, nearest, current)

    return _attack_standing(model, x, y, (functools.partial(attempt, target) for target in _targets(model, x, y, targets)))


# --- Square ----------------------------------------------------------------------------------------------------------


def square_sides(queries: int, height: int, width: int) -> np.ndarray:
    """The side of the square that each query but the first one changes, int32 [queries − 1]: √(p·height·width), rounded.

    p is halved at the paper's times, which are for 10,000 queries and shrink with their number.
    """
    times = np.arange(1, queries) * 10_000 // queries
    share = _FIRST_SHARE / 2.0 ** np.searchsorted(_HALVINGS, times)
    return np.clip(np.round(np.sqrt(share * height * width)), 1, max(1, min(height, width) - 1)).astype(np.int32)


def _change_squares(model, x, y, point, rows, epsilon, count, seed, first, sides):
    """Square (Algorithm 1 and 2): a query a side, keeping what lowers the margin of an image that still stands."""
    height, width, channels = x.shape[1:]

    def margins(points):
        return _margins(discarding_statistics(model, points, training=False), y)

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
        found = margins(changed)
        accept = (found < margin) & (margin >= 0)
        return step + 1, _where(accept, changed, point), tf.where(accept, found, margin)

    start = (0, point, margins(point))
    return tf.while_loop(lambda step, *_: step < tf.size(sides), advance, start, parallel_iterations=1)[1]


def _signs(shape: list[int], seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tf.where(tf.random.stateless_uniform(shape, seed) < 0.5, tf.constant(-1, dtype), tf.constant(1, dtype))


def square(model: keras.Model, x: Array, y: Array, epsilon: float, *, queries: int = 5_000, seed: Seed = 0) -> tf.Tensor:
    """Square: random search that reads no gradients, setting the pixels of one square at a time to x ± ε.

    Andriushchenko, Croce, Flammarion and Hein, 2020, "Square attack: a query-efficient black-box adversarial attack via random
    search", with the margin of the logits for its loss, as in AutoAttack.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: true labels.
        epsilon: radius of the L∞ ball.
        queries: how often the model may be asked about an image.
        seed: of the stripes that it starts from, and of the squares.

    Raises:
        ValueError: a negative ε, or no query.
    """
    _check(epsilon, queries=queries)
    x, y, seed = as_images(model, x), as_labels(y), as_seed(seed)
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

    return _attack_standing(model, x, y, attempts())
