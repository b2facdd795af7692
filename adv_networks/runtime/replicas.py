"""What the update rules need to mean the same on several replicas of a `tf.distribute.Strategy` as on one.

A minibatch is split over the replicas, each of which computes means over its part; the mean over replicas of these is the
mean over the minibatch, because the parts are of one size. Outside a strategy every function here leaves things as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adv_networks.errors import UsageError
from adv_networks.lazy import tf


def count() -> int:
    """How many replicas run this code together."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def mean(values: Any) -> Any:
    """The mean over the replicas of a tensor or a list of them; differentiable, to any order."""
    if count() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, values)


def share_of(draw: Callable[[list[Any]], tf.Tensor], shape: list[Any], *, adversaries: int = 1) -> tf.Tensor:
    """This replica's rows of what one replica would draw for the whole minibatch.

    Args:
        draw: makes a tensor of the shape it is given.
        shape: of this replica's rows.
        adversaries: how many share out these rows, each replica having its part of every share (`distribute`).
    """
    if count() == 1:
        return draw(shape)
    rows = shape[0]
    whole = draw([rows * count(), *shape[1:]])
    number = tf.distribute.get_replica_context().replica_id_in_sync_group
    if adversaries == 1:
        return whole[number * rows : (number + 1) * rows]
    order = tf.reshape(tf.range(rows * count()), [adversaries, count(), -1])
    return tf.gather(whole, tf.reshape(order[:, number], [-1]))


def check_split(strategy: tf.distribute.Strategy, adversaries: int, batch_size: int) -> None:
    """Raises a UsageError unless each replica gets as many examples of each adversary as any other, or there is one replica."""
    count = strategy.num_replicas_in_sync
    if count > 1 and batch_size % (count * adversaries):
        raise UsageError(
            f"batch_size: expected a multiple of {count * adversaries} ({count} replicas, {adversaries} adversaries), "
            f"received {batch_size}"
        )


def distribute(strategy: tf.distribute.Strategy, adversaries: int, x: tf.Tensor, y: tf.Tensor) -> tuple[Any, Any]:
    """A minibatch as one value per replica.

    Each replica gets its part of every adversary's share of the examples (see `steps`), in their order, so that dealing out
    its part deals out the minibatch as on one replica.

    Args:
        strategy: the replicas.
        adversaries: how many share out the examples.
        x: images [batch, …], or [2, batch, …] with static examples.
        y: labels [batch].

    Raises:
        UsageError: the batch does not split evenly.
    """
    check_split(strategy, adversaries, y.shape[0])
    order = tf.reshape(tf.range(y.shape[0]), [adversaries, strategy.num_replicas_in_sync, -1])

    def part(context: tf.distribute.distribute_lib.ValueContext) -> tuple[tf.Tensor, tf.Tensor]:
        own = tf.reshape(order[:, context.replica_id_in_sync_group], [-1])
        return tf.gather(x, own, axis=x.shape.rank - 4), tf.gather(y, own)

    parts = {}

    def component(index: int) -> Any:
        def of(context: Any) -> tf.Tensor:
            number = context.replica_id_in_sync_group
            if number not in parts:
                parts[number] = part(context)
            return parts[number][index]

        return strategy.experimental_distribute_values_from_function(of)

    return component(0), component(1)
