"""The images and labels of one split of a data set."""

from __future__ import annotations

from typing import NamedTuple

from adv_networks.errors import UserError
from adv_networks.lazy import np


class NoSuchSplit(UserError):
    """The data set exists, but has no split with this name.

    Examples:
        >>> from adv_networks import data
        >>> try:
        ...     data.load("digits", "extra")
        ... except data.NoSuchSplit as error:
        ...     print(error)
        digits: expected split train or test, received extra
    """


class Images(NamedTuple):
    """Images uint8 [N, H, W, C] and their labels int32 [N].

    Examples:
        >>> from adv_networks import data
        >>> images, labels = data.load("digits", "test").first(5)
        >>> images.shape, labels.shape
        ((5, 8, 8, 1), (5,))
    """

    images: np.ndarray
    labels: np.ndarray

    def first(self, count: int) -> Images:
        """The first `count` images; 0 means all."""
        return self if count == 0 else Images(self.images[:count], self.labels[:count])
