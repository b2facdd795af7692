"""Simulated photographs of printed images.

The image is enlarged, seen in perspective and rectified by its corners, blurred, changed in contrast and brightness, given
noise, compressed, and reduced to its original size, in this order. NumPy, SciPy and Pillow do the work, image by image.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

from adv_networks.lazy import Image, np, scipy

# How much larger an image is while it is photographed, in each direction.
ENLARGED = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Camera:
    """The strength of each transformation; lengths are in pixels of the enlarged image.

    Attributes:
        corners: maximum shift of a corner in each direction, as a fraction of the side.
        misplaced: maximum error, in pixels, of the corners by which the image is rectified.
        blur: standard deviation of the Gaussian blur.
        least_contrast: smallest factor by which the distance from middle grey is multiplied.
        most_contrast: largest such factor.
        brightness: maximum amount that is added or subtracted.
        noise: standard deviation of the Gaussian noise.
        quality: JPEG quality, from 1 to 100.
    """

    corners: float = 0.05
    misplaced: float = 1.5
    blur: float = 3.0
    least_contrast: float = 0.8
    most_contrast: float = 1.1
    brightness: float = 0.05
    noise: float = 0.03
    quality: int = 80

    def photograph(self, image: np.ndarray, rng: np.random.Generator, *, only: str = "") -> np.ndarray:
        """The photograph of an image: float32 in [0,1], of the same shape.

        Args:
            image: floats in [0,1], [height, width, channels].
            rng: random generator for the transformations.
            only: the only transformation to apply, a key of `TRANSFORMATIONS`; "" for all.
        """
        enlarged = _enlarge(image.astype(np.float32))
        for name, transform in TRANSFORMATIONS.items():
            if only in ("", name):
                enlarged = np.clip(transform(self, enlarged, rng), 0, 1)
        height, width, channels = image.shape
        blocks = enlarged.reshape(height, ENLARGED, width, ENLARGED, channels)
        return np.clip(blocks.mean((1, 3)), 0, 1).astype(np.float32)


def _enlarge(image: np.ndarray) -> np.ndarray:
    height, width, channels = image.shape
    size = ENLARGED * width, ENLARGED * height
    resized = [Image.fromarray(image[..., channel]).resize(size, Image.Resampling.BICUBIC) for channel in range(channels)]
    return np.clip(np.stack([np.asarray(channel) for channel in resized], -1), 0, 1)


def _homography(camera: Camera, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image seen in perspective, then rectified by estimated positions of its corners."""
    height, width, _ = image.shape
    own = np.array([[0, 0], [0, width - 1], [height - 1, 0], [height - 1, width - 1]], float)
    seen = own + rng.uniform(-camera.corners, camera.corners, own.shape) * [height, width]
    known = seen + rng.uniform(-camera.misplaced, camera.misplaced, own.shape)
    return _warped(_warped(image, homography(seen, own)), homography(own, known))


def homography(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The matrix [3, 3] of the projective map from four points to four others, both [4, 2]; its last element is 1."""
    equations, values = [], []
    for (row, column), there in zip(start, end, strict=True):
        for axis in range(2):
            terms = np.zeros((3, 3))
            terms[axis] = row, column, 1
            terms[2] = -there[axis] * np.array([row, column, 1])
            equations.append(terms.ravel()[:8])
            values.append(there[axis])
    return np.append(np.linalg.solve(np.array(equations), np.array(values)), 1).reshape(3, 3)


def _warped(image: np.ndarray, back: np.ndarray) -> np.ndarray:
    """The image whose pixel at p is that of `image` at back(p), linearly interpolated; edge pixels extend outwards."""
    height, width, _ = image.shape
    places = np.stack([*np.mgrid[:height, :width], np.ones((height, width))]).reshape(3, -1)
    rows, columns, scales = back @ places
    where = (np.stack([rows, columns]) / scales).reshape(2, height, width)
    channels = np.moveaxis(image, -1, 0)
    return np.stack([scipy.ndimage.map_coordinates(one, where, order=1, mode="nearest") for one in channels], -1)


def _blur(camera: Camera, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return scipy.ndimage.gaussian_filter(image, (camera.blur, camera.blur, 0), mode="nearest")


def _contrast(camera: Camera, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 0.5 + rng.uniform(camera.least_contrast, camera.most_contrast) * (image - 0.5)


def _brightness(camera: Camera, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image + rng.uniform(-camera.brightness, camera.brightness)


def _noise(camera: Camera, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image + rng.normal(0, camera.noise, image.shape)


def _jpeg(camera: Camera, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image after JPEG compression. Unless it has three channels, each channel is compressed as a grey image."""
    pixels = np.round(255 * image).astype(np.uint8)
    parts = [pixels] if pixels.shape[-1] == 3 else np.split(pixels, pixels.shape[-1], -1)
    read = []
    for part in parts:
        file = io.BytesIO()
        Image.fromarray(part if part.shape[-1] == 3 else part[..., 0]).save(file, "JPEG", quality=camera.quality)
        read.append(np.asarray(Image.open(file)).reshape(part.shape))
    return np.concatenate(read, -1) / np.float32(255)


TRANSFORMATIONS: dict[str, Callable[[Camera, np.ndarray, np.random.Generator], np.ndarray]] = {
    "homography": _homography,
    "blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "noise": _noise,
    "jpeg": _jpeg,
}
