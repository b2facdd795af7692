"""DeepFool: steps onto the nearest of the classes' linearised boundaries (Moosavi-Dezfooli et al., 2016)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from adv_networks import networks
from adv_networks.attacks.base import register, setting
from adv_networks.attacks.geometry import finite, flat
from adv_networks.attacks.gradient import expected_outputs, logits_of, predict
from adv_networks.attacks.inputs import as_images, as_labels, as_scalar, check_counts
from adv_networks.attacks.minimum_norm import Found, MinimumNormAttack
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, tf
from adv_networks.runtime import mean_over_draws, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# Of the gap between two logits, by how much a step goes beyond it, as the authors' code has it.
_BEYOND = 1e-4
# By how much of its largest logit a point must be beyond a boundary: in a batch of another size the logits round otherwise.
_CERTAINLY = 1e-5


@register("deepfool", "DeepFool: steps onto the nearest linearised boundary, in l2 or linf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepFool(MinimumNormAttack):
    """The attack `deepfool` as a column of tables."""

    kind: ClassVar[str] = "deepfool"
    norms: ClassVar[tuple[str, ...]] = ("l2", "linf")

    steps: int = setting(50, "most steps", least=1)
    overshoot: float = setting(0.02, "share of the perturbation that is added to it", least=0)
    candidates: int = setting(10, "classes whose boundaries are looked at, the likeliest at first", least=2)

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
    """DeepFool: of each image the adversarial one that it finds, or the image itself where it finds none.

    Moosavi-Dezfooli, Fawzi and Frossard, 2016, "DeepFool: a simple and accurate method to fool deep neural networks". The
    perturbation r grows by the step onto the nearest boundary, linearised at clip(x + (1 + overshoot) r), until that point is
    labelled otherwise. Clipping at that point, and not only at the end, keeps the result adversarial.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: labels to move away from; an image that has another label from the start is unchanged.
        norm: l2 or linf, in which the nearest boundary is sought.
        steps: maximum number of steps.
        overshoot: share of the perturbation that is added to it.
        candidates: how many classes are considered, the likeliest ones at x.

    Raises:
        UsageError: another norm, or invalid images or labels.
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
    """DeepFool on images and labels that were checked before; an image leaves the batch once it has another label."""
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
    """By how much other classes' logits exceed that of y, [batch, others], and the gradients of that, [batch, others, n]."""
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
    """The perturbation after a step, the point that it leads to, and the label of that."""
    gaps, normals = mean_over_draws(model, lambda one: _gaps(one, tf.clip_by_value(x + factor * total, 0, 1), y, others))
    # In linf the steepest direction is the sign, and a normal is as long as its dual norm.
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
