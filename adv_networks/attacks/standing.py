"""Attacks that make several attempts, each on the images that the model still classifies correctly ("standing" images).

Once an image is misclassified, later attempts skip it. Images that are misclassified from the start are returned unchanged.
The result for an image depends on the seed and on its position in the batch, not on which other images are still standing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from adv_networks.attacks.base import Attack
from adv_networks.attacks.gradient import expected_outputs, predict
from adv_networks.attacks.inputs import as_images
from adv_networks.attacks.losses import without
from adv_networks.errors import UsageError
from adv_networks.experiments import SCALES, AttackDefaults
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import run_compiled

# An attempt takes the rows of the batch that are still standing and their current images, and returns new images.
Attempt = Callable[["np.ndarray", "np.ndarray"], Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StrongAttack(Attack):
    """An L∞ attack that the paper does not use; the scale divides the argument that `divided` names."""

    norms: ClassVar[tuple[str, ...]] = ("linf",)
    of_first_records: ClassVar[bool] = True
    divided: ClassVar[str] = "steps"

    @classmethod
    def of_experiment(cls, spec: AttackDefaults, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The number of steps at the experiment's scale."""
        default = next(field.default for field in dataclasses.fields(cls) if field.name == cls.divided)
        return {cls.divided: max(1, arguments.get(cls.divided, default) // SCALES[spec.scale].attack_divisor)}

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """See `Attack.check`; BN must use its moving averages, because images that are misclassified leave the batch."""
        super().check(classes=classes, bn_evaluation=bn_evaluation)
        if bn_evaluation != "moving":
            raise UsageError(f"bn_evaluation: expected moving for attack {self.name}, received {bn_evaluation}")


def attack_standing(model: keras.Model, x: tf.Tensor, y: tf.Tensor, attempts: Iterable[Attempt]) -> tf.Tensor:
    """Applies the attempts one after the other, each to the images that the model still classifies correctly."""
    current, labels = x.numpy(), y.numpy()

    def stand(rows: np.ndarray) -> np.ndarray:
        # A random model must be wrong on average, not in one draw.
        outputs = run_compiled(expected_outputs, model, False, as_images(model, current[rows]))
        return rows[np.argmax(outputs, 1) == labels[rows]]

    standing = stand(np.arange(len(labels)))
    for attempt in attempts:
        if not len(standing):
            break
        current[standing] = attempt(standing, current[standing])
        standing = stand(standing)
    return tf.constant(current)


def likeliest_targets(model: keras.Model, x: tf.Tensor, y: tf.Tensor, count: int) -> list[tf.Tensor]:
    """The likeliest class that is not y, then the second likeliest, and so on: at most `count` tensors [batch]."""
    logits = predict(model, x)
    order = tf.argsort(without(logits, y), 1, "DESCENDING")
    return tf.unstack(order[:, : min(count, logits.shape[1] - 1)], axis=1)


def random_start(x: tf.Tensor, rows: np.ndarray, radius: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Points drawn uniformly from the balls around the images of these rows, clipped to [0,1]."""
    noise = tf.random.stateless_uniform(tf.shape(x), seed, -1, 1, x.dtype)
    return tf.clip_by_value(tf.gather(x + radius * noise, rows), 0, 1)
