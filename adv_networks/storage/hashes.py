"""Hashes of weights, files and images, by which results are told apart."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


def weights_hash(model: keras.Model) -> str:
    """16 hexadecimal digits of SHA-256 over all weights, BN averages included."""
    return _digest(*(np.ascontiguousarray(weight) for weight in model.get_weights()))


def file_hash(file: Path) -> str:
    """16 hexadecimal digits of SHA-256 over the bytes of a file."""
    return _digest(file.read_bytes())


def _digest(*parts: np.ndarray | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(str(getattr(part, "shape", "")).encode())
        total.update(part)
    return total.hexdigest()[:16]


def images_hash(images: np.ndarray, labels: np.ndarray) -> str:
    """16 hexadecimal digits of SHA-256 over the images and labels."""
    return _digest(np.ascontiguousarray(images), np.ascontiguousarray(labels))
