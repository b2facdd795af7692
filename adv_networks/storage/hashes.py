"""Hashes of what a number depends on: weights, images and files, each 16 hexadecimal digits of SHA-256.

That of a file is the first digits of what `sha256sum` prints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adv_networks.errors import UserError
from adv_networks.storage.arrays import release
from adv_networks.storage.files import open_regular, read_text, reason, write_text, write_whole

if TYPE_CHECKING:
    import keras

DIGITS = 16
_AT_ONCE = 2**26


def weights_hash(model: keras.Model) -> str:
    """The hash of all weights, BN averages included."""
    return arrays_hash(*model.get_weights())


def images_hash(images: np.ndarray, labels: np.ndarray) -> str:
    """The hash of the images and labels."""
    return arrays_hash(images, labels)


def arrays_hash(*arrays: np.ndarray) -> str:
    """The hash of arrays in this order, of their shapes and elements."""
    total = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        total.update(str(array.shape).encode())
        rows = max(1, _AT_ONCE // max(1, array[:1].nbytes)) if array.ndim else 1
        # In parts, so that of one mapped from a file no more need be in memory.
        for part in [array[start : start + rows] for start in range(0, len(array), rows)] if array.ndim else [array]:
            total.update(part)
            release(part)
    return total.hexdigest()[:DIGITS]


def file_hash(file: Path) -> str:
    """The hash of the bytes of a file, or an OSError."""
    return _file_digest(file)[:DIGITS]


def _file_digest(file: Path) -> str:
    with open_regular(file) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_hashed(file: Path, write: Callable[[Path], None]) -> None:
    """`write_whole`, with the file's SHA-256 in `<file>.sha256` beside it, which `sha256sum --check` reads."""

    def write_both(temporary: Path) -> None:
        write(temporary)
        # Before the file takes its name, so that it is never there without its hash.
        write_text(_hash_file(file), f"{_file_digest(temporary)}  {file.name}\n")

    write_whole(file, write_both)


def check_hashed(file: Path, what: str, advice: str) -> None:
    """Raises a UserError, which says what was expected and ends with the advice, where a file of `write_hashed` has changed.

    A file of before there were hashes has none, and is taken as it is.
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
