"""Losses of logits that attacks ascend, beside cross-entropy: the margin and the difference of logits ratio."""

from __future__ import annotations

import math
from collections.abc import Callable

from adv_networks.lazy import tf


def margins(logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """z_y − max_{i≠y} z_i, negative where the image is misclassified."""
    return tf.gather(logits, y, batch_dims=1) - tf.reduce_max(without(logits, y), 1)


def without(logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The logits, that of y being −∞."""
    return tf.where(tf.one_hot(y, tf.shape(logits)[1], True, False), tf.constant(-math.inf, logits.dtype), logits)


def difference_of_logits_ratio(logits: tf.Tensor, y: tf.Tensor, target: tf.Tensor | None = None) -> tf.Tensor:
    """The DLR loss [batch], invariant to the logits' shift and scale; zero where its denominator is.

    −(z_y − max_{i≠y} z_i) / (z_(1) − z_(3)), or with targets −(z_y − z_t) / (z_(1) − (z_(3) + z_(4)) / 2), z_(k) being the
    k-th largest (Croce and Hein, 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", Section 4). Logits are [batch, classes] of at least 3 classes, or 4 with targets.
    """
    largest = tf.math.top_k(logits, 3 if target is None else 4).values
    if target is None:
        return tf.math.divide_no_nan(-margins(logits, y), largest[:, 0] - largest[:, 2])
    difference = tf.gather(logits, target, batch_dims=1) - tf.gather(logits, y, batch_dims=1)
    return tf.math.divide_no_nan(difference, largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2)


def cross_entropy(logits: tf.Tensor, y: tf.Tensor, target: tf.Tensor | None = None) -> tf.Tensor:
    """Cross-entropy [batch] of the labels, or minus that of the targets."""
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits
    return loss(y, logits) if target is None else -loss(target, logits)


def negative_margin(logits: tf.Tensor, y: tf.Tensor, target: tf.Tensor | None = None) -> tf.Tensor:
    """Minus the margin [batch] of the labels; with targets how far their logits are above all others."""
    return -margins(logits, y) if target is None else margins(logits, target)


# Of these only cross-entropy depends on the logits' scale, up to a factor.
LOSSES: dict[str, Callable[..., tf.Tensor]] = {
    "cross_entropy": cross_entropy, "dlr": difference_of_logits_ratio, "margin": negative_margin,
}  # fmt: skip
