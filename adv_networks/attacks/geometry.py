"""Directions, projections and random points in the balls of the norms of `CONVEX_NORMS`.

The paper's norm is linf, that of the largest pixel. In l2 and l1, sums over an image's pixels and channels, sign ∇ becomes
∇ over its own norm, as in Foolbox; in l1 that spreads the step over the pixels, where the steepest ascent would spend it on
one (ART's choice). The nearest point of the ball is meant in the Euclidean sense, in l1 too, where other libraries scale down.
"""

from __future__ import annotations

import math

from adv_networks.lazy import tf


def flat(images: tf.Tensor) -> tf.Tensor:
    """Images as vectors, [batch, pixels and channels]."""
    return tf.reshape(images, [-1, math.prod(images.shape[1:])])


def unit(vectors: tf.Tensor, p: float) -> tf.Tensor:
    """The vectors [count, n] scaled to p-norm 1; zero stays."""
    # By the maximum first, or the squares of a small gradient would vanish.
    vectors = tf.math.divide_no_nan(vectors, tf.reduce_max(tf.abs(vectors), 1, keepdims=True))
    return tf.math.divide_no_nan(vectors, tf.norm(vectors, p, 1, keepdims=True))


def finite(gradient: tf.Tensor) -> tf.Tensor:
    """The gradient, zero where it is not finite: no projection would bring back a pixel that is not a number."""
    return tf.where(tf.math.is_finite(gradient), gradient, 0)


def direction(gradient: tf.Tensor, p: float) -> tf.Tensor:
    """Where a step of length 1 goes: along the sign of the gradient, or along each image's gradient; from zero nowhere."""
    gradient = finite(gradient)
    return tf.sign(gradient) if p == math.inf else tf.reshape(unit(flat(gradient), p), tf.shape(gradient))


def project(x: tf.Tensor, moved: tf.Tensor, epsilon: tf.Tensor, p: float) -> tf.Tensor:
    """The point of the ε-ball around x that is nearest to `moved`, clipped to [0,1], which moves no pixel away from x's."""
    if p == math.inf:
        return tf.clip_by_value(moved, tf.maximum(x - epsilon, 0), tf.minimum(x + epsilon, 1))
    perturbation = flat(moved - x)
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


def uniform_in_ball(shape: list, *, seed: tf.Tensor, p: float, dtype: tf.DType) -> tf.Tensor:
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
    return tf.reshape(unit(draws, p)[:, :pixels], shape)
