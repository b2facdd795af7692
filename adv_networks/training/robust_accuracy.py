"""A Keras callback that logs accuracy under attack."""

from __future__ import annotations

from typing import Any

import numpy as np

from adv_networks import attacks
from adv_networks.evaluation import accuracy
from adv_networks.evaluation.own_model import Range, with_unit_range
from adv_networks.lazy import keras
from adv_networks.training.keras_training import Hardened


class RobustAccuracy(keras.callbacks.Callback):
    """Logs a classifier's accuracy under an attack at the end of epochs, in any `fit`; early stopping may monitor it.

    Args:
        attack: a text of the grammar of attacks.
        images: uint8 or floats in [0,1], [N, H, W, C].
        labels: integers [N].
        epsilon: radius of the ball, on the [0,1] pixel scale.
        norm: of the ball.
        input_range: what the inputs for black and white are of a model of any other class.
        every: epochs between two measurements.
        name: of the entry in the logs.

    Example:
        >>> robust = an.keras.RobustAccuracy("pgd:steps=20", images, labels, epsilon=8 / 255)
        >>> classifier.fit(x, y, callbacks=[robust, keras.callbacks.EarlyStopping("val_robust_accuracy", mode="max")])
    """

    def __init__(
        self,
        attack: str,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        epsilon: float,
        norm: str = "linf",
        input_range: Range = (0, 1),
        every: int = 1,
        name: str = "val_robust_accuracy",
    ):
        super().__init__()
        self.attack, self.images, self.labels = attacks.named(attack, epsilon, norm=norm), images, labels
        self.input_range, self.every, self.name = input_range, every, name

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the accuracy to the logs of the epoch."""
        if (epoch + 1) % self.every == 0 and logs is not None:
            model = self.model
            unit = model.unit_classifier if isinstance(model, Hardened) else with_unit_range(model, self.input_range)
            logs[self.name] = accuracy(unit, self.images, self.labels, attack=self.attack)
