"""Writing files whole: a reader, or the next run after a kill, sees the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from adv_networks.errors import UserError


@contextlib.contextmanager
def explained(doing: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turns an OSError, or another of `kinds`, into one line: what was being done, and what was found."""
    try:
        yield
    except (OSError, *kinds) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0][:200]
        raise UserError(f"{doing}: expected a place to write to, found: {reason}") from None


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Calls `write` with a temporary path beside `path` (of the same suffix), then renames it into place."""
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    with explained(f"writing {path}"):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


@contextlib.contextmanager
def locked(path: Path, *, wait: bool, busy: str = "") -> Iterator[None]:
    """Holds the lock file `path`, which the system frees when the process ends, however it ends.

    Raises:
        UserError: without `wait`, somebody else holds it (the message is `busy`), or it cannot be made.
    """
    with explained(f"locking {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise UserError(busy) from None
        yield
