"""Files and locks. A reader, or the next run after a kill, sees the old file or the new one, never half a file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from adv_networks.errors import UserError

_UNFINISHED = ".writing-"
_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@contextlib.contextmanager
def explained(doing: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turns an OSError, or an error of `kinds`, into a UserError of one line: what was being done, and what was found."""
    try:
        yield
    except (OSError, *kinds) as error:
        raise UserError(f"{doing}: expected a place to write to, found: {reason(error)}") from None


def reason(error: Exception) -> str:
    """The message of an error on one line, without the node names and the file that TensorFlow puts before it."""
    said = getattr(error, "strerror", None) or str(error).strip()
    # In a graph, TensorFlow first says where an operation was defined, and then what is wrong.
    if said.startswith("Graph execution error") and (named := re.search(r"\n([^\n]+)\n\s*\[\[\{\{node", said)):
        said = named[1].strip()
    # Keras first says which layer's call failed, and then why, in bold.
    said = re.sub(r"^Exception encountered when calling .*\n\s*(\x1b\[1m)?([^\x1b\n]+)(\x1b\[0m)?", r"\2", said)
    said = re.sub(r"^(\{\{.*?\}\}\s*)*(/.*?; )?", "", said)
    return said.splitlines()[0][:200] if said else type(error).__name__


def open_regular(path: Path) -> BinaryIO:
    """Opens a file to read its bytes, without ever blocking: a FIFO in its place would block the reader forever.

    Raises:
        OSError: it cannot be opened, or is a FIFO, a socket or a device.
    """
    return os.fdopen(_opened(path, os.O_RDONLY), "rb")


def read_text(path: Path) -> str:
    """The text of a file in UTF-8.

    Raises:
        OSError: as in `open_regular`.
        UnicodeDecodeError: the file is not UTF-8.
    """
    with open_regular(path) as handle:
        return handle.read().decode("utf-8")


def _opened(path: Path, flags: int) -> int:
    """A descriptor of a regular file, which the caller closes; raises an OSError for anything else."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind in _KINDS:
            raise OSError(errno.EINVAL, f"{_KINDS[kind]} in place of a file", str(path))
        if kind == stat.S_IFDIR:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Calls `write` with a temporary path beside `path` (of the same suffix), then renames it into place."""
    temporary = path.with_name(f".{path.stem}{_UNFINISHED}{_host()}-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    with explained(f"writing {path}"):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_leftovers(directory: Path) -> None:
    """Removes temporary files that `write_whole` left in a directory because its process on this machine was killed."""
    for file in directory.glob(f".*{_UNFINISHED}*"):
        host, _, rest = file.name.rpartition(_UNFINISHED)[2].partition("-")
        writer = rest.partition("-")[0]
        if host == _host() and writer.isdecimal() and not _is_alive(int(writer)):
            with explained(f"removing {file}"):
                file.unlink(missing_ok=True)


def _host() -> str:
    return re.sub(r"\W|_", "", platform.node())[:40]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # The process exists, and belongs to another user.
    return True


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


@contextlib.contextmanager
def locked(path: Path, *, wait: bool, busy: str = "") -> Iterator[int]:
    """Holds the lock file `path`, and yields its descriptor. The system frees the lock when the process ends in any way.

    Raises:
        UserError: another process holds the lock and `wait` is false (the message is `busy`), or it cannot be created.
    """
    with contextlib.ExitStack() as stack:
        with explained(f"locking {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = _opened(path, os.O_RDWR | os.O_CREAT)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise UserError(busy) from None
        yield descriptor
