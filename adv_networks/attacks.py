"""Attacks in the L∞ norm: FGS (Eq. 6), PGD (Eq. 7), least likely (Eq. 8) and the generator's x + εG(x).

One compiled loop runs all the gradient attacks; they differ in its arguments. Images are in [0,1], of the model's floating
type (uint8 ones are divided by 255), [batch, height, width, channels]; ε ≥ 0 on the same scale; labels are integers
[batch]. Results lie within ε of x and in [0,1]. No call traces again for another batch size, ε, step size, number of steps
or seed.
"""

from __future__ import annotations

import functools

import keras
import numpy as np
import tensorflow as tf

from adv_networks import networks, replicas

Array = np.ndarray | tf.Tensor
Seed = int | tuple[int, int] | tf.Tensor


def as_seed(seed: Seed) -> tf.Tensor:
    """A seed as the int32 [2] that stateless random operations take."""
    return tf.convert_to_tensor((0, seed) if isinstance(seed, (int, np.integer)) else seed, tf.int32)


def _losses(model: keras.Model, x: tf.Tensor, y: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    logits = networks.discarding_statistics(model, x, training=training)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits), logits


def _follow_gradient(model, training, x, start, y, epsilon, step_size, steps):
    """`steps` steps of size `step_size` along the sign of the loss's gradient, each projected on the ε-ball and on [0,1]."""
    lower, upper = tf.maximum(x - epsilon, 0), tf.minimum(x + epsilon, 1)

    def advance(step, adversarial):
        with tf.GradientTape() as tape:
            tape.watch(adversarial)
            loss = tf.reduce_sum(_losses(model, adversarial, y, training)[0])
        moved = adversarial + step_size * tf.sign(tape.gradient(loss, adversarial))
        return step + 1, tf.clip_by_value(moved, lower, upper)

    if isinstance(steps, int):
        for _ in range(steps):
            start = advance(0, start)[1]
        return start
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


_compiled = {function: tf.function(function, autograph=False) for function in (_follow_gradient, _predict, _replace_weaker)}


def _run(function, *arguments):
    """Runs a function of this module in one graph for all batch sizes; inside another graph it becomes part of that."""
    if not tf.executing_eagerly():
        return function(*arguments)
    tensors = [argument for argument in arguments if isinstance(argument, tf.Tensor)]
    spec = [
        tf.TensorSpec([None, *argument.shape[1:]] if argument.shape.rank else [], argument.dtype)
        if isinstance(argument, tf.Tensor)
        else argument
        for argument in arguments
    ]
    return _compiled[function].get_concrete_function(*spec)(*tensors)


def _labels(y: Array) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(y), tf.int32)


def _images(model: keras.Model, x: Array) -> tf.Tensor:
    x = tf.convert_to_tensor(x)
    return tf.cast(x, model.compute_dtype) / (255 if x.dtype == tf.uint8 else 1)


def _scalar(value, dtype: tf.DType) -> tf.Tensor:
    """A number as a tensor; tf.cast would take a Python number to double precision by way of single."""
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.constant(value, dtype)


def _sign_attack(model, x, y, epsilon, step_size, steps, *, start=None, training=False) -> tf.Tensor:
    start = x if start is None else start
    sizes = (_scalar(size, x.dtype) for size in (epsilon, step_size))
    # Replicas that share BN moments cannot do so inside a loop of the graph.
    steps = steps if training and replicas.count() > 1 else tf.convert_to_tensor(steps, tf.int32)
    return _run(_follow_gradient, model, training, x, start, y, *sizes, steps)


def predict(model: keras.Model, x: Array, *, training: bool = False) -> tf.Tensor:
    """Logits [batch, classes]; `training` uses the batch's statistics in BN, leaving the averages alone."""
    return _run(_predict, model, training, _images(model, x))


def fgs(model: keras.Model, x: Array, y: Array | None, epsilon: float, *, training: bool = False) -> tf.Tensor:
    """Fast gradient sign (Eq. 6): x + ε sign ∇_x ℓ(D(x), y), projected.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: labels to move away from; None for the predicted ones (no label leaking).
        epsilon: size of the perturbation.
        training: BN with the batch's statistics.
    """
    x = _images(model, x)
    y = tf.argmax(predict(model, x, training=training), 1, tf.int32) if y is None else _labels(y)
    return _sign_attack(model, x, y, epsilon, epsilon, 1, training=training)


def least_likely(model: keras.Model, x: Array, epsilon: float, *, training: bool = False) -> tf.Tensor:
    """One step towards the least likely class (Eq. 8): x − ε sign ∇_x ℓ(D(x), argmin D(x)), projected."""
    x = _images(model, x)
    y = tf.argmin(predict(model, x, training=training), 1, tf.int32)
    return _sign_attack(model, x, y, epsilon, -epsilon, 1, training=training)


def pgd(
    model: keras.Model,
    x: Array,
    y: Array,
    epsilon: float,
    *,
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
        step_size: α; None for ε/4.
        steps: number of gradient steps.
        restarts: number of random starts; per example the strongest result is kept.
        seed: of the random starts; the result is a function of it and the other arguments.
        random_start: start uniformly in the ε-ball instead of at x.
        clip_start: clip the random start to [0,1] (the released code does not).
        targeted: descend on the loss of y instead of ascending.
        training: BN with the batch's statistics.

    Raises:
        ValueError: fewer than one step or restart.
    """
    if min(steps, restarts) < 1:
        raise ValueError(f"steps and restarts: expected at least 1, received {steps} and {restarts}")
    x, y, seed = _images(model, x), _labels(y), as_seed(seed)
    step_size = epsilon / 4 if step_size is None else step_size
    best = None
    for restart in range(restarts):
        start = x
        if random_start:
            restart_seed = seed if restarts == 1 else tf.random.experimental.stateless_fold_in(seed, restart)
            draw = functools.partial(tf.random.stateless_uniform, seed=restart_seed, minval=-1, maxval=1, dtype=x.dtype)
            start = x + _scalar(epsilon, x.dtype) * replicas.share_of(draw, tf.unstack(tf.shape(x)))
            start = tf.clip_by_value(start, 0, 1) if clip_start else start
        candidate = _sign_attack(
            model, x, y, epsilon, -step_size if targeted else step_size, steps, start=start, training=training
        )
        best = candidate if best is None else _run(_replace_weaker, model, training, targeted, best, candidate, y)
    return best


def generator(
    g: keras.Model, x: Array, y: Array | None, epsilon: float, *, seed: Seed = 0, training: bool = False
) -> tf.Tensor:
    """The generator's attack x + εG, clipped to [0,1]; y is read by generators of the label only, `seed` by those of noise."""
    x = _images(g, x)
    inputs = networks.generator_input(g, x, None if y is None else _labels(y), as_seed(seed))
    perturbation = _run(_predict, g, training, inputs)
    return tf.clip_by_value(x + _scalar(epsilon, x.dtype) * perturbation, 0, 1)
