"""Another attack's images as a camera sees prints of them, which no longer are in any ball."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adv_networks.attacks.base import Crafted, are_changed, register, setting
from adv_networks.attacks.camera import TRANSFORMATIONS, Camera
from adv_networks.attacks.inputs import as_seed, check_images
from adv_networks.attacks.wrapper import Wrapper
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

_ALL = "all"


@register("photo", "photographs of prints of another attack's images; name it last: photo:blur=2:attack=fgs:epsilon=0.1")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Photo(Wrapper):
    """The attack `photo` as a column of tables: `wrapped` crafts the images, and has the ε and the norm.

    Every image is photographed by itself: the transformations are a function of the seed and of its place in the batch, so that
    all attacks' images in that place are photographed alike.
    """

    kind: ClassVar[str] = "photo"
    has_ball: ClassVar[bool] = False

    attack: str = setting("clean", "attack whose images are photographed, with its own arguments; give it last")
    only: str = setting(_ALL, "the one transformation to make", choices=(_ALL, *TRANSFORMATIONS))
    corners: float = setting(0.05, "share of the side that a corner moves by at most", least=0, most=0.4)
    misplaced: float = setting(1.5, "quarters of a pixel that a corner is misplaced by at most", least=0)
    blur: float = setting(3.0, "standard deviation of the blur in quarters of a pixel", least=0)
    least_contrast: float = setting(0.8, "least contrast", least=0)
    most_contrast: float = setting(1.1, "most contrast", least=0)
    brightness: float = setting(0.05, "most that is added to the brightness, or taken away", least=0, most=1)
    noise: float = setting(0.03, "standard deviation of the noise, of quarters of a pixel", least=0)
    quality: int = setting(80, "quality of the JPEG file", least=1, most=100)

    @property
    def access(self) -> str:
        """What the other attack reads."""
        return self.wrapped.access

    @property
    def learns(self) -> bool:
        """Whether the other attack does."""
        return self.wrapped.learns

    @property
    def learning_images(self) -> int:
        """Those of the other attack."""
        return self.wrapped.learning_images

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """See `Attack.check`.

        Raises:
            UsageError: also a least contrast above the most.
        """
        if self.least_contrast > self.most_contrast:
            least, most = self.least_contrast, self.most_contrast
            raise UsageError(f"least_contrast: expected a value of at most most_contrast, {most:g}, received {least:g}")
        super().check(classes=classes, bn_evaluation=bn_evaluation)

    def fit(self, source: keras.Model, images: np.ndarray, labels: np.ndarray) -> Any:
        """What the other attack learns."""
        return self.wrapped.fit(source, images, labels)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        return self.crafted(source, x, y, seed=seed, training=training, state=state).images

    def crafted(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> Crafted:
        """See `Attack.crafted`; what changed is what the other attack did, unless that is none."""
        made = self.wrapped.crafted(source, x, y, seed=seed, training=training, state=state)
        photographs = tf.constant(self.photographs(made.images.numpy(), seed=seed), made.images.dtype)
        changed = made.changed if self.wrapped.has_source else are_changed(x, photographs)
        return Crafted(photographs, changed, made.queries, wrapped=made.images)

    def photographs(self, images: np.ndarray, *, seed: Seed = 0) -> np.ndarray:
        """The photographs of images, whoever made them: float32 in [0,1] of the same shape.

        Args:
            images: uint8 or floats in [0,1], [batch, height, width, channels].
            seed: of what differs from image to image.

        Example:
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
