"""Simulated photographs of another attack's images. They are no longer in any ball."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import Crafted, are_changed, register, setting
from adv_networks.attacks.camera import TRANSFORMATIONS, Camera
from adv_networks.attacks.inputs import check_images
from adv_networks.attacks.quantities import as_seed
from adv_networks.attacks.wrapper import Wrapper
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, np, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

_ALL = "all"


@register("photo", "photographs of prints of another attack's images; name it last: photo:blur=2:attack=fgs:epsilon=0.1")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Photo(Wrapper):
    """The attack `photo` as a column of tables: `wrapped` crafts the images, with its own ε and norm.

    Every image is photographed on its own. The transformations depend only on the seed and on the image's position in the
    batch, so the images of all attacks at one position are photographed alike.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.Photo(blur=2.0, wrapped=attacks.FGS(epsilon=0.1)).title
        'photo (linf ≤ 0.1)'
    """

    kind: ClassVar[str] = "photo"
    has_ball: ClassVar[bool] = False

    attack: str = setting("clean", "attack whose images are photographed, with its own arguments; give it last")
    only: str = setting(_ALL, "the only transformation to apply", choices=(_ALL, *TRANSFORMATIONS))
    corners: float = setting(0.05, "maximum shift of a corner, as a fraction of the side", least=0, most=0.4)
    misplaced: float = setting(1.5, "maximum error of a corner, in quarters of a pixel", least=0)
    blur: float = setting(3.0, "standard deviation of the blur, in quarters of a pixel", least=0)
    least_contrast: float = setting(0.8, "lowest contrast", least=0)
    most_contrast: float = setting(1.1, "highest contrast", least=0)
    brightness: float = setting(0.05, "maximum change of brightness", least=0, most=1)
    noise: float = setting(0.03, "standard deviation of the noise on quarter pixels", least=0)
    quality: int = setting(80, "quality of the JPEG file", least=1, most=100)

    @property
    def learns(self) -> bool:
        """Whether the inner attack learns."""
        return self.wrapped.learns

    @property
    def learning_images(self) -> int:
        """Those of the inner attack."""
        return self.wrapped.learning_images

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """See `Attack.check`.

        Raises:
            UsageError: also if least_contrast is above most_contrast.
        """
        if self.least_contrast > self.most_contrast:
            least, most = self.least_contrast, self.most_contrast
            raise UsageError(f"least_contrast: expected a value of at most most_contrast, {most:g}, received {least:g}")
        super().check(classes=classes, bn_evaluation=bn_evaluation)

    def fit(self, source: keras.Model, images: np.ndarray, labels: np.ndarray) -> Any:
        """What the inner attack learns."""
        return self.wrapped.fit(source, images, labels)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        return self.crafted(source, x, y, seed=seed, training=training, state=state).images

    def crafted(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> Crafted:
        """See `Attack.crafted`; `changed` is that of the inner attack, unless it has no source."""
        made = self.wrapped.crafted(source, x, y, seed=seed, training=training, state=state)
        photographs = tf.constant(self.photographs(made.images.numpy(), seed=seed), made.images.dtype)
        changed = made.changed if self.wrapped.has_source else are_changed(x, photographs)
        return Crafted(photographs, changed, made.queries, wrapped=made.images)

    def photographs(self, images: np.ndarray, *, seed: Seed = 0) -> np.ndarray:
        """Photographs of any images: float32 in [0,1], of the same shape.

        Args:
            images: uint8 or floats in [0,1], [batch, height, width, channels].
            seed: seed of the transformations; each image has its own.

        Examples:
            >>> import numpy as np
            >>> from adv_networks import attacks
            >>> attacks.Photo(only="jpeg", quality=10).photographs(np.zeros((2, 8, 8, 1), np.uint8)).shape
            (2, 8, 8, 1)
        """
        check_images(images)
        images = images / np.float32(255) if images.dtype == np.uint8 else images
        camera = Camera(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Camera)})
        numbers, only = as_seed(seed).numpy().astype(np.uint32).tolist(), "" if self.only == _ALL else self.only
        made = [camera.photograph(image, np.random.default_rng([*numbers, row]), only=only) for row, image in enumerate(images)]
        return np.stack(made)
