"""Reads `.npy` and `.npz` files with no more memory than their size, whatever their headers say, and runs no code in them."""

from __future__ import annotations

import contextlib
import math
import mmap
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

from adv_networks.errors import UserError
from adv_networks.lazy import np
from adv_networks.storage.files import open_regular, reason

_SUFFIX = ".npy"


class NoArrays(ValueError):
    """A file does not hold the arrays asked for; the message says on one line what it holds."""


def names_in_npz(file: Path) -> list[str]:
    """The names of the arrays in an `.npz`.

    Raises:
        NoArrays: it is not a zip archive.
        OSError: it cannot be read, or is not a regular file.
    """
    with open_regular(file) as handle:
        return [name.removesuffix(_SUFFIX) for name in _archive(handle).namelist()]


def read_npz(file: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of these names in an `.npz`; its other arrays are not read.

    Raises:
        NoArrays: it is damaged, lacks one of these arrays, or one of them holds Python objects.
        OSError: it cannot be read, or is not a regular file.
    """
    with open_regular(file) as handle:
        archive = _archive(handle)
        return {name: _member(archive, name) for name in names}


def _archive(handle: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(handle)
    except Exception as error:  # zipfile raises many types for a file that is not a zip archive.
        raise NoArrays(reason(error)) from None


def _member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    try:
        information = archive.getinfo(f"{name}{_SUFFIX}")
        with archive.open(information) as member:
            shape, fortran, dtype = _header(member)
            _check_size(shape, dtype, information.file_size - member.tell())
            content = _read_all(member, information.file_size - member.tell())
            return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    except Exception as error:  # Damaged or hostile bytes: zipfile, the codecs and NumPy raise many types.
        raise NoArrays(f"{name}: {reason(error)}") from None


def _read_all(member: zipfile.ZipExtFile, size: int) -> bytearray:
    """The next `size` bytes, read without a second copy in memory."""
    content = bytearray(size)
    rest = memoryview(content)
    while rest:
        count = member.readinto(rest)
        if not count:
            raise NoArrays(f"{len(rest)} bytes less than it says")
        rest = rest[count:]
    return content


def map_npy(file: Path) -> np.ndarray:
    """The array in an `.npy`, memory-mapped: parts are read from the file when they are used.

    Raises:
        NoArrays: it is damaged, or holds Python objects.
        OSError: it cannot be read, or is not a regular file.
    """
    with open_regular(file) as handle:
        try:
            shape, _, dtype = _header(handle)
            _check_size(shape, dtype, file.stat().st_size - handle.tell())
        except Exception as error:  # Damaged or hostile bytes: NumPy raises many types.
            raise NoArrays(reason(error)) from None
    return np.load(file, mmap_mode="r")


def release(array: np.ndarray) -> None:
    """Frees the memory of the parts of a mapped array that were read; does nothing to other arrays."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        with contextlib.suppress(OSError, ValueError):
            base.madvise(mmap.MADV_DONTNEED)


def load_npy(file: Path) -> np.ndarray:
    """The array in an `.npy` that a run wrote.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return np.array(map_npy(file))
    except (OSError, NoArrays) as error:
        raise UserError(f"{file}: expected an array of its run, found: {reason(error)}") from None


def _header(handle: BinaryIO | zipfile.ZipExtFile) -> tuple[tuple[int, ...], bool, np.dtype]:
    """The shape of the array that follows, whether it is in Fortran order, and its type."""
    version = np.lib.format.read_magic(handle)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise NoArrays(f"version {version} of NumPy's format")
    shape, fortran, dtype = readers[version](handle)
    if dtype.hasobject:
        raise NoArrays("Python objects")
    return shape, fortran, dtype


def _check_size(shape: tuple[int, ...], dtype: np.dtype, found: int) -> None:
    expected = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or expected != found:
        raise NoArrays(f"{found} bytes for {dtype} {list(shape)}, which takes {expected}")
