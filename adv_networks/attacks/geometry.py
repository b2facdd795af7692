"""Step directions, projections and random points in the balls of the norms of `CONVEX_NORMS`.

The paper's norm is linf, the largest change of any pixel. In l2 and l1, which sum over an image's pixels and channels, ∇
divided by its norm replaces sign ∇, as in Foolbox. In l1 this spreads the step over all pixels; steepest ascent, ART's choice,
would change only one. Projections find the nearest point of the ball in the Euclidean sense, in l1 too, where other libraries
scale the perturbation down.
"""

from __future__ import annotations

import functools
import math

from adv_networks.attacks.quantities import as_scalar
from adv_networks.lazy import tf
from adv_networks.runtime import replicas


def flat(images: tf.Tensor) -> tf.Tensor:
    """Images as vectors, [batch, pixels and channels]."""
    return tf.reshape(images, [-1, math.prod(images.shape[1:])])


def unit(vectors: tf.Tensor, p: float) -> tf.Tensor:
    """The vectors [count, n] scaled to p-norm 1; zero stays zero."""
    # Divide by the maximum first: the squares of a small gradient would underflow.
    vectors = tf.math.divide_no_nan(vectors, tf.reduce_max(tf.abs(vectors), 1, keepdims=True))
    return tf.math.divide_no_nan(vectors, tf.norm(vectors, p, 1, keepdims=True))


def finite(gradient: tf.Tensor) -> tf.Tensor:
    """The gradient, with zeros where it is not finite: a pixel that became NaN would stay NaN."""
    return tf.where(tf.math.is_finite(gradient), gradient, 0)


def direction(gradient: tf.Tensor, p: float) -> tf.Tensor:
    """The direction of a step of length 1: the sign of the gradient in linf, else each image's normalised gradient."""
    gradient = finite(gradient)
    return tf.sign(gradient) if p == math.inf else tf.reshape(unit(flat(gradient), p), tf.shape(gradient))


def project(x: tf.Tensor, moved: tf.Tensor, epsilon: tf.Tensor, p: float) -> tf.Tensor:
    """The point of the ε-ball around x nearest to `moved`, then clipped to [0,1], which moves no pixel away from x."""
    if p == math.inf:
        return tf.clip_by_value(moved, tf.maximum(x - epsilon, 0), tf.minimum(x + epsilon, 1))
    perturbation = flat(moved - x)
    if p == 2:
        perturbation *= tf.minimum(tf.math.divide_no_nan(epsilon, tf.norm(perturbation, axis=1, keepdims=True)), 1)
    else:
        # All magnitudes shrink by the same amount, the small ones to zero, so that their sum is ε. If the k largest remain, the
        # largest shrinks to (ε + the sum of their gaps to it) / k. This falls with k while the next gap is below it, so its
        # minimum over k is the right value.
        size = tf.abs(perturbation)
        largest = tf.reduce_max(size, 1, keepdims=True)
        gaps = largest - size
        means = (epsilon + tf.cumsum(tf.sort(gaps), 1)) / tf.range(1, size.shape[1] + 1, dtype=size.dtype)
        kept = tf.minimum(tf.reduce_min(means, 1, keepdims=True), largest)
        perturbation = tf.sign(perturbation) * tf.maximum(kept - gaps, 0)
    return tf.clip_by_value(x + tf.reshape(perturbation, tf.shape(x)), 0, 1)


def uniform_in_ball(shape: list, *, seed: tf.Tensor, p: float, dtype: tf.DType) -> tf.Tensor:
    """Random points of `shape`, [batch, height, width, channels], each uniform in the unit ball of the p-norm.

    For l2 and l1 these are the first n coordinates of a uniform point on the unit sphere of the p-norm in n + p dimensions
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


def moved_at_random(x: tf.Tensor, radius: float | tf.Tensor, *, seed: tf.Tensor, p: float) -> tf.Tensor:
    """A point drawn uniformly from the ball of this radius around each image, which may leave [0,1].

    Replicas draw their rows of what one device would draw for the whole minibatch.
    """
    draw = functools.partial(uniform_in_ball, seed=seed, p=p, dtype=x.dtype)
    return x + as_scalar(radius, x.dtype) * replicas.share_of(draw, [tf.shape(x)[0], *x.shape[1:]])


def where_images(condition: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """`tf.where` for images [batch, …] and a condition [batch]."""
    return tf.where(per_image(condition, first), first, second)


def per_image(values: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """A value for each image [batch], shaped to be combined with the images [batch, …]."""
    return tf.reshape(values, [-1, *[1] * (images.shape.rank - 1)])
