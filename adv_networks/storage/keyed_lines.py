"""CSV files of lines with keys. Several processes may add lines, and the last line of each key counts.

Lines are appended under a lock. During this, the lock file says from where to where the file grows. If the process is killed,
the next reader or writer sees the file as it was before, without half a line. When more than half of the lines are replaced by
later ones, the file is rewritten without them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from adv_networks.errors import UserError
from adv_networks.storage.csv_rows import csv_text, write_rows
from adv_networks.storage.files import explained, locked, open_regular, reason, remove_leftovers
from adv_networks.storage.lines import MEND, Line, field_types, parse

# A file with fewer lines is not worth rewriting.
_FEW_LINES = 1000


@dataclasses.dataclass
class _Seen:
    """A file's inode, size and time when all its lines were valid, with their number and their keys."""

    identity: tuple[int, int, int]
    lines: int
    keys: set[str]


# By file and kind, so that a process that adds many lines does not read the earlier lines each time.
_seen: dict[tuple[Path, type], _Seen] = {}


def read(file: Path, kind: type[Line]) -> list[Line]:
    """The last line of each key in a file, in the order in which they were added; none if there is no file.

    A file may be older than the kind's last fields, which then have their defaults.

    Raises:
        UserError: the file is not a whole file of that kind, or has an impossible value. It is not changed.
    """
    if not file.exists():
        return []
    lines = parse(file, kind, _committed(file))
    last = {line.key: number for number, line in enumerate(lines)}
    return lines if len(last) == len(lines) else [lines[number] for number in sorted(last.values())]


def check(file: Path, kind: type[Line]) -> None:
    """Raises the UserError that `merge` would raise, before the work that makes the lines. Removes files of killed writers."""
    with locked(_lock(file), wait=True) as lock:
        remove_leftovers(file.parent)
        _recover(file, lock)
        if file.exists():
            _look(file, kind)


def merge(file: Path, new: Iterable[Line], kind: type[Line]) -> None:
    """Adds lines to a file, to which other processes may add too. Earlier lines of the same keys no longer count.

    Raises:
        UserError: the file is not a whole file of that kind, a new line has an impossible value, or the file cannot be written.
            It is not changed.
    """
    new = list(new)
    parse(file, kind, _bytes(new, list(field_types(kind))), in_file=False)
    with locked(_lock(file), wait=True) as lock:
        _recover(file, lock)
        seen = _look(file, kind) if file.exists() else None
        fields = None if seen is None else _fields_for(new, file, kind)
        if fields is None:
            _write(file, [*read(file, kind), *new], kind)
        elif new:
            _append(file, _bytes(new, fields).partition(b"\n")[2], lock)
            seen.identity, seen.lines = _identity(file), seen.lines + len(new)
            seen.keys.update(line.key for line in new)
            if seen.lines > max(_FEW_LINES, 2 * len(seen.keys)):
                _write(file, read(file, kind), kind)


def _lock(file: Path) -> Path:
    return file.with_name(f".{file.name}.lock")


def _write(file: Path, lines: Iterable[Line], kind: type[Line]) -> None:
    last: dict[str, Line] = {}
    for line in lines:
        last.pop(line.key, None)
        last[line.key] = line
    write_rows(file, list(field_types(kind)), list(map(vars, last.values())))


def _identity(file: Path) -> tuple[int, int, int]:
    with explained(f"reading {file}"):
        found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _look(file: Path, kind: type[Line]) -> _Seen:
    """What is known of a file, which is read if it has changed since this process used it. The caller holds the lock."""
    path, identity = (file.resolve(), kind), _identity(file)
    if path not in _seen or _seen[path].identity != identity:
        lines = parse(file, kind, _committed(file))
        _seen[path] = _Seen(identity, len(lines), {line.key for line in lines})
    return _seen[path]


def _bytes(lines: Iterable[Line], fields: Sequence[str]) -> bytes:
    """The bytes of a file that has these lines with these fields."""
    return csv_text(fields, ({name: getattr(line, name) for name in fields} for line in lines)).encode("utf-8")


def _fields_for(new: Iterable[Line], file: Path, kind: type[Line]) -> list[str] | None:
    """The fields with which new lines can be appended to a file; None if they cannot.

    They cannot if the file lacks a field in which a new line is not at its default, or if its last line has no line end.
    """
    with open_regular(file) as handle:
        header = handle.readline().decode("utf-8").rstrip("\r\n").split(",")
        handle.seek(-1, os.SEEK_END)
        has_end = handle.read() == b"\n"
    younger = [field for field in dataclasses.fields(kind) if field.name not in header]
    fits = all(getattr(line, field.name) == field.default for line in new for field in younger)
    return header if fits and has_end else None


def _append(file: Path, added: bytes, lock: int) -> None:
    """Appends bytes so that `_committed` and `_recover` count all of them or none, whatever happens meanwhile."""
    with explained(f"writing {file}"):
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            os.pwrite(lock, f"{found.st_ino} {found.st_size} {found.st_size + len(added)}\n".encode(), 0)
            rest = memoryview(added)
            try:
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            except BaseException:
                os.ftruncate(descriptor, found.st_size)
                raise
            finally:
                os.ftruncate(lock, 0)
        finally:
            os.close(descriptor)


def _whole_size(inode: int, size: int, journal: bytes) -> int:
    """How many bytes of a file of this size count, according to the journal in its lock file."""
    entry = re.fullmatch(rb"(\d+) (\d+) (\d+)\n", journal)
    if entry is None:
        return size
    own, start, end = map(int, entry.groups())
    return start if own == inode and start < size < end else size


def _recover(file: Path, lock: int) -> None:
    """Removes lines that a killed process has half appended. The caller holds the lock."""
    journal = os.pread(lock, 100, 0)
    if journal and file.exists():
        with explained(f"writing {file}"):
            found = file.stat()
            os.truncate(file, _whole_size(found.st_ino, found.st_size, journal))
            os.ftruncate(lock, 0)


def _committed(file: Path) -> bytes:
    """The bytes of a file, without lines that are being appended, or that a killed process left incomplete."""
    while True:
        try:
            with open_regular(file) as handle:
                data, journal = handle.read(), b""
                with contextlib.suppress(FileNotFoundError), open_regular(_lock(file)) as lock:
                    journal = lock.read(100)
                found = os.fstat(handle.fileno())
        except OSError as error:
            raise UserError(f"{file}: expected a file of records, found: {reason(error)} {MEND}") from None
        whole = _whole_size(found.st_ino, len(data), journal)
        # If the file has grown since, it may have been read during an append.
        if whole < len(data) or found.st_size == len(data):
            return data[:whole]
