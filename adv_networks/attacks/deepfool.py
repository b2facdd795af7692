"""DeepFool: steps onto the nearest linearised decision boundary (Moosavi-Dezfooli et al., 2016)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from adv_networks import networks
from adv_networks.attacks.base import register, setting
from adv_networks.attacks.geometry import finite, flat
from adv_networks.attacks.gradient import expected_outputs, logits_of, predict
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.minimum_norm import Found, MinimumNormAttack
from adv_networks.attacks.quantities import as_scalar, check_counts
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import mean_over_draws, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# How far a step goes beyond the gap between two logits, as in the authors' code.
_BEYOND = 1e-4
# How far beyond a boundary a point must be, as a fraction of its largest logit: in a batch of another size the logits round
# differently.
_CERTAINLY = 1e-5


@register("deepfool", "DeepFool: steps onto the nearest linearised boundary, in l2 or linf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepFool(MinimumNormAttack):
    """The attack `deepfool` as a column of tables.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.DeepFool(norm="linf", epsilon=0.1, steps=20).title
        'deepfool (linf ≤ 0.1)'
    """

    kind: ClassVar[str] = "deepfool"
    norms: ClassVar[tuple[str, ...]] = ("l2", "linf")

    steps: int = setting(50, "maximum number of steps", least=1)
    overshoot: float = setting(0.02, "fraction by which the perturbation is extended", least=0)
    candidates: int = setting(10, "number of classes considered, the likeliest for the original image", least=2)

    def search(self, source: keras.Model, x: tf.Tensor, y: tf.Tensor, *, seed: Seed = 0) -> Found:
        """See `MinimumNormAttack.search`."""
        how = dict(norm=self.norm, steps=self.steps, overshoot=self.overshoot, candidates=self.candidates)
        return search(source, x, y, **how)


def deepfool(
    model: keras.Model,
    x: Array,
    y: Array,
    *,
    norm: str = "l2",
    steps: int = 50,
    overshoot: float = 0.02,
    candidates: int = 10,
) -> tf.Tensor:
    """DeepFool: the adversarial image that it finds for each image, or the image itself if it finds none.

    Moosavi-Dezfooli, Fawzi and Frossard, 2016, "DeepFool: a simple and accurate method to fool deep neural networks". Each step
    adds to the perturbation r the shortest way onto the nearest boundary, linearised at clip(x + (1 + overshoot) r), until this
    point has another label. It is clipped in every step, not only at the end, so the result stays adversarial.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: labels to move away from; an image that is misclassified from the start is returned unchanged.
        norm: l2 or linf, in which distances to boundaries are measured.
        steps: maximum number of steps.
        overshoot: fraction by which the perturbation is extended.
        candidates: number of classes considered, the likeliest at x.

    Raises:
        UsageError: an unknown norm, or invalid images or labels.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> y = np.argmax(model(x), 1)
        >>> adversarial = attacks.deepfool(model, x, y, steps=10)
        >>> np.argmax(model(adversarial), 1) != y
        array([ True,  True])
    """
    check_counts(steps=steps, candidates=candidates)
    x = as_images(model, x)
    y = as_labels(y, x, model)
    if norm not in DeepFool.norms:
        raise UsageError(f"norm: expected {' or '.join(DeepFool.norms)} for attack deepfool, received {norm}")
    return tf.constant(search(model, x, y, norm=norm, steps=steps, overshoot=overshoot, candidates=candidates).images)


def search(
    model: keras.Model, x: tf.Tensor, y: tf.Tensor, *, norm: str, steps: int, overshoot: float, candidates: int
) -> Found:
    """DeepFool on valid images and labels; an image leaves the batch once its label has changed."""
    logits = predict(model, x).numpy()
    labels, images = y.numpy(), x.numpy().copy()
    others = np.where(np.eye(logits.shape[1], dtype=bool)[labels], -np.inf, logits)
    order = np.argsort(-others, 1, kind="stable")[:, : min(candidates, logits.shape[1]) - 1].astype(np.int32)
    originals, total = x.numpy(), np.zeros_like(images)
    queries, factor = np.ones(len(images), np.int64), as_scalar(1 + overshoot, x.dtype)
    rows = np.flatnonzero(logits.argmax(1) == labels)
    for _ in range(steps):
        if not len(rows):
            break
        parts = (tf.constant(part[rows]) for part in (originals, total, labels, order))
        longer, points, found = run_compiled(_step, model, *parts, factor, norm)
        total[rows], images[rows] = longer, points
        queries[rows] += order.shape[1] + 1
        rows = rows[found.numpy() == labels[rows]]
    images[rows] = originals[rows]
    return Found(images, queries)


def _gaps(model, point, y, others):
    """The logits of other classes minus that of y, [batch, others], and their gradients, [batch, others, n]."""
    scale = networks.loss_scale(model)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(point)
        logits = logits_of(model, point)
        gaps = tf.gather(logits, others, batch_dims=1) - tf.gather(logits, y, batch_dims=1)[:, None]
        sums = [scale * tf.reduce_sum(gaps[:, number]) for number in range(others.shape[1])]
    zero = tf.UnconnectedGradients.ZERO
    gradients = [flat(finite(tape.gradient(one, point, unconnected_gradients=zero))) / scale for one in sums]
    return gaps, tf.stack(gradients, 1)


def _step(model, x, total, y, others, factor, norm):
    """The perturbation after a step, the resulting point, and the label of this point."""
    gaps, normals = mean_over_draws(model, lambda one: _gaps(one, tf.clip_by_value(x + factor * total, 0, 1), y, others))
    # In linf the steepest direction is the sign, and a normal's length is its dual norm.
    lengths = tf.norm(normals, 2 if norm == "l2" else 1, 2)
    away = tf.where(lengths > 0, tf.math.divide_no_nan(tf.abs(gaps), lengths), tf.constant(float("inf"), x.dtype))
    nearest = tf.argmin(away, 1, tf.int32)
    gap, normal, length = (tf.gather(values, nearest, batch_dims=1) for values in (gaps, normals, lengths))
    direction = tf.math.divide_no_nan(normal, length[:, None]) if norm == "l2" else tf.sign(normal)
    size = tf.math.divide_no_nan(tf.abs(gap) + _BEYOND, length)
    total += tf.reshape(size[:, None] * direction, tf.shape(x))
    moved = tf.clip_by_value(x + factor * total, 0, 1)
    logits = expected_outputs(model, False, moved)
    margin = _CERTAINLY * tf.reduce_max(tf.abs(logits), 1, keepdims=True)
    return total, moved, tf.argmax(logits + margin * tf.one_hot(y, tf.shape(logits)[1], dtype=logits.dtype), 1, tf.int32)
