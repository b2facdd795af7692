"""Attacks in the norms of `NORMS`: FGS (Eq. 6), PGD (Eq. 7), least likely (Eq. 8) and the generator's x + εG(x).

One compiled loop runs all the gradient attacks; they differ in its arguments. Images are in [0,1], of the model's variables'
type (uint8 ones are divided by 255), [batch, height, width, channels]; ε ≥ 0 on the same scale; labels are integers
[batch]. Results lie within ε of x and in [0,1], up to rounding. No call traces again for another batch size, ε, step size,
number of steps or seed.

The paper's norm is linf, that of the largest pixel. In l2 and l1, sums over an image's pixels and channels, sign ∇ becomes
∇ over its own norm, as in Foolbox; in l1 that spreads the step over the pixels, where the steepest ascent would spend it on
one (ART's choice). The nearest point of the ball is meant in the Euclidean sense, in l1 too, where other libraries scale down.
"""

from __future__ import annotations

import functools
import math

import keras
import numpy as np
import tensorflow as tf

from adv_networks import networks, runtime
from adv_networks.errors import UsageError
from adv_networks.experiments import NORMS, choose
from adv_networks.runtime import replicas, run_compiled

Array = np.ndarray | tf.Tensor
Seed = int | tuple[int, int] | tf.Tensor


def as_seed(seed: Seed) -> tf.Tensor:
    """A seed as the int32 [2] that stateless random operations take."""
    return tf.convert_to_tensor((0, seed) if isinstance(seed, (int, np.integer)) else seed, tf.int32)


def _losses(model: keras.Model, x: tf.Tensor, y: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    logits = networks.discarding_statistics(model, x, training=training)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits), logits


def _flat(images: tf.Tensor) -> tf.Tensor:
    return tf.reshape(images, [-1, math.prod(images.shape[1:])])


def _unit(vectors: tf.Tensor, p: float) -> tf.Tensor:
    """The vectors [count, n] scaled to p-norm 1; zero stays."""
    # By the maximum first, or the squares of a small gradient would vanish.
    vectors = tf.math.divide_no_nan(vectors, tf.reduce_max(tf.abs(vectors), 1, keepdims=True))
    return tf.math.divide_no_nan(vectors, tf.norm(vectors, p, 1, keepdims=True))


def finite(gradient: tf.Tensor) -> tf.Tensor:
    """The gradient, zero where it is not finite: no projection would bring back a pixel that is not a number."""
    return tf.where(tf.math.is_finite(gradient), gradient, 0)


def _direction(gradient: tf.Tensor, p: float) -> tf.Tensor:
    """Where a step of length 1 goes: along the sign of the gradient, or along each image's gradient; from zero nowhere."""
    gradient = finite(gradient)
    return tf.sign(gradient) if p == math.inf else tf.reshape(_unit(_flat(gradient), p), tf.shape(gradient))


def _project(x: tf.Tensor, moved: tf.Tensor, epsilon: tf.Tensor, p: float) -> tf.Tensor:
    """The point of the ε-ball around x that is nearest to `moved`, clipped to [0,1], which moves no pixel away from x's."""
    if p == math.inf:
        return tf.clip_by_value(moved, tf.maximum(x - epsilon, 0), tf.minimum(x + epsilon, 1))
    perturbation = _flat(moved - x)
    if p == 2:
        perturbation *= tf.minimum(tf.math.divide_no_nan(epsilon, tf.norm(perturbation, axis=1, keepdims=True)), 1)
    else:
        # All pixels shrink by one amount, the small ones to zero, such that ε is left. Should the k largest stay, the largest
        # keeps the mean of ε and their gaps to it. That falls with k as long as the next gap is below it: the least is right.
        size = tf.abs(perturbation)
        largest = tf.reduce_max(size, 1, keepdims=True)
        gaps = largest - size
        means = (epsilon + tf.cumsum(tf.sort(gaps), 1)) / tf.range(1, size.shape[1] + 1, dtype=size.dtype)
        kept = tf.minimum(tf.reduce_min(means, 1, keepdims=True), largest)
        perturbation = tf.sign(perturbation) * tf.maximum(kept - gaps, 0)
    return tf.clip_by_value(x + tf.reshape(perturbation, tf.shape(x)), 0, 1)


