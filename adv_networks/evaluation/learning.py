"""Attacks that learn before they are crafted. They learn from training images, never from the images they are scored on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from adv_networks import runtime
from adv_networks.attacks import Attack
from adv_networks.attacks.base import checked_attack
from adv_networks.errors import UsageError
from adv_networks.evaluation.defended import Target, crafted_on
from adv_networks.lazy import np
from adv_networks.storage.hashes import images_hash

# Returns the first n training images, uint8 or floats in [0,1], and their labels.
Training: TypeAlias = Callable[[int], tuple["np.ndarray", "np.ndarray"]]


class Lesson(NamedTuple):
    """The training images that an attack learns from, and their labels; `name` describes them in records."""

    images: np.ndarray
    labels: np.ndarray

    @property
    def name(self) -> str:
        """The number of images, and their hash."""
        return f"{len(self.images)} training images {images_hash(self.images, self.labels)}"


def lesson_of(attack: Attack, training: Training | None) -> Lesson | None:
    """The images that an attack learns from; None for an attack that does not learn.

    Raises:
        UsageError: the attack learns, but there are no training images.
    """
    if not checked_attack(attack).learns:
        return None
    if training is None:
        raise UsageError(f"attack {attack.name}: expected training images to learn from, received none")
    return Lesson(*training(attack.learning_images))


def learn(attack: Attack, source: Target | None, lesson: Lesson | None) -> Any:
    """What the attack learns on its source model; None for an attack that does not learn."""
    if lesson is None:
        return None
    with runtime.drawing(attack.seed, 0, draws=attack.draws):
        return attack.fit(crafted_on(source, attack), *lesson)
