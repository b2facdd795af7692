"""Reads PNG and JPEG files as arrays; refuses images that would lose information (transparency, 16 bits per channel)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from adv_networks.errors import UserError
from adv_networks.lazy import np
from adv_networks.storage.files import open_regular, reason

SUFFIXES = (".png", ".jpg", ".jpeg")
# The formats are checked by a file's contents, not its name. Pillow would pass other formats to more decoders and programs
# (Ghostscript), and would read 16 bits per channel as 8.
_FORMATS = ("PNG", "JPEG")
_PNG, _BIT_DEPTH_AT = b"\x89PNG\r\n\x1a\n", 24


def read(file: Path, resize: tuple[int, int] | None = None) -> np.ndarray:
    """An image as uint8: [H, W] if it is grey, otherwise [H, W, 3].

    Args:
        file: a PNG or JPEG file.
        resize: height and width to resize it to, bilinear with antialiasing.

    Raises:
        UserError: not a PNG or JPEG image, or one whose pixels are not 8-bit grey or RGB.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if file.suffix.lower() not in SUFFIXES:
        raise UserError(f"{file}: expected a PNG or JPEG image, found another file")
    try:
        with open_regular(file) as handle:
            _check_depth(file, handle)
            with Image.open(handle, formats=_FORMATS) as opened:
                _check_mode(file, opened)
                picture = ImageOps.exif_transpose(opened)
                picture = picture.convert("RGBA") if "transparency" in opened.info else picture
                picture = picture.convert("L" if opened.mode in ("1", "L") else "RGB")
        if resize is not None and picture.size != resize[::-1]:
            picture = picture.resize(resize[::-1], Image.Resampling.BILINEAR)
        return np.asarray(picture)
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"{file}: expected a PNG or JPEG image, found another kind of file under that name") from None
    except Exception as error:  # Pillow and its codecs may raise anything for damaged or malicious files.
        raise UserError(f"{file}: expected a PNG or JPEG image, found: {reason(error)}") from None


def resized(images: np.ndarray, resize: tuple[int, int]) -> np.ndarray:
    """Images uint8 [N, H, W, C], resized to a height and width as `read` does."""
    from PIL import Image

    result = np.empty((len(images), *resize, images.shape[3]), np.uint8)
    for number, image in enumerate(images):
        picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
        result[number] = np.asarray(picture.resize(resize[::-1], Image.Resampling.BILINEAR)).reshape(result.shape[1:])
    return result


def _check_depth(file: Path, handle: BinaryIO) -> None:
    """Refuses a PNG with 16 bits per channel, of which Pillow would silently read only the upper 8 bits of each colour."""
    start = handle.read(_BIT_DEPTH_AT + 1)
    handle.seek(0)
    if start.startswith(_PNG) and len(start) > _BIT_DEPTH_AT and start[_BIT_DEPTH_AT] == 16:
        raise UserError(f"{file}: expected 8 bits per channel, found 16 (save it with 8)")


def _check_mode(file: Path, opened: Any) -> None:
    """Refuses animations, modes other than grey and RGB, and transparent pixels, whose background only the user knows."""
    if opened.format == "PNG" and getattr(opened, "n_frames", 1) > 1:
        raise UserError(f"{file}: expected one image, found an animation of {opened.n_frames}")
    if opened.mode not in ("1", "L", "P", "RGB"):
        raise UserError(f"{file}: expected 8 bits per channel, grey or RGB without transparency, found mode {opened.mode}")
    if "transparency" in opened.info and opened.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise UserError(f"{file}: expected an image without transparency, found transparent pixels")
