"""The handwritten digits that ship with scikit-learn: 1,797 images of 8×8, split here by a fixed seed."""

from __future__ import annotations

from adv_networks.data.images import Images
from adv_networks.data.sources.base import InMemory, Place, register
from adv_networks.experiments import DATASETS
from adv_networks.lazy import np

_SPLIT_SEED = 0


class Digits(InMemory):
    """The digits have 17 shades of grey, from 0 to 16, which are scaled to 0 to 255."""

    def __init__(self, place: Place):
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
        labels = digits.target.astype(np.int32)
        train, test = np.split(np.random.default_rng(_SPLIT_SEED).permutation(len(images)), [DATASETS["digits"].train_images])
        parts = {"train": train, "test": test}
        super().__init__("digits", {split: Images(images[chosen], labels[chosen]) for split, chosen in parts.items()})


register(DATASETS["digits"], Digits)