def _uniform_in_ball(shape: list, *, seed: tf.Tensor, p: float, dtype: tf.DType) -> tf.Tensor:
    """Points of `shape`, [batch, height, width, channels], each uniformly from the ball of p-norm 1.

    For l2 and l1 these are the first n coordinates of a uniform point on the sphere of p-norm 1 in n + p dimensions
    (Barthe, Guédon, Mendelson and Naor, 2005, "A probabilistic approach to the geometry of the l_p^n-ball").
    """
    if p == math.inf:
        return tf.random.stateless_uniform(shape, seed, -1, 1, dtype)
    pixels = math.prod(shape[1:])
    points = [shape[0], pixels + p]
    if p == 2:
        draws = tf.random.stateless_normal(points, seed, dtype=dtype)
    else:  # Laplace: the difference of two exponential variables.
        logarithms = tf.math.log1p(-tf.random.stateless_uniform([2, *points], seed, dtype=dtype))
        draws = logarithms[0] - logarithms[1]
    return tf.reshape(_unit(draws, p)[:, :pixels], shape)


def loss_gradient(model, training, x, y):
    """The direction that the attacks follow: the gradient of the summed loss by the images, times `networks.loss_scale`."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = networks.loss_scale(model) * tf.reduce_sum(_losses(model, x, y, training)[0])
    # Through a layer without a gradient, rounding for instance, it is zero: the attack fails, and the checks say why.
    return tape.gradient(loss, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _follow_gradient(model, training, p, x, start, y, epsilon, step_size, steps):
    """`steps` steps of length `step_size` up the loss's gradient, each projected on the ε-ball of p-norm and on [0,1]."""

    def gradient(adversarial):
        return loss_gradient(model, training, adversarial, y)

    def moved(adversarial, along):
        return _project(x, adversarial + step_size * _direction(along, p), epsilon, p)

    if isinstance(steps, int):
        for _ in range(steps):
            start = moved(start, gradient(start))
        return start
    gradient = runtime.for_loops(gradient)

    def advance(step, adversarial):
        return step + 1, moved(adversarial, gradient(adversarial))

    return tf.while_loop(lambda step, _: step < steps, advance, (0, start), parallel_iterations=1)[1]


def _predict(model, training, x):
    return networks.discarding_statistics(model, x, training=training)


def _replace_weaker(model, training, targeted, best, candidate, y):
    """Per example the stronger of two attacks: one that fools the model before one that does not, then the better loss."""

    def strength(x):
        loss, logits = _losses(model, x, y, training)
        hit = tf.equal(tf.argmax(logits, 1, tf.int32), y)
        return hit == targeted, -loss if targeted else loss

    (best_fools, best_loss), (fools, loss) = strength(best), strength(candidate)
    stronger = (fools & ~best_fools) | ((fools == best_fools) & (loss > best_loss))
    return tf.where(stronger[:, None, None, None], candidate, best)


def as_labels(y: Array) -> tf.Tensor:
    """Labels as the int32 that the attacks take."""
    return tf.cast(tf.convert_to_tensor(y), tf.int32)


def as_images(model: keras.Model, x: Array) -> tf.Tensor:
    """Images as the model's floats in [0,1], or a UsageError where they are neither uint8 nor floats."""
    x = tf.convert_to_tensor(x)
    if x.dtype != tf.uint8 and not x.dtype.is_floating:
        raise UsageError(f"images: expected uint8, or floats in [0,1], received {x.dtype.name}")
    return tf.cast(x, model.variable_dtype) / (255 if x.dtype == tf.uint8 else 1)


def as_scalar(value, dtype: tf.DType) -> tf.Tensor:
    """A number as a tensor; tf.cast would take a Python number to double precision by way of single."""
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.constant(value, dtype)


def gradient_attack(model, x, y, epsilon, step_size, steps, norm, *, start=None, training=False) -> tf.Tensor:
    """Steps up the loss of y, of length `step_size`, from `start` (None: x), each projected on the ε-ball and on [0,1]."""
    start, p = x if start is None else start, choose(NORMS, norm, "norm")
    sizes = (as_scalar(size, x.dtype) for size in (epsilon, step_size))
    # Replicas that share BN moments cannot do so inside a loop of the graph.
    steps = steps if training and replicas.count() > 1 else tf.convert_to_tensor(steps, tf.int32)
    return run_compiled(_follow_gradient, model, training, p, x, start, y, *sizes, steps)


