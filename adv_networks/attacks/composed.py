"""Columns that craft nothing: clean images, and the worst of other attacks image by image."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import Attack, register
from adv_networks.attacks.inputs import as_images
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


@register("clean", "the clean images")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Clean(Attack):
    """No attack: the clean images.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import attacks
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> np.array_equal(attacks.Clean().craft(None, x, y), x)
        True
    """

    kind: ClassVar[str] = "clean"
    access: ClassVar[str] = "labels"
    has_ball: ClassVar[bool] = False
    has_source: ClassVar[bool] = False
    of_first_records: ClassVar[bool] = True

    epsilon: float = 0.0

    def craft(
        self, source: keras.Model | None, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """The images as tensors."""
        return tf.convert_to_tensor(x) if source is None else as_images(source, x)


@register("worst", "an image counts as right only if it is right under each attack in the same row")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Worst(Attack):
    """The worst of the attacks in other columns. It crafts nothing; `evaluation.worst` combines their results.

    Examples:
        >>> from adv_networks import attacks
        >>> worst = attacks.Worst(epsilon=0.3, parts=("fgs", "pgd"))
        >>> worst.composed, worst.parts
        (True, ('fgs', 'pgd'))
    """

    kind: ClassVar[str] = "worst"
    composed: ClassVar[bool] = True
    of_first_records: ClassVar[bool] = True

    parts: tuple[str, ...] = dataclasses.field(default=(), metadata={"omitted": True})

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """Raises a UsageError."""
        raise UsageError("attack worst: expected a column of a table, because it crafts no images, received a single attack")
