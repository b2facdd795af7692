"""The common part of the update rules: compilation, replicas, gradients, losses and the optimiser's step.

Every rule has the arguments (players, x, y, spec, seed): a `TrainingState`, usually `Players`; images x in [0,1] [batch,
height, width, channels]; labels y int32 [batch], or whatever else the defence's batches have; the experiment; and seed = (run
seed, step). A step is therefore a pure function of its arguments and the players' state. It returns a dict of scalars to log.
BN averages are updated only in the passes that update their own network. D sees clean and adversarial images as separate BN
batches. All passes of a step, including those of its attacks, drop the same units, which the seed determines.

With several replicas, the rules take the whole minibatch and give the same result as a single replica (`replicas`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from adv_networks import networks, runtime
from adv_networks.attacks.quantities import as_seed
from adv_networks.defences.players import Players, TrainingState, trainable
from adv_networks.experiments import Experiment
from adv_networks.lazy import keras, tf
from adv_networks.runtime import replicas

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

Scalars = dict[str, Any]


def compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a rule as one graph per experiment, which the players keep; the seed is a tensor, so that no step is retraced.

    If another rule calls it, it becomes part of that rule's graph. x and y are the minibatch, or the result of `distributed`.
    """

    @functools.wraps(step)
    def run(players: TrainingState, x: Array, y: Array, spec: Experiment, seed: Seed) -> Any:
        if not tf.executing_eagerly():
            return step(players, x, y, spec, seed)
        # The experiment is bound: TensorFlow would compare experiments by identity, and retrace for equal ones.
        graph = players.graphs.get((step, spec))
        if graph is None:
            on_replicas = functools.partial(_on_replicas, step, players, spec)
            graph = players.graphs[step, spec] = tf.function(on_replicas, autograph=False, jit_compile=spec.xla or None)
        return graph(*distributed(players, x, y), as_seed(seed))

    return run


def _on_replicas(step: Callable[..., Any], players: TrainingState, spec: Experiment, x, y, seed: tf.Tensor) -> Any:
    """Runs a rule on every replica, and returns the mean of the results."""
    strategy = players.strategy

    def on_replica(x: tf.Tensor, y: tf.Tensor) -> Any:
        with runtime.dropping(seed, share=y.shape[0] // players.shares(x)):
            return step(players, x, y, spec, seed)

    if strategy.num_replicas_in_sync == 1:
        return on_replica(x, y)
    scalars = strategy.run(on_replica, (x, y))
    return tf.nest.map_structure(lambda value: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None), scalars)


def distributed(players: TrainingState, x: Any, y: Any) -> tuple[Any, Any]:
    """A minibatch in the form that compiled rules take: tensors, with integer labels as int32; one pair for each replica.

    A minibatch that already has this form is returned unchanged.
    """
    if isinstance(x, tf.distribute.DistributedValues):
        return x, y
    x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    y = tf.cast(y, tf.int32) if y.dtype.is_integer else y
    if players.strategy.num_replicas_in_sync == 1:
        return x, y
    return replicas.distribute(players.strategy, players.shares(x), x, y)


def apply_gradient(
    optimizer: keras.optimizers.Optimizer, gradient: Sequence[tf.Tensor], variables: Sequence[keras.Variable]
) -> None:
    """One step of the optimiser. It sums gradients over replicas; ours is equal on all, so it is divided by their number."""
    optimizer.apply([part / replicas.count() for part in gradient], variables)


def gradient_of(tape: tf.GradientTape, loss: tf.Tensor, sources: Sequence[tf.Tensor], *models: keras.Model) -> list[tf.Tensor]:
    """The gradient of a loss of models, averaged over replicas; in float16 the loss is scaled, and the gradient scaled back.

    It is 0 for sources that the loss does not depend on, such as additional heads of your own classifier.
    """
    scale, unconnected = max(map(networks.loss_scale, models)), tf.UnconnectedGradients.ZERO
    if scale == 1:
        return replicas.mean(tape.gradient(loss, sources, unconnected_gradients=unconnected))
    scaled = tape.gradient(loss, sources, tf.constant(scale, loss.dtype), unconnected_gradients=unconnected)
    return [part / scale for part in replicas.mean(scaled)]


def cross_entropy(y: tf.Tensor, logits: tf.Tensor, class_weights: Sequence[float] | None = None) -> tf.Tensor:
    """The mean cross-entropy of labels int32 [batch] and logits [batch, classes], each multiplied by its class weight."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    if class_weights is not None:
        losses *= tf.gather(tf.constant(class_weights, losses.dtype), y)
    return tf.reduce_mean(losses)


def weight_decay(parameters: Sequence[tf.Tensor], amount: float) -> tf.Tensor:
    """wd/2 Σ w² over kernels, which are the tensors of more than one dimension; biases and BN's parameters have one."""
    return amount * half_squared_norm([parameter for parameter in parameters if len(parameter.shape) > 1])


def penalty(parameters: Sequence[tf.Tensor], spec: Experiment) -> tf.Tensor:
    """The penalty on the kernels of D: wd/2 Σ w² + λ Σ |w|."""
    total = weight_decay(parameters, spec.weight_decay)
    if not spec.weight_l1:
        return total
    sums = [tf.reduce_sum(tf.abs(parameter)) for parameter in parameters if len(parameter.shape) > 1]
    return total + spec.weight_l1 * tf.reduce_sum(sums)


def half_squared_norm(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    """½‖·‖² of tensors, taken as one vector."""
    # add_n would not fix the order of its terms (determinism.py).
    return tf.reduce_sum([tf.nn.l2_loss(part) for part in parts])


def values(*models: keras.Model) -> list[tf.Tensor]:
    """The values of the trainable variables of models, with respect to which gradients are taken."""
    return [variable.value for variable in trainable(models)]


def mean_of(scalars: Sequence[tf.Tensor]) -> tf.Tensor:
    """The mean of one or more scalars."""
    return scalars[0] if len(scalars) == 1 else tf.reduce_mean(tf.stack(scalars))


def accuracy(y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The fraction of a batch whose logits [batch, classes] predict the labels y int32 [batch]."""
    return tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1, tf.int32), y), tf.float32))


def descend(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment) -> Scalars:
    """One step of D's optimiser on the cross-entropy of the images x, which may be adversarial, and D's weight decay."""

    def losses() -> tuple[tf.Tensor, Scalars]:
        logits = players.d(x, training=True)
        loss = cross_entropy(y, logits, players.class_weights)
        return loss, {"d_loss": loss, "d_accuracy": accuracy(y, logits)}

    return descend_on(players, spec, losses)


def descend_on(players: Players, spec: Experiment, losses: Callable[[], tuple[tf.Tensor, Scalars]]) -> Scalars:
    """One step of D's optimiser on a loss and D's weight decay.

    Args:
        players: D and its optimiser.
        spec: the experiment.
        losses: returns the loss to minimise, and what to log with it.
    """
    d = players.d
    with tf.GradientTape() as tape:
        loss, scalars = losses()
        decay = penalty(values(d), spec)
        objective = loss + decay
    gradient = gradient_of(tape, objective, values(d), d)
    apply_gradient(players.d_optimizer, gradient, d.trainable_variables)
    return scalars | {"d_weight_decay": decay, "d_gradient_norm": tf.linalg.global_norm(gradient)}
