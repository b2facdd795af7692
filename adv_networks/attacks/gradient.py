"""The compiled loop behind FGS, PGD and the other attacks that follow the gradient of a loss.

They differ in its arguments. Images are in [0,1], of the type of the model's variables; ε ≥ 0 on the same scale. No call traces
again for another batch size, ε, step size, number of steps or seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adv_networks import networks
from adv_networks.attacks.geometry import direction, project
from adv_networks.attacks.inputs import as_images, as_scalar
from adv_networks.attacks.losses import LOSSES
from adv_networks.experiments import CONVEX_NORMS, choose
from adv_networks.lazy import keras, tf
from adv_networks.runtime import for_loops, mean_over_draws, raw_outputs, replicas, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array


def logits_of(model: keras.Model, x: tf.Tensor, *, training: bool = False) -> tf.Tensor:
    """Logits [batch, classes] of images, BN averages left as they are, in the type of the images.

    That a classifier ends in may be another one, of half the precision or of twice as much.
    """
    return tf.cast(networks.discarding_statistics(model, x, training=training), x.dtype)


def losses_and_logits(model: keras.Model, x: tf.Tensor, y: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Cross-entropy [batch] and logits [batch, classes] of images, BN averages left as they are."""
    logits = logits_of(model, x, training=training)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits), logits


def loss_gradient(model, training, x, y, loss="cross_entropy", temperature=1.0):
    """The gradient that attacks follow: of the summed loss with respect to the images, times `networks.loss_scale`.

    The loss is one of `losses.LOSSES`, of the logits over the temperature.
    For a random model it is the mean over draws, which is the gradient of the expected loss.
    """

    def gradient(model):
        with tf.GradientTape() as tape:
            tape.watch(x)
            losses = LOSSES[loss](logits_of(model, x, training=training) / temperature, y)
            total = networks.loss_scale(model) * tf.reduce_sum(losses)
        # Through a layer without a gradient, rounding for instance, it is zero: the attack fails, and the checks say why.
        return tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return mean_over_draws(model, gradient)


def _follow_gradient(model, training, p, loss, temperature, x, start, y, epsilon, step_size, steps):
    """`steps` steps of length `step_size` up the loss's gradient, each projected on the ε-ball of p-norm and on [0,1]."""

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
    """The same; of a random model the mean over draws."""
    return mean_over_draws(model, lambda one: raw_outputs(one, training, x))


def gradient_attack(
    model, x, y, epsilon, step_size, steps, norm, *, start=None, training=False, loss="cross_entropy", temperature=1.0
) -> tf.Tensor:
    """Steps up the loss of y, of length `step_size`, from `start` (None: x), each projected on the ε-ball and on [0,1]."""
    start, p = x if start is None else start, choose(CONVEX_NORMS, norm, "norm")
    sizes = (as_scalar(size, x.dtype) for size in (epsilon, step_size))
    # Replicas that share BN moments cannot do so inside a loop of the graph.
    steps = steps if training and replicas.count() > 1 else tf.convert_to_tensor(steps, tf.int32)
    return run_compiled(_follow_gradient, model, training, p, loss, temperature, x, start, y, *sizes, steps)


def predict(model: keras.Model, x: Array, *, training: bool = False) -> tf.Tensor:
    """Logits [batch, classes] of images in [0,1] or uint8.

    Args:
        model: classifier that returns logits.
        x: images.
        training: BN with the batch's statistics, its averages left as they are.

    Raises:
        UsageError: images of another type or range.
    """
    return run_compiled(raw_outputs, model, training, as_images(model, x))
