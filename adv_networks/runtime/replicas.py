"""Helpers that make the update rules compute the same on several replicas of a `tf.distribute.Strategy` as on one.

A minibatch is split among the replicas, and each computes means over its part. The parts have the same size, so the mean of
these means over the replicas is the mean over the minibatch. Outside a strategy, every function here changes nothing.
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
    """The mean over the replicas of a tensor, or of each tensor in a list; differentiable to any order."""
    if count() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, values)


def share_of(draw: Callable[[list[Any]], tf.Tensor], shape: list[Any], *, adversaries: int = 1) -> tf.Tensor:
    """This replica's rows of what a single replica would draw for the whole minibatch.

    Args:
        draw: makes a tensor of a given shape.
        shape: shape of this replica's rows.
        adversaries: the number of adversaries that divide the minibatch; each replica has its part of every adversary's share
            (`distribute`).
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
    """Raises a UsageError unless every replica gets the same number of examples of each adversary."""
    count = strategy.num_replicas_in_sync
    if count > 1 and batch_size % (count * adversaries):
        raise UsageError(
            f"batch_size: expected a multiple of {count * adversaries} ({count} replicas, {adversaries} adversaries), "
            f"received {batch_size}"
        )


def distribute(strategy: tf.distribute.Strategy, adversaries: int, x: tf.Tensor, y: tf.Tensor) -> tuple[Any, Any]:
    """A minibatch as one value per replica.

    Each replica gets its part of every adversary's share of the examples (see `steps`), in order. When the replicas divide
    their parts among the adversaries, each example has the same adversary as on a single replica.

    Args:
        strategy: the strategy of the replicas.
        adversaries: the number of adversaries that divide the examples.
        x: images [batch, …], or [2, batch, …] with static examples.
        y: labels [batch].

    Raises:
        UsageError: the batch cannot be divided evenly.
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
