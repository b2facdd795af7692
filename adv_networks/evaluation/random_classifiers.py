"""Random classifiers, whose outputs for an image differ from call to call: how to recognise them, and their accuracy.

A random classifier labels each image several times. Its masks, which say whether the answers are right, are booleans
[draws, images]; those of other classifiers are [images].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from adv_networks import runtime
from adv_networks.attacks import predict
from adv_networks.lazy import keras, np

# The number of draws, and the 97.5% quantile of Student's t with one degree of freedom fewer.
DRAWS = 10
_QUANTILE = 2.262
_IMAGES = 32
# The difference that rounding may cause between two calls, as a fraction of the largest output.
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
    """The largest difference of two outputs, and whether it is larger than rounding explains; infinite if only one is NaN."""
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    with np.errstate(invalid="ignore"):
        differences = np.where(same, 0, np.abs(first - second))
    largest = float(np.where(np.isnan(differences), np.inf, differences).max())
    return largest, largest > _ROUNDING * max(1.0, float(np.abs(first[np.isfinite(first)]).max(initial=0)))


def worst_case(masks: Sequence[np.ndarray]) -> np.ndarray:
    """The mask of the worst case: for each image, the mask of the attack under which the image is right least often."""
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
    """A random classifier's mean accuracy and the 95% confidence interval of the mean over all draws, in percent.

    Args:
        mask: booleans [draws, images].
    """
    each = 100 * mask.mean(1)
    half = _QUANTILE * each.std(ddof=1) / np.sqrt(len(each))
    return Interval(*(float(value) for value in (each.mean(), each.mean() - half, each.mean() + half)))
