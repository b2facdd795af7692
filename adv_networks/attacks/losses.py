"""Losses of logits that attacks maximise: cross-entropy, the margin, and the difference of logits ratio."""

from __future__ import annotations

import math
from collections.abc import Callable

from adv_networks.lazy import tf


def margins(logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """z_y − max_{i≠y} z_i, [batch]; negative for misclassified images."""
    return tf.gather(logits, y, batch_dims=1) - tf.reduce_max(without(logits, y), 1)


def without(logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The logits, with that of y replaced by −∞."""
    return tf.where(tf.one_hot(y, tf.shape(logits)[1], True, False), tf.constant(-math.inf, logits.dtype), logits)


def difference_of_logits_ratio(logits: tf.Tensor, y: tf.Tensor, target: tf.Tensor | None = None) -> tf.Tensor:
    """The DLR loss [batch], invariant to shifts and scales of the logits; zero if its denominator is zero.

    It is −(z_y − max_{i≠y} z_i) / (z_(1) − z_(3)), or −(z_y − z_t) / (z_(1) − (z_(3) + z_(4)) / 2) with targets t, where z_(k)
    is the k-th largest logit (Croce and Hein, 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", Section 4). Logits are [batch, classes] with at least 3 classes, or 4 with targets.

    Examples:
        >>> import tensorflow as tf
        >>> from adv_networks import attacks
        >>> logits = tf.constant([[4.0, 2.0, 0.0], [40.0, 20.0, 0.0]])
        >>> attacks.difference_of_logits_ratio(logits, tf.constant([0, 0])).numpy().tolist()
        [-0.5, -0.5]
    """
    largest = tf.math.top_k(logits, 3 if target is None else 4).values
    if target is None:
        return tf.math.divide_no_nan(-margins(logits, y), largest[:, 0] - largest[:, 2])
    difference = tf.gather(logits, target, batch_dims=1) - tf.gather(logits, y, batch_dims=1)
    return tf.math.divide_no_nan(difference, largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2)


def cross_entropy(logits: tf.Tensor, y: tf.Tensor, target: tf.Tensor | None = None) -> tf.Tensor:
    """Cross-entropy [batch] of the labels; with targets, minus the cross-entropy of the targets."""
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits
    return loss(y, logits) if target is None else -loss(target, logits)


def negative_margin(logits: tf.Tensor, y: tf.Tensor, target: tf.Tensor | None = None) -> tf.Tensor:
    """Minus the margin [batch] of the labels; with targets, the margin of the targets."""
    return -margins(logits, y) if target is None else margins(logits, target)


# Scaling the logits changes the direction of the gradient of cross-entropy only.
LOSSES: dict[str, Callable[..., tf.Tensor]] = {
    "cross_entropy": cross_entropy, "dlr": difference_of_logits_ratio, "margin": negative_margin,
}  # fmt: skip