def predict(model: keras.Model, x: Array, *, training: bool = False) -> tf.Tensor:
    """Logits [batch, classes]; `training` uses the batch's statistics in BN, leaving the averages alone."""
    return run_compiled(_predict, model, training, as_images(model, x))


def fgs(
    model: keras.Model, x: Array, y: Array | None, epsilon: float, *, norm: str = "linf", training: bool = False
) -> tf.Tensor:
    """Fast gradient sign (Eq. 6): x + ε sign ∇_x ℓ(D(x), y), projected; in l2 and l1 x + ε ∇_x ℓ / ‖∇_x ℓ‖.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: labels to move away from; None for the predicted ones (no label leaking).
        epsilon: size of the perturbation.
        norm: linf, l2 or l1.
        training: BN with the batch's statistics.

    Raises:
        UsageError: another norm, or images that are neither uint8 nor floats; so do the other attacks.
    """
    x = as_images(model, x)
    y = tf.argmax(predict(model, x, training=training), 1, tf.int32) if y is None else as_labels(y)
    return gradient_attack(model, x, y, epsilon, epsilon, 1, norm, training=training)


def least_likely(model: keras.Model, x: Array, epsilon: float, *, norm: str = "linf", training: bool = False) -> tf.Tensor:
    """One step towards the least likely class (Eq. 8): x − ε sign ∇_x ℓ(D(x), argmin D(x)), projected; else as `fgs`."""
    x = as_images(model, x)
    y = tf.argmin(predict(model, x, training=training), 1, tf.int32)
    return gradient_attack(model, x, y, epsilon, -epsilon, 1, norm, training=training)


def pgd(
    model: keras.Model,
    x: Array,
    y: Array,
    epsilon: float,
    *,
    norm: str = "linf",
    step_size: float | None = None,
    steps: int = 10,
    restarts: int = 1,
    seed: Seed = 0,
    random_start: bool = True,
    clip_start: bool = True,
    targeted: bool = False,
    training: bool = False,
) -> tf.Tensor:
    """Projected gradient descent (Eq. 7), projected on the ε-ball and on [0,1] after every step.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: true labels, or with `targeted` the classes to be reached.
        epsilon: radius of the ball.
        norm: of the ball and of the steps: linf, l2 or l1.
        step_size: α; None for ε/4.
        steps: number of gradient steps.
        restarts: number of random starts; per example the strongest result is kept.
        seed: of the random starts; the result is a function of it and the other arguments.
        random_start: start uniformly in the ε-ball of the norm, as Foolbox does, instead of at x.
        clip_start: clip the random start to [0,1] (the released code does not).
        targeted: descend on the loss of y instead of ascending.
        training: BN with the batch's statistics.

    Raises:
        ValueError: fewer than one step or restart.
    """
    if min(steps, restarts) < 1:
        raise ValueError(f"steps and restarts: expected at least 1, received {steps} and {restarts}")
    x, y, seed = as_images(model, x), as_labels(y), as_seed(seed)
    step_size = epsilon / 4 if step_size is None else step_size
    p, best = choose(NORMS, norm, "norm"), None
    for restart in range(restarts):
        start = x
        if random_start:
            restart_seed = seed if restarts == 1 else tf.random.experimental.stateless_fold_in(seed, restart)
            draw = functools.partial(_uniform_in_ball, seed=restart_seed, p=p, dtype=x.dtype)
            start = x + as_scalar(epsilon, x.dtype) * replicas.share_of(draw, [tf.shape(x)[0], *x.shape[1:]])
            start = tf.clip_by_value(start, 0, 1) if clip_start else start
        candidate = gradient_attack(
            model, x, y, epsilon, -step_size if targeted else step_size, steps, norm, start=start, training=training
        )
        best = candidate if best is None else run_compiled(_replace_weaker, model, training, targeted, best, candidate, y)
    return best


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
    """The generator's attack x + εG, projected; y is read by generators of the label only, `seed` by those of noise.

    Of a generator that was built for `norm` only the clipping to [0,1] changes anything; another is held to the ball.
    """
    x, epsilon, p = as_images(g, x), as_scalar(epsilon, g.variable_dtype), choose(NORMS, norm, "norm")
    inputs = networks.generator_input(g, x, None if y is None else as_labels(y), as_seed(seed))
    perturbation = run_compiled(_predict, g, training, inputs)
    return _project(x, x + epsilon * perturbation, epsilon, p)
