"""Random classifiers, whose outputs for an image differ from call to call: how one is recognised, and what its accuracy is.

Such a classifier is asked several times about each image. Its masks, which say whether the answers are right, are booleans
[draws, images]; those of any other are [images].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adv_networks import runtime
from adv_networks.attacks import predict
from adv_networks.lazy import keras

# How often it is asked, and the quantile of Student's t of one degree of freedom fewer that leaves 2.5% above.
DRAWS = 10
_QUANTILE = 2.262
_IMAGES = 32
# Of the largest output, how much rounding may make two calls differ by.
_ROUNDING = 1e-3


def is_random(model: keras.Model, x: np.ndarray, *, training: bool = False) -> bool:
    """Whether the model's outputs for the first of these images differ from draw to draw."""
    if not len(x) or not runtime.may_draw(model):
        return False
    return difference(*(drawn(model, x[:_IMAGES], seed, training=training) for seed in (0, 1)))[1]


def drawn(model: keras.Model, x: np.ndarray, *seed: int, training: bool = False) -> np.ndarray:
    """The outputs of a random model, as a function of the seed."""
    with runtime.drawing(*seed):
        return predict(model, x, training=training).numpy()


def difference(first: np.ndarray, second: np.ndarray) -> tuple[float, bool]:
    """By how much outputs differ at most, and whether that is more than rounding makes of equal ones."""
    largest = float(np.abs(first - second).max())
    return largest, largest > _ROUNDING * max(1.0, float(np.abs(first).max()))


def worst_case(masks: Sequence[np.ndarray]) -> np.ndarray:
    """The mask of the worst of several attacks, image by image: that of the attack under which it is right least often."""
    if masks[0].ndim == 1:
        return np.logical_and.reduce(masks)
    stacked = np.stack(masks)  # [attacks, draws, images]
    worst = stacked.mean(1).argmin(0)
    return stacked[worst, :, np.arange(stacked.shape[2])].T


class Interval(NamedTuple):
    """A mean and the ends of its interval."""

    mean: float
    low: float
    high: float


def interval_over_draws(mask: np.ndarray) -> Interval:
    """A random classifier's accuracy on its images, and where with 95% confidence it is over all draws, in percent.

    Args:
        mask: booleans [draws, images].
    """
    each = 100 * mask.mean(1)
    half = _QUANTILE * each.std(ddof=1) / np.sqrt(len(each))
    return Interval(*(float(value) for value in (each.mean(), each.mean() - half, each.mean() + half)))
