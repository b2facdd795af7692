"""Another attack, repeated with each gradient that a defence offers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import Crafted, register, setting
from adv_networks.attacks.geometry import where_images
from adv_networks.attacks.gradient import expected_outputs
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.wrapper import Wrapper
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


@register("each_gradient", "another attack by each gradient of a defence, the best for each image; name it last: attack=pgd")
@dataclasses.dataclass(frozen=True, kw_only=True)
class EachGradient(Wrapper):
    """The attack `each_gradient` as a column of tables: on every image it fools what the inner attack fools by any gradient.

    No single gradient of a defence need be the best one. For Defense-GAN the exact gradient is the strongest if the descent is
    short, and the straight-through gradient if it is long.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.named("each_gradient:attack=pgd:steps=40", 0.3).title
        'each_gradient:attack=pgd:steps=40 (linf ≤ 0.3)'
    """

    kind: ClassVar[str] = "each_gradient"
    follows_each: ClassVar[bool] = True

    attack: str = setting("pgd", "attack that follows each gradient, with its own arguments; give it last")

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """See `Attack.check`.

        Raises:
            UsageError: also an inner attack that follows no gradient of the classifier, only one of them, or that learns.
        """
        inner = self.wrapped
        if inner.access != "gradients" or inner.gradient or inner.learns or inner.evades:
            raise UsageError(f"attack each_gradient: expected an attack that follows any gradient, received {inner.name}")
        super().check(classes=classes, bn_evaluation=bn_evaluation)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`; a defended source has an output for each gradient (`evaluation.Defended.with_each_gradient`)."""
        return self.crafted(source, x, y, seed=seed, training=training, state=state).images

    def crafted(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> Crafted:
        """See `Attack.crafted`: for each image the first result that fools the first network, or else the last result."""
        first, *others = networks_of(source)
        best = self.wrapped.crafted(first, x, y, seed=seed, training=training)
        images, labels = as_images(first, x), as_labels(y, as_images(first, x), first)
        for network in others:
            made = self.wrapped.crafted(network, x, y, seed=seed, training=training)
            logits = run_compiled(expected_outputs, first, training, best.images)
            stands = tf.equal(tf.argmax(logits, 1, tf.int32), labels)
            changed = np.where(stands, made.changed, best.changed)
            best = Crafted(where_images(stands, tf.cast(made.images, images.dtype), best.images), changed)
        return best._replace(queries=None, wrapped=None)


def networks_of(source: Any) -> list[Any]:
    """The networks behind the outputs of a source, in their order: one for each gradient, or only the classifier itself."""
    count = len(getattr(source, "outputs", None) or [source])
    # A model of several outputs that `Defended` builds has these networks as its last layers.
    return [source] if count == 1 else list(source.layers[-count:])
