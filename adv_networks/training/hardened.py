"""The base of the two classes that train with Keras' own `compile` and `fit`: checked data, logs, metrics and saving."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any

from adv_networks import runtime
from adv_networks.attacks.inputs import check_images, check_labels
from adv_networks.defences import Players
from adv_networks.errors import UsageError
from adv_networks.evaluation.own_model import Range, with_unit_range
from adv_networks.experiments import Experiment
from adv_networks.lazy import keras, np, tf
from adv_networks.networks.adaptation import as_any_classifier, check_trainable
from adv_networks.training import finite

# The scalars that the update rules return, and their names in the logs of `fit`.
_LOGGED = {
    "d_loss": "loss",
    "d_accuracy": "accuracy",
    "d_gradient_norm": "gradient_norm",
    "d_loss_adversarial": "loss_adversarial",
    "d_accuracy_adversarial": "accuracy_adversarial",
    "g_loss": "g_loss",
    "regulariser_norm": "regulariser_norm",
}
# As often as a run of `train` logs at most.
_STEPS_BETWEEN_CHECKS = 20


class Hardened(keras.Model):
    """A classifier in training: Keras' loop around an update rule, which `_update` runs."""

    def __init__(self, classifier: keras.Model, spec: Experiment, input_range: Range, **options: Any):
        super().__init__(**options)
        self.classifier, self.spec = classifier, spec
        self._unit = with_unit_range(as_any_classifier(classifier), input_range)
        check_trainable(self._unit, "classifier")
        self._players: Players | None = None
        self._sums: dict[str, tf.Tensor] = {}
        self._steps = 0
        self._has_own_loss = False
        self.built = True

    @property
    def unit_classifier(self) -> keras.Model:
        """The classifier for images in [0,1], which attacks expect."""
        return self._unit

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Logits of images, uint8 or floats in [0,1]."""
        return self._unit(_as_unit(x, self._unit.variable_dtype), training=training)

    def compile(self, optimizer: Any = None, loss: Any = None, **options: Any) -> None:
        """Like `keras.Model.compile`.

        Args:
            optimizer: optimiser of the classifier; None for the paper's SGD with learning rate 0.01 and momentum 0.9.
            loss: the loss that `evaluate` reports; None for the cross-entropy of integer labels. Training always uses
                cross-entropy.
            **options: `metrics` and the other options of `keras.Model.compile`. Training metrics are measured after each step,
                on its clean images.
        """
        with self.distribute_strategy.scope():
            optimizer = keras.optimizers.get(optimizer or runtime.sgd(0.01, momentum=0.9))
            optimizer.build(self.classifier.trainable_variables)
            self._has_own_loss = loss is not None
            loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            super().compile(optimizer=optimizer, loss=loss, **options)
            self._players = self._made_players()
        for model in (self._unit, *self._players.generators):
            replicas, exact = self.distribute_strategy.num_replicas_in_sync, self.spec.regulariser == "exact"
            runtime.prepare(model, replicas=replicas, double_backprop=exact)
        dtype, run = self._unit.variable_dtype, self.distribute_strategy.run
        self._floats = tf.function(lambda x: run(lambda own: _as_unit(own, dtype), (x,)))
        self._measured = tf.function(self._measure)

    def _made_players(self) -> Players:
        return Players(self._unit, self.optimizer)

    def fit(self, *data: Any, class_weight: Mapping[int, float] | None = None, **options: Any) -> keras.callbacks.History:
        """Like `keras.Model.fit`, but without `sample_weight`.

        Args:
            *data: arrays, or a `tf.data.Dataset` of batches (images, labels).
            class_weight: factors of the loss by label; a label that is missing has factor 1.
            **options: the other options of `keras.Model.fit`.

        Raises:
            UserError: a number or weight is not finite: checked about every 20 steps, and at the end of each epoch before your
                callbacks. A callback that saves within an epoch may save up to 20 steps too late.
        """
        if options.get("sample_weight") is not None:
            raise UsageError("sample_weight: expected none (class_weight sets weights by class), received some")
        if self._players is None:
            raise UsageError("fit: expected a compiled model, received one before compile()")
        weights = None
        if class_weight:
            weights = [float(class_weight.get(label, 1)) for label in range(self._unit.output_shape[-1])]
        self._players.weigh_classes(weights)
        own = options.pop("callbacks", None)
        if isinstance(own, keras.callbacks.CallbackList):
            own = copy.copy(own)
            own.callbacks = [_Finite(self), *own.callbacks]
        else:
            own = [_Finite(self), *(own if isinstance(own, (list, tuple)) else filter(None, [own]))]
        return super().fit(*data, callbacks=own, **options)

    def evaluate(self, x: Any = None, y: Any = None, **options: Any) -> Any:
        """Like `keras.Model.evaluate`. Arrays are checked as in `fit`, but labels only if `compile` was given no loss."""
        if hasattr(x, "dtype"):
            check_images(x)
        if hasattr(y, "dtype") and not self._has_own_loss:
            check_labels(y, None, self._unit.output_shape[-1])
        return super().evaluate(x, y, **options)

    def predict(self, x: Any, **options: Any) -> np.ndarray:
        """Like `keras.Model.predict`. An array is checked as in `fit`."""
        if hasattr(x, "dtype"):
            check_images(x)
        return super().predict(x, **options)

    def make_train_function(self, force: bool = False) -> None:
        """Makes Keras' loop call the update rules as separate compiled graphs, which trace in a fraction of the time."""
        if getattr(self, "train_function", None) is None or force:
            self.train_function = self._run

    def reset_metrics(self) -> None:
        """Like `keras.Model.reset_metrics`; also resets the sums of the update rules' scalars."""
        super().reset_metrics()
        self._sums, self._steps = {}, 0

    def save(self, filepath: str | os.PathLike, overwrite: bool = True, **options: Any) -> None:
        """Saves only the classifier, with its own pixel range; plain Keras can load it."""
        self.classifier.save(filepath, overwrite=overwrite, **options)

    def export(self, filepath: str | os.PathLike, **options: Any) -> None:
        """Exports only the classifier, with its own pixel range, as `keras.Model.export` does."""
        self.classifier.export(filepath, **options)

    def _run(self, iterator: Any) -> dict[str, Any]:
        for _ in range(self.steps_per_execution):
            logs = self._step(next(iterator))
        return logs

    def _step(self, batch: Any) -> dict[str, Any]:
        parts = list(batch) if isinstance(batch, (tuple, list)) else [batch]
        while parts and parts[-1] is None:  # `train_on_batch` adds None for the weights of images.
            parts.pop()
        if len(parts) != 2:
            raise UsageError(f"data: expected batches (images, labels), received {len(parts)} parts")
        x, y = parts
        strategy = self.distribute_strategy
        if not self._steps:
            for images, labels in zip(*map(strategy.experimental_local_results, (x, y)), strict=True):
                check_images(images)
                check_labels(labels, images.shape[0], self._unit.output_shape[-1])
        scalars = self._update(self._players, self._floats(x), y, (self.spec.seed, int(self.optimizer.iterations.numpy())))
        self._steps += 1
        logs = {}
        for name, shown in _LOGGED.items():
            if name in scalars:
                self._sums[shown] = self._sums.get(shown, 0.0) + scalars[name]
                logs[shown] = self._sums[shown] / self._steps
        if len(self.metrics) > 1:  # The first is Keras' own mean of the loss.
            self._measured(x, y)
            logs |= {name: value for name, value in self.get_metrics_result().items() if name != "loss"}
        return logs

    def check_finite(self, where: str) -> None:
        """Raises a UserError if a number of this epoch's steps, or a weight, is not finite; `where` begins the message."""
        finite.checked(self._sums, where, "the weights are lost", self._players.variables())

    def _measure(self, x: Any, y: Any) -> None:
        strategy = self.distribute_strategy
        strategy.run(lambda x, y: (self.compute_metrics(x, y, self(x, training=False)), 0)[1], (x, y))

    def _update(self, players: Players, x: Any, y: Any, seed: tuple[int, int]) -> Mapping[str, Any]:
        raise NotImplementedError


