"""Adversarial images and predictions as files that NumPy and spreadsheets read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from adv_networks.attacks import Attack, craft_all, predict
from adv_networks.attacks.crafting import BATCH_SIZE
from adv_networks.attacks.inputs import as_arrays
from adv_networks.errors import UsageError
from adv_networks.evaluation.defended import Target, as_defended, crafted_on
from adv_networks.evaluation.learning import Training, learn, lesson_of
from adv_networks.experiments import NORMS
from adv_networks.lazy import keras, np
from adv_networks.storage.csv_rows import write_rows
from adv_networks.storage.files import write_whole


@dataclasses.dataclass(frozen=True)
class Exports:
    """The files that an evaluation writes besides what it prints; a file that is None is not written.

    Attributes:
        adversarial: `.npz` with the images, their labels and predictions, and for every attack its settings, the adversarial
            images, their predictions, and their distances from the originals.
        predictions: `.csv` with the labels and the predicted classes, for the clean images and under every attack.
    """

    adversarial: Path | None = None
    predictions: Path | None = None

    def __bool__(self) -> bool:
        return self.adversarial is not None or self.predictions is not None

    def check(self, bn_evaluation: str) -> None:
        """Raises a UsageError if a file has the wrong suffix, or if predictions depend on the batch."""
        for name, file, suffix in (("adversarial", self.adversarial, ".npz"), ("predictions", self.predictions, ".csv")):
            if file is not None and file.suffix != suffix:
                raise UsageError(f"save_{name}: expected a file that ends in {suffix}, received {file}")
            if file is not None and bn_evaluation != "moving":
                raise UsageError(f"save_{name}: expected bn_evaluation moving, received {bn_evaluation}")

    def write(
        self,
        target: Target,
        images: np.ndarray,
        labels: np.ndarray,
        attacks: Sequence[tuple[str, Attack, Target]],
        training: Training | None = None,
    ) -> list[Path]:
        """Crafts the same adversarial images as the evaluation did, writes the files, and returns their paths.

        Clean images and worst cases are left out, because they are not crafted on a model.

        Args:
            target: the classifier under attack, which takes images in [0,1].
            images: uint8 or floats in [0,1], [N, H, W, C].
            labels: integers [N].
            attacks: for each attack its label, the attack itself, and the model that it is crafted on.
            training: gives the training images to attacks that learn from them, as in the evaluation.
        """
        if not self:
            return []
        model, (images, labels) = as_defended(target).model, as_arrays(images, labels)
        seen = _predicted(model, images)
        x = images / np.float32(255) if images.dtype == np.uint8 else images
        found: dict[str, dict[str, Any]] = {}
        for label, attack, source in attacks:
            if not attack.has_source or attack.composed:
                continue
            state = learn(attack, source, lesson_of(attack, training))
            crafted = craft_all(attack, crafted_on(source, attack), images, labels, state=state).astype(np.float32)
            moved = (crafted - x).reshape(len(x), -1).astype(np.float64)
            norms = {name: np.linalg.norm(moved, p, axis=1) for name, p in NORMS.items()}
            own = {"adversarial": crafted} if self.adversarial is not None else {}
            found[label] = {**own, "predictions": _predicted(model, crafted), **norms, "settings": attack.settings()}
        if self.adversarial is not None:
            arrays = {name: np.stack([own[name] for own in found.values()]) for name in ("adversarial", *NORMS, "settings")}
            of_adversarial = np.stack([own["predictions"] for own in found.values()])
            arrays |= dict(images=images, labels=labels, predictions=seen, adversarial_predictions=of_adversarial)
            arrays["attacks"] = np.array(list(found))
            write_whole(self.adversarial, lambda temporary: np.savez(temporary, **arrays))
        if self.predictions is not None:
            columns = {"image": range(len(labels)), "label": labels, "No Noise": seen}
            columns |= {label: own["predictions"] for label, own in found.items()}
            rows: Iterable[tuple[Any, ...]] = zip(*columns.values(), strict=True)
            write_rows(self.predictions, list(columns), [dict(zip(columns, map(int, row), strict=True)) for row in rows])
        return [file for file in (self.adversarial, self.predictions) if file is not None]


def _predicted(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The predicted class of each image."""
    starts = range(0, len(images), BATCH_SIZE)
    return np.concatenate([predict(model, images[start : start + BATCH_SIZE]).numpy().argmax(1) for start in starts])
