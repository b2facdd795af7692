"""Distances between images in each norm of `NORMS`, and which images lie within a ball."""

from __future__ import annotations

import math

from adv_networks.attacks.inputs import ROUNDING
from adv_networks.experiments import NORMS, choose
from adv_networks.lazy import np

# A pixel counts in l0 if any channel changed by more than this; smaller changes are rounding of an unchanged pixel.
CHANGED = 1e-4


def distances(x: np.ndarray, moved: np.ndarray, norm: str) -> np.ndarray:
    """The distance between each image and its moved version, in double precision, [images].

    Args:
        x: images, [images, height, width, channels].
        moved: the moved images, of the same shape.
        norm: linf, l2 or l1, over pixels and channels; or l0, the number of pixels that changed by more than 1e-4 in a channel.

    Examples:
        >>> import numpy as np
        >>> from adv_networks.attacks.distances import distances
        >>> distances(np.zeros((1, 2, 2, 3)), np.eye(4).reshape(1, 2, 2, 4)[..., :3], "l0").tolist()
        [3.0]
    """
    p = choose(NORMS, norm, "norm")
    change = np.abs(np.subtract(moved, x, dtype=np.float64))
    if p == 0:
        return (change > CHANGED).any(-1).sum(tuple(range(1, change.ndim - 1))).astype(np.float64)
    return np.linalg.norm(change.reshape(len(change), math.prod(change.shape[1:])), p, axis=1)


def are_within(x: np.ndarray, moved: np.ndarray, epsilon: float, norm: str) -> np.ndarray:
    """Which images moved by at most ε, up to rounding: booleans [images]."""
    p = choose(NORMS, norm, "norm")
    rounding = ROUNDING * np.prod(x.shape[1:]) ** (1 / p) if p else 0.0
    return distances(x, moved, norm) <= epsilon + rounding