class _Finite(keras.callbacks.Callback):
    """Stops `fit` at a number that is not finite, as `train` does; no step waits for its own numbers."""

    def __init__(self, hardened: Hardened):
        super().__init__()
        self._hardened, self._epoch, self._step = hardened, 0, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Counts epochs from 1, as `fit` shows them."""
        self._epoch, self._step = epoch + 1, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Checks the steps so far, once there are 20 more; several may be executed at once."""
        before, self._step = self._step, batch + 1
        if before // _STEPS_BETWEEN_CHECKS != self._step // _STEPS_BETWEEN_CHECKS:
            self._hardened.check_finite(f"epoch {self._epoch} step {batch + 1}")

    def on_test_begin(self, logs: Any = None) -> None:
        """Checks all steps of the epoch before its validation, which resets their sums."""
        self._hardened.check_finite(f"epoch {self._epoch}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Checks all steps of the epoch, unless its validation reset their sums, and the weights."""
        self._hardened.check_finite(f"epoch {self._epoch}")


def _as_unit(x: Any, dtype: Any) -> Any:
    """Images as floats of this type; uint8 images are divided by 255. Works inside and outside of a graph."""
    return tf.cast(x, dtype) / 255 if x.dtype == tf.uint8 else tf.cast(x, dtype)


__all__ = ["Hardened"]
