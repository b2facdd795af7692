"""Hashes of weights, images and files, on which numbers depend. Each is 16 hexadecimal digits of a SHA-256.

The hash of a file has the first digits of what `sha256sum` prints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from adv_networks.errors import UserError
from adv_networks.lazy import np
from adv_networks.storage.arrays import release
from adv_networks.storage.files import open_regular, read_text, reason, write_text, write_whole

if TYPE_CHECKING:
    import keras

DIGITS = 16
_AT_ONCE = 2**26


def weights_hash(model: keras.Model) -> str:
    """The hash of all weights, BN averages included.

    Examples:
        >>> import keras
        >>> from adv_networks import evaluation
        >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> copy = keras.models.clone_model(model)
        >>> copy.set_weights(model.get_weights())
        >>> evaluation.weights_hash(copy) == evaluation.weights_hash(model)
        True
    """
    return arrays_hash(*model.get_weights())


def images_hash(images: np.ndarray, labels: np.ndarray) -> str:
    """The hash of the images and labels.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import evaluation
        >>> images, labels = np.zeros((2, 4, 4, 1), np.uint8), np.array([0, 1])
        >>> evaluation.images_hash(images, labels) == evaluation.images_hash(images, labels[::-1])
        False
    """
    return arrays_hash(images, labels)


def arrays_hash(*arrays: np.ndarray) -> str:
    """The hash of the shapes and elements of arrays, in this order."""
    total = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        total.update(str(array.shape).encode())
        rows = max(1, _AT_ONCE // max(1, array[:1].nbytes)) if array.ndim else 1
        # In parts, so that only one part of an array that is mapped from a file must be in memory.
        for part in [array[start : start + rows] for start in range(0, len(array), rows)] if array.ndim else [array]:
            total.update(part)
            release(part)
    return total.hexdigest()[:DIGITS]


def file_hash(file: Path) -> str:
    """The hash of the bytes of a file; raises an OSError if it cannot be read.

    Examples:
        >>> import pathlib, tempfile
        >>> from adv_networks import evaluation
        >>> with tempfile.TemporaryDirectory() as place:
        ...     size = pathlib.Path(place, "letters.txt").write_text("abc")
        ...     evaluation.file_hash(pathlib.Path(place, "letters.txt"))
        'ba7816bf8f01cfea'
    """
    return _file_digest(file)[:DIGITS]


def _file_digest(file: Path) -> str:
    with open_regular(file) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_hashed(file: Path, write: Callable[[Path], None]) -> None:
    """Like `write_whole`, and writes the file's SHA-256 to `<file>.sha256`, which `sha256sum --check` reads."""

    def write_both(temporary: Path) -> None:
        write(temporary)
        # The hash is written before the file gets its name, so the file never exists without its hash.
        write_text(_hash_file(file), f"{_file_digest(temporary)}  {file.name}\n")

    write_whole(file, write_both)


def check_hashed(file: Path, what: str, advice: str) -> None:
    """Raises a UserError if a file of `write_hashed` has changed; the message says what was expected, and ends with the advice.

    An older file without a hash is accepted.
    """
    if not _hash_file(file).exists():
        return
    try:
        expected, found = read_text(_hash_file(file)).split()[0], _file_digest(file)
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise UserError(f"{_hash_file(file)}: expected the SHA-256 of {file.name}, found: {reason(error)} ({advice})") from None
    if found != expected:
        raise UserError(
            f"{file}: expected {what} as they were written, SHA-256 {expected[:DIGITS]}…, found {found[:DIGITS]}… ({advice})"
        )


def _hash_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")
