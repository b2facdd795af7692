"""A Keras callback that logs accuracy under attack."""

from __future__ import annotations

from typing import Any

from adv_networks import attacks
from adv_networks.attacks.inputs import as_arrays, check_fits, check_labels
from adv_networks.attacks.quantities import check_counts
from adv_networks.errors import UsageError
from adv_networks.evaluation import accuracy
from adv_networks.evaluation.own_model import Range, with_unit_range
from adv_networks.lazy import keras, np
from adv_networks.networks.adaptation import as_any_classifier, checked_range
from adv_networks.training.hardened import Hardened


class RobustAccuracy(keras.callbacks.Callback):
    """Logs a classifier's accuracy under an attack at the end of epochs, in any `fit`; early stopping can monitor it.

    Args:
        attack: text of the attack grammar, such as "pgd:steps=20".
        images: uint8 or floats in [0,1], [N, H, W, C].
        labels: integers [N].
        epsilon: radius of the ball, on the [0,1] pixel scale.
        norm: norm of the ball.
        input_range: pixel range of the model, its inputs for black and white. The classes of `an.keras` know their own.
        every: epochs between two measurements.
        name: name of the entry in the logs.

    Raises:
        UsageError: invalid images or labels, an argument that is out of range, or an attack that learns first.

    Examples:
        >>> import keras
        >>> import adv_networks as an
        >>> (images, labels), held_out = an.data.load("digits", "train"), an.data.load("digits", "test")
        >>> classifier = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> classifier.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> robust = an.keras.RobustAccuracy("pgd:steps=20", *held_out, epsilon=8 / 255)
        >>> stop = keras.callbacks.EarlyStopping("val_robust_accuracy", mode="max")
        >>> history = classifier.fit(images / 255, labels, epochs=2, callbacks=[robust, stop], verbose=0)
        >>> sorted(history.history)
        ['loss', 'val_robust_accuracy']
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
        check_counts(every=every)
        self.attack, (self.images, self.labels) = attacks.named(attack, epsilon, norm=norm), as_arrays(images, labels)
        if self.attack.learns or self.attack.access == "generator":
            raise UsageError(f"attack: expected one that is crafted on the classifier alone, received {attack}")
        self.input_range, self.every, self.name = checked_range(input_range), every, name
        self._unit: tuple[keras.Model, keras.Model] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks that the attack can be crafted on the classifier, before any epoch is spent."""
        model = self._unit_classifier()
        self.attack.check(classes=model.output_shape[1])
        check_fits(model, self.images)
        check_labels(self.labels, None, model.output_shape[1])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the accuracy to the logs of the epoch."""
        if (epoch + 1) % self.every == 0 and logs is not None:
            logs[self.name] = accuracy(self._unit_classifier(), self.images, self.labels, attack=self.attack)

    def _unit_classifier(self) -> keras.Model:
        """The model in training, for images in [0,1]: the same at every epoch, so that attacks are compiled once."""
        if self._unit is None or self._unit[0] is not self.model:
            if isinstance(self.model, Hardened):
                unit = self.model.unit_classifier
            else:
                unit = with_unit_range(as_any_classifier(self.model, self.images.shape[1:]), self.input_range)
            self._unit = self.model, unit
        return self._unit[1]
