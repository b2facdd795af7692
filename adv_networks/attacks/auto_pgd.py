"""Auto-PGD, the first two attacks of AutoAttack, from the algorithm in the paper that defines it."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from adv_networks import networks
from adv_networks.attacks.base import register, setting
from adv_networks.attacks.geometry import finite, where_images
from adv_networks.attacks.gradient import logits_of, predict
from adv_networks.attacks.inputs import as_images, as_labels, classes_of
from adv_networks.attacks.losses import LOSSES
from adv_networks.attacks.quantities import as_scalar, as_seed, check_epsilon
from adv_networks.attacks.standing import StrongAttack, attack_standing, likeliest_targets, random_start
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import for_loops, mean_over_draws, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# APGD's momentum, and the fraction of steps that must increase the loss for the step size not to be halved.
_MOMENTUM, _INCREASING = 0.75, 0.75


@register("apgd_ce", "Auto-PGD on cross-entropy", loss="cross_entropy")
@register("apgd_dlr", "Auto-PGD on the difference of logits ratio", loss="dlr")
@register("apgd_targeted", "Auto-PGD towards each of the nine likeliest other classes", loss="dlr", targets=9)
@dataclasses.dataclass(frozen=True, kw_only=True)
class APGD(StrongAttack):
    """The attack `apgd` as a column of tables, with the numbers of AutoAttack's standard version (Croce and Hein, 2020).

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.APGD(epsilon=0.3, loss="dlr", targets=9).title
        'apgd (linf ≤ 0.3)'
        >>> attacks.named("apgd_targeted", 0.3).targets
        9
    """

    kind: ClassVar[str] = "apgd"

    steps: int = setting(100, "gradient steps per run", least=1)
    loss: str = setting("cross_entropy", "loss to maximise", choices=("cross_entropy", "dlr"), omitted=True)
    targets: int = setting(0, "number of target classes, one run for each; 0: untargeted", least=0, omitted=True)
    restarts: int = setting(1, "random starts per target", least=1)

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """See `Attack.check`; the difference of logits ratio needs three classes, or four with targets."""
        super().check(classes=classes, bn_evaluation=bn_evaluation)
        check_classes(classes, loss=self.loss, targets=self.targets)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        self.check(classes=classes_of(source, x) or math.inf, bn_evaluation="batch" if training else "moving")
        return apgd(
            source,
            x,
            y,
            self.epsilon,
            loss=self.loss,
            targets=self.targets,
            steps=self.steps,
            restarts=self.restarts,
            seed=seed,
        )


def check_classes(classes: int, *, loss: str, targets: int) -> None:
    """Raises a UsageError if a classifier has fewer classes than the loss needs with this number of targets."""
    needed = (4 if targets else 3) if loss == "dlr" else 2
    if classes < needed:
        raise UsageError(
            f"classes: expected at least {needed} for loss {loss}{' with targets' * bool(targets)}, received {classes}"
        )


def checkpoints(steps: int) -> np.ndarray:
    """For each APGD step, the number of steps since the last checkpoint if the step ends at one, else 0; int32 [steps].

    The checkpoints are at fractions of the steps, rounded up. The first fraction is 0.22. The gap between fractions starts at
    0.22 and shrinks by 0.03 each time, but not below 0.06.
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
    """APGD's state for each image: the current and previous point, the best point, and the first that fools the model."""

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


def ascend(model, loss, x, start, y, target, epsilon, lengths):
    """APGD (Algorithm 1) from `start`: returns the first point that fools the model, else the point with the largest loss."""
    low, high = tf.maximum(x - epsilon, 0), tf.minimum(x + epsilon, 1)

    def project(points):
        return tf.clip_by_value(points, low, high)

    def one_draw(points, model):
        with tf.GradientTape() as tape:
            tape.watch(points)
            logits = logits_of(model, points)
            losses = LOSSES[loss](logits, y, target)
            total = networks.loss_scale(model) * tf.reduce_sum(losses)
        return losses, tape.gradient(total, points, unconnected_gradients=tf.UnconnectedGradients.ZERO), logits

    @for_loops
    def evaluate(points):
        losses, gradient, logits = mean_over_draws(model, functools.partial(one_draw, points))
        return losses, gradient, tf.not_equal(tf.argmax(logits, 1, tf.int32), y)

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
            where_images(better, point, state.best),
            where_images(better, gradient, state.best_gradient),
            tf.maximum(losses, state.best_loss),
            where_images(fools & ~state.fooled, point, state.fooling),
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
    return where_images(last.fooled, last.fooling, last.best)


def _checked(state: _Ascent, length: tf.Tensor) -> _Ascent:
    """The state after a checkpoint: if the loss hardly grew, half the step size, and back at the best point."""
    rarely = state.increases < _INCREASING * length
    stuck = state.may_be_stuck & (state.best_loss <= state.best_loss_before)
    halve = rarely | stuck
    return state._replace(
        point=where_images(halve, state.best, state.point),
        gradient=where_images(halve, state.best_gradient, state.gradient),
        loss=tf.where(halve, state.best_loss, state.loss),
        step_size=tf.where(halve, state.step_size / 2, state.step_size),
        increases=tf.zeros_like(state.increases),
        best_loss_before=state.best_loss,
        may_be_stuck=~halve,
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
    """Auto-PGD: PGD with momentum. When the loss hardly grows, it halves the step size and continues from the best point.

    Croce and Hein, 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks".

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: true labels.
        epsilon: radius of the L∞ ball.
        loss: cross_entropy or dlr (`difference_of_logits_ratio`).
        targets: 0 to move away from y; otherwise the number of runs, each towards one of the likeliest classes that are not y.
        steps: number of gradient steps per run.
        restarts: number of random starts per target, uniform in the ball.
        seed: seed of the random starts.

    Returns:
        Images in [0,1], within ε of x: for each image the first point that fools the model, or else the point with the largest
        loss in the last run.

    Raises:
        UsageError: an unknown loss, or fewer classes than it needs.
        UsageError: a negative ε, or fewer than one step or restart.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> adversarial = attacks.apgd(model, x, y, 0.1, loss="dlr", steps=10)
        >>> bool((attacks.distances(x, adversarial, "linf") <= 0.1 + 1e-6).all())
        True
    """
    check_epsilon(epsilon, steps=steps, restarts=restarts)
    if loss not in LOSSES:
        raise UsageError(f"loss: expected one of {', '.join(LOSSES)}, received {loss}")
    x, seed = as_images(model, x), as_seed(seed)
    y = as_labels(y, x, model)
    check_classes(predict(model, x[:1]).shape[1], loss=loss, targets=targets)
    radius, lengths = as_scalar(epsilon, x.dtype), tf.constant(checkpoints(steps))

    def attempt(number: int, target: tf.Tensor | None, rows: np.ndarray, _: np.ndarray) -> tf.Tensor:
        own = tf.gather(x, rows)
        start = random_start(x, rows, radius, tf.random.experimental.stateless_fold_in(seed, number))
        target = None if target is None else tf.gather(target, rows)
        return run_compiled(ascend, model, loss, own, start, tf.gather(y, rows), target, radius, lengths)

    runs = [target for target in (likeliest_targets(model, x, y, targets) if targets else [None]) for _ in range(restarts)]
    attempts = (functools.partial(attempt, number, target) for number, target in enumerate(runs))
    return attack_standing(model, x, y, attempts)
