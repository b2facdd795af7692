"""Writing files whole: a reader, or the next run after a kill, sees the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import os
import platform
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adv_networks.errors import UserError

_UNFINISHED = ".writing-"


@contextlib.contextmanager
def explained(doing: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turns an OSError, or another of `kinds`, into one line: what was being done, and what was found."""
    try:
        yield
    except (OSError, *kinds) as error:
        raise UserError(f"{doing}: expected a place to write to, found: {reason(error)}") from None


def reason(error: Exception) -> str:
    """What an error says, on one line, without the names of nodes and the file that TensorFlow puts before it."""
    said = re.sub(r"^(\{\{.*?\}\}\s*)*(/.*?; )?", "", getattr(error, "strerror", None) or str(error).strip())
    return said.splitlines()[0][:200] if said else type(error).__name__


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
    """Removes the temporary files that `write_whole` left in a directory where its process was killed, on this machine."""
    for file in directory.glob(f".*{_UNFINISHED}*"):
        host, _, rest = file.name.rpartition(_UNFINISHED)[2].partition("-")
        writer = rest.partition("-")[0]
        if host == _host() and writer.isdigit() and not _is_alive(int(writer)):
            with explained(f"removing {file}"):
                file.unlink(missing_ok=True)


def _host() -> str:
    return re.sub(r"\W|_", "", platform.node())[:40]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # It is somebody else's.
    return True


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def csv_text(fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV, a line per row with all of `fields`; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_rows(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file by field.

    Raises:
        UserError: no such file, or not one of lines that all have its fields.
    """
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a table, found: {reason(error)} (remove it, and make it again)") from None
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise UserError(
                f"{path} line {number}: expected the header's fields, found more or fewer (remove it, and make it again)"
            )
    return rows


def write_rows(path: Path, fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes `csv_text` as a whole file."""
    write_text(path, csv_text(fields, rows))


def merge_rows(path: Path, fields: Sequence[str], rows: Sequence[Mapping[str, Any]], datasets: Collection[str]) -> None:
    """Writes rows of these data sets into a CSV file, which keeps the lines that it has of others.

    Raises:
        UserError: what is there is no file of such lines; it is left as it is.
    """
    earlier = read_rows(path) if path.exists() else []
    if earlier and list(earlier[0]) != list(fields):
        found = ",".join(earlier[0])[:60]
        raise UserError(f"{path}: expected the header {','.join(fields)[:60]}…, found {found} (remove it, and make it again)")
    write_rows(path, fields, [*(line for line in earlier if line["dataset"] not in datasets), *rows])


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
