"""Measures how much gradient a classifier gives to attacks on the cross-entropy."""

from __future__ import annotations

from typing import NamedTuple

from adv_networks.attacks import predict
from adv_networks.attacks.crafting import BATCH_SIZE, batches_of
from adv_networks.attacks.gradient import loss_gradient
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.lazy import keras, np
from adv_networks.runtime import run_compiled


class GradientReport(NamedTuple):
    """A classifier's gradients on some images.

    Attributes:
        zero_percent: percentage of the images whose gradient is exactly zero.
        median_norm: median l2 norm of the gradient.
        median_gap: median difference between the two largest logits.
    """

    zero_percent: float
    median_norm: float
    median_gap: float


def gradient_report(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> GradientReport:
    """Measures the gradient of the cross-entropy with respect to the images, in inference mode.

    Args:
        model: classifier from images in [0,1] to logits [batch, classes].
        images: uint8 or floats in [0,1], [N, H, W, C].
        labels: integers [N].
    """
    norms, gaps = [], []
    for _, x, y in batches_of(images, labels, BATCH_SIZE):
        gradient = run_compiled(loss_gradient, model, False, as_images(model, x), as_labels(y, x, model)).numpy()
        norms.append(np.linalg.norm(gradient.astype(np.float64).reshape(len(y), -1), axis=1))
        two = np.sort(predict(model, x).numpy(), 1)[:, -2:]
        gaps.append(two[:, 1] - two[:, 0])
    norm = np.concatenate(norms)
    return GradientReport(100 * float((norm == 0).mean()), float(np.median(norm)), float(np.median(np.concatenate(gaps))))
