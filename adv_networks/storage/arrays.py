"""NumPy's files, read with as much memory as they are long, whatever they say of themselves, and without running their code."""

from __future__ import annotations

import contextlib
import math
import mmap
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from adv_networks.errors import UserError
from adv_networks.storage.files import open_regular, reason

_SUFFIX = ".npy"


class NoArrays(ValueError):
    """A file holds no such arrays; the message says what it holds, on one line."""


def names_in_npz(file: Path) -> list[str]:
    """The names of the arrays in an `.npz`, or NoArrays or an OSError."""
    with open_regular(file) as handle:
        return [name.removesuffix(_SUFFIX) for name in _archive(handle).namelist()]


def read_npz(file: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of these names in an `.npz`; the others are not looked at.

    Raises:
        NoArrays: it is damaged, lacks one of them, or has Python objects in it.
        OSError: it cannot be read, or is no regular file.
    """
    with open_regular(file) as handle:
        archive = _archive(handle)
        return {name: _member(archive, name) for name in names}


def _archive(handle: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(handle)
    except Exception as error:  # Whatever zipfile raises of what is no zip file.
        raise NoArrays(reason(error)) from None


def _member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    try:
        information = archive.getinfo(f"{name}{_SUFFIX}")
        with archive.open(information) as member:
            shape, fortran, dtype = _header(member)
            _check_size(shape, dtype, information.file_size - member.tell())
            content = _read_all(member, information.file_size - member.tell())
            return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    except Exception as error:  # Whatever zipfile, the compressions and NumPy raise of damaged or hostile bytes.
        raise NoArrays(f"{name}: {reason(error)}") from None


def _read_all(member: zipfile.ZipExtFile, size: int) -> bytearray:
    """The next bytes, which are in memory once."""
    content = bytearray(size)
    rest = memoryview(content)
    while rest:
        count = member.readinto(rest)
        if not count:
            raise NoArrays(f"{len(rest)} bytes less than it says")
        rest = rest[count:]
    return content


def map_npy(file: Path) -> np.ndarray:
    """The array in an `.npy`, read from the file as it is used; NoArrays or an OSError where there is none."""
    with open_regular(file) as handle:
        try:
            shape, _, dtype = _header(handle)
            _check_size(shape, dtype, file.stat().st_size - handle.tell())
        except Exception as error:  # Whatever NumPy raises of damaged or hostile bytes.
            raise NoArrays(reason(error)) from None
    return np.load(file, mmap_mode="r")


def release(array: np.ndarray) -> None:
    """Lets the system take back the memory of what was read of a mapped array; of others nothing happens."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        with contextlib.suppress(OSError, ValueError):
            base.madvise(mmap.MADV_DONTNEED)


def load_npy(file: Path) -> np.ndarray:
    """The array in an `.npy` that a run has made.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return np.array(map_npy(file))
    except (OSError, NoArrays) as error:
        raise UserError(f"{file}: expected an array of its run, found: {reason(error)}") from None


def _header(handle: BinaryIO | zipfile.ZipExtFile) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran's order, and type of the array that follows."""
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
