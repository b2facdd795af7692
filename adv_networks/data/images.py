"""The images and labels of one split of a data set."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adv_networks.errors import UserError


class NoSuchSplit(UserError):
    """The data set exists, but has no split with this name."""


class Images(NamedTuple):
    """Images uint8 [N, H, W, C] and their labels int32 [N]."""

    images: np.ndarray
    labels: np.ndarray

    def first(self, count: int) -> Images:
        """The first `count` images; 0 means all."""
        return self if count == 0 else Images(self.images[:count], self.labels[:count])
