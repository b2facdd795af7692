"""The classes that targeted attacks move towards, never the true ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adv_networks.attacks.gradient import predict
from adv_networks.attacks.losses import without
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array

TARGETS = ("runner_up", "least_likely", "next")


def targets_of(model: keras.Model, x: Array, y: tf.Tensor, which: str, *, training: bool = False) -> tf.Tensor:
    """A target for each image, int32 [batch].

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: true labels, int32 [batch].
        which: runner_up, the likeliest class that is not y; least_likely, the least likely class that is not y; next, y + 1, or
            0 after the last class.
        training: whether BN uses the batch's statistics.

    Raises:
        UsageError: `which` is none of these.
    """
    if which not in TARGETS:
        raise UsageError(f"target: expected one of {', '.join(TARGETS)}, received {which}")
    logits = predict(model, x, training=training)
    if which == "next":
        return (y + 1) % logits.shape[1]
    others = without(logits, y) if which == "runner_up" else without(-logits, y)
    return tf.argmax(others, 1, tf.int32)
