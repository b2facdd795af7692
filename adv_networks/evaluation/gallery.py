"""A picture of the same images under several attacks, with the classifier's predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from adv_networks import runtime
from adv_networks.attacks import Attack, predict
from adv_networks.attacks.crafting import craft
from adv_networks.experiments import find_dataset
from adv_networks.lazy import keras, np
from adv_networks.storage import pictures
from adv_networks.storage.names import shortened

# An image is about this many characters wide.
_LONGEST_CLASS = 20

if TYPE_CHECKING:
    from adv_networks.data import Images


class Gallery(NamedTuple):
    """Images [N, H, W, C] in [0,1], their labels, and the perturbed images by attack.

    `seen` has the predicted classes [N] of the clean images, and then those of each attack's images. `limit` is the largest
    perturbation of a pixel; for an L∞ attack it is ε, whether that is reached or not.
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
    """Runs attacks on all images as one batch; `attacks` has pairs of an attack and its source network, by name."""
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
    """Draws a gallery, with the names of the data set's classes."""
    declared = find_dataset(dataset)

    def name(label: int) -> str:
        return shortened(declared.class_name(label), _LONGEST_CLASS)

    above = [[f"seen as {name(label)}" for label in own.tolist()] for own in gallery.seen]
    above[0] = [f"{name(label)}\n{text}" for label, text in zip(gallery.labels.tolist(), above[0], strict=True)]
    return pictures.perturbations(gallery.images, gallery.perturbed, gallery.limit, above)
