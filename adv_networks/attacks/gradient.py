"""The compiled loop behind FGS, PGD and the other attacks that follow the gradient of a loss.

These attacks differ only in their arguments to it. Images are in [0,1], with the dtype of the model's variables; ε ≥ 0 is on
the same scale. A new batch size, ε, step size, number of steps or seed causes no retracing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adv_networks import networks
from adv_networks.attacks.geometry import direction, project
from adv_networks.attacks.inputs import as_images
from adv_networks.attacks.losses import LOSSES
from adv_networks.attacks.quantities import as_scalar
from adv_networks.experiments import CONVEX_NORMS, choose
from adv_networks.lazy import keras, tf
from adv_networks.runtime import for_loops, mean_over_draws, raw_outputs, replicas, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array


def logits_of(model: keras.Model, x: tf.Tensor, *, training: bool = False) -> tf.Tensor:
    """Logits [batch, classes] of images, in the dtype of the images; BN averages are not updated.

    The classifier's own output may have another dtype: half precision or double.
    """
    return tf.cast(networks.discarding_statistics(model, x, training=training), x.dtype)


def losses_and_logits(model: keras.Model, x: tf.Tensor, y: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Cross-entropy [batch] and logits [batch, classes] of images; BN averages are not updated."""
    logits = logits_of(model, x, training=training)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits), logits


def loss_gradient(model, training, x, y, loss="cross_entropy", temperature=1.0):
    """The gradient that the attacks follow: that of the summed loss with respect to the images, times `networks.loss_scale`.

    The loss is one of `losses.LOSSES`, applied to the logits divided by the temperature. For a random model, the gradient is
    the mean over draws, which estimates the gradient of the expected loss.
    """

    def gradient(model):
        with tf.GradientTape() as tape:
            tape.watch(x)
            losses = LOSSES[loss](logits_of(model, x, training=training) / temperature, y)
            total = networks.loss_scale(model) * tf.reduce_sum(losses)
        # A layer without a gradient, such as rounding, gives zero: the attack fails, and the checks say why.
        return tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return mean_over_draws(model, gradient)


def _follow_gradient(model, training, p, loss, temperature, x, start, y, epsilon, step_size, steps):
    """`steps` steps of length `step_size` up the loss, each projected onto the ε-ball of the p-norm and onto [0,1]."""

    def gradient(adversarial):
        return loss_gradient(model, training, adversarial, y, loss, temperature)

    def moved(adversarial, along):
        return project(x, adversarial + step_size * direction(along, p), epsilon, p)

    if isinstance(steps, int):
        for _ in range(steps):
            start = moved(start, gradient(start))
        return start
    gradient = for_loops(gradient)

    def advance(step, adversarial):
        return step + 1, moved(adversarial, gradient(adversarial))

    return tf.while_loop(lambda step, _: step < steps, advance, (0, start), parallel_iterations=1)[1]


def expected_outputs(model, training, x):
    """The model's outputs; for a random model, their mean over draws."""
    return mean_over_draws(model, lambda one: raw_outputs(one, training, x))


def gradient_attack(
    model, x, y, epsilon, step_size, steps, norm, *, start=None, training=False, loss="cross_entropy", temperature=1.0
) -> tf.Tensor:
    """Steps of length `step_size` up the loss of y from `start` (None: x), each projected onto the ε-ball and onto [0,1]."""
    start, p = x if start is None else start, choose(CONVEX_NORMS, norm, "norm")
    sizes = (as_scalar(size, x.dtype) for size in (epsilon, step_size))
    # Replicas cannot share BN moments inside a graph loop, so with several the loop is unrolled.
    steps = steps if training and replicas.count() > 1 else tf.convert_to_tensor(steps, tf.int32)
    return run_compiled(_follow_gradient, model, training, p, loss, temperature, x, start, y, *sizes, steps)


def predict(model: keras.Model, x: Array, *, training: bool = False) -> tf.Tensor:
    """Logits [batch, classes] of images in [0,1] or uint8.

    Args:
        model: classifier that returns logits.
        x: images.
        training: whether BN uses the batch's statistics; its averages are not updated.

    Raises:
        UsageError: images of the wrong type or range.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> attacks.predict(model, np.zeros((2, 8, 8, 1), np.uint8)).shape
        TensorShape([2, 3])
    """
    return run_compiled(raw_outputs, model, training, as_images(model, x))
