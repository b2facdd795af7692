"""The same images under several attacks, and what a classifier sees in them, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adv_networks import runtime
from adv_networks.attacks import Attack, predict
from adv_networks.attacks.crafting import craft
from adv_networks.experiments import find_dataset
from adv_networks.lazy import keras
from adv_networks.storage import pictures
from adv_networks.storage.names import shortened

# An image is about so many characters wide.
_LONGEST_CLASS = 20

if TYPE_CHECKING:
    from adv_networks.data import Images


class Gallery(NamedTuple):
    """Images [N, H, W, C] in [0,1], their labels, and by attack the same images perturbed.

    `seen` are the classes [N] that the classifier sees in the images, and then in those of each attack. `limit` is a pixel's
    largest perturbation: in L∞ ε, whether it is reached or not.
    """

    images: np.ndarray
    labels: np.ndarray
    perturbed: dict[str, np.ndarray]
    seen: list[np.ndarray]
    limit: float


def make(
    classifier: keras.Model,
    shown: Images,
    attacks: Mapping[str, tuple[Attack, keras.Model]],
    *,
    bn_evaluation: str = "moving",
) -> Gallery:
    """Runs attacks, each an attack and the network that it is crafted on, by name, on all images as one batch."""
    training, x = bn_evaluation == "batch", shown.images / np.float32(255)
    perturbed = {
        name: craft(attack, source, x, shown.labels, seed=(0, 0), training=training).numpy()
        for name, (attack, source) in attacks.items()
    }
    with runtime.drawing(0):
        seen = [np.argmax(predict(classifier, images, training=training), 1) for images in (x, *perturbed.values())]
    limit = max(
        attack.epsilon if attack.norm == "linf" else float(np.abs(perturbed[name] - x).max()) or attack.epsilon
        for name, (attack, _) in attacks.items()
    )
    return Gallery(x, shown.labels, perturbed, seen, limit)


def draw(gallery: Gallery, dataset: str) -> Any:
    """A figure of it, with the names of the data set's classes."""
    declared = find_dataset(dataset)

    def name(label: int) -> str:
        return shortened(declared.class_name(label), _LONGEST_CLASS)

    above = [[f"seen as {name(label)}" for label in own.tolist()] for own in gallery.seen]
    above[0] = [f"{name(label)}\n{text}" for label, text in zip(gallery.labels.tolist(), above[0], strict=True)]
    return pictures.perturbations(gallery.images, gallery.perturbed, gallery.limit, above)
