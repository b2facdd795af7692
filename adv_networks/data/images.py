"""What a split of a data set is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adv_networks.errors import UserError


class NoSuchSplit(UserError):
    """The data set is there, but has no split of that name."""


class Images(NamedTuple):
    """Images uint8 [N, H, W, C] and their labels int32 [N]."""

    images: np.ndarray
    labels: np.ndarray

    def first(self, count: int) -> Images:
        """The first `count` of them; 0 means all."""
        return self if count == 0 else Images(self.images[:count], self.labels[:count])
