"""Attacks that search for the nearest image that fools the classifier, without a ball.

They return the nearest adversarial image that they find, or the image unchanged if they find none. If a ball is given, it is a
threshold on the norm: an image that had to be moved farther is returned unchanged.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from adv_networks.attacks.base import Crafted, are_changed
from adv_networks.attacks.distances import are_within
from adv_networks.attacks.inputs import as_images, as_labels, classes_of
from adv_networks.attacks.standing import StrongAttack
from adv_networks.lazy import keras, np, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


class Found(NamedTuple):
    """The nearest adversarial image found for each image (or the image itself if none was), and its number of queries."""

    images: np.ndarray
    queries: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class MinimumNormAttack(StrongAttack):
    """An attack that minimises a norm. Its search does not use ε, and by default ε is infinite: any distance is accepted.

    A subclass declares the `norms` that it can minimise, the first being the default, and implements `search`.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.DeepFool().title, attacks.DeepFool(epsilon=0.5).title
        ('deepfool', 'deepfool (l2 ≤ 0.5)')
    """

    needs_ball: ClassVar[bool] = False
    of_first_records: ClassVar[bool] = False

    epsilon: float = dataclasses.field(default=math.inf, metadata={"omitted": True})
    norm: str = "l2"

    @property
    def title(self) -> str:
        """Its name, and its ball if ε is finite."""
        return super().title if math.isfinite(self.epsilon) else self.name

    def search(self, source: keras.Model, x: tf.Tensor, y: tf.Tensor, *, seed: Seed = 0) -> Found:
        """Searches for the nearest adversarial images, regardless of any ball.

        Args:
            source: classifier that returns logits.
            x: images, floats in [0,1] with the dtype of the classifier's variables.
            y: labels, int32 [batch].
            seed: random seed.
        """
        raise NotImplementedError

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        return self.crafted(source, x, y, seed=seed, training=training, state=state).images

    def crafted(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> Crafted:
        """See `Attack.crafted`."""
        self.check(classes=classes_of(source, x) or math.inf, bn_evaluation="batch" if training else "moving")
        x = as_images(source, x)
        found = self.search(source, x, as_labels(y, x, source), seed=seed)
        original = x.numpy()
        within = are_within(original, found.images, self.epsilon, self.norm)
        images = np.where(within.reshape(-1, *[1] * (original.ndim - 1)), found.images, original)
        return Crafted(tf.constant(images), are_changed(original, found.images), found.queries)
