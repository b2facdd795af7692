"""CSV files of lines with keys, which several processes add to, and of which the last of a key counts.

Lines are appended under a lock. While that goes on, the lock file says from where to where the file grows, so that a process
that is killed meanwhile leaves no half a line: whoever reads or writes next takes the file as it was before. A file whose
replaced lines outnumber the others is written anew, without them.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import gc
import io
import itertools
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from adv_networks.errors import UserError
from adv_networks.storage.csv_rows import csv_text, write_rows
from adv_networks.storage.files import explained, locked, open_regular, reason, remove_leftovers
from adv_networks.storage.hashes import DIGITS
from adv_networks.storage.names import printable

_MEND = "(mend it or move it away)"
_TYPES = {"str": str, "int": int, "float": float}
_HASH = re.compile(f"[0-9a-f]{{{DIGITS}}}")
_ROWS_AT_ONCE = 2048
# Longer texts, such as versions, are kept once in memory however many lines have them.
_LONG_TEXT = 30
# A file of fewer lines is not worth writing anew.
_FEW_LINES = 1000


class Keyed(Protocol):
    """A line: a frozen dataclass of texts, whole numbers from 0 on and finite numbers, with a key.

    It may have a method `fault`, which says of the first field that cannot be what it is beside the others its name and what
    was expected, or None.
    """

    key: str


Line = TypeVar("Line", bound=Keyed)


@dataclasses.dataclass
class _Seen:
    """What a file was, by its inode, size and time, when all its lines were valid: how many, and their keys."""

    identity: tuple[int, int, int]
    lines: int
    keys: set[str]


# By file and kind, so that a process that adds many lines does not read the earlier ones each time.
_seen: dict[tuple[Path, type], _Seen] = {}


def read(file: Path, kind: type[Line]) -> list[Line]:
    """The lines of a file, the last of each key, in the order in which these were added; none if there is no file.

    A file may be older than the kind's last fields, which then have their defaults.

    Raises:
        UserError: the file is not a whole one of that kind, or has a value that cannot be; it is left as it is.
    """
    if not file.exists():
        return []
    lines = _parsed(file, kind, _committed(file))
    last = {line.key: number for number, line in enumerate(lines)}
    return lines if len(last) == len(lines) else [lines[number] for number in sorted(last.values())]


def check(file: Path, kind: type[Line]) -> None:
    """Raises a UserError where `merge` would, before the work whose lines it is to keep; removes killed writers' files."""
    with locked(_lock(file), wait=True) as lock:
        remove_leftovers(file.parent)
        _recover(file, lock)
        if file.exists():
            _look(file, kind)


def merge(file: Path, new: Iterable[Line], kind: type[Line]) -> None:
    """Adds lines to a file that other processes may be adding to; an earlier one of the same key counts no more.

    Raises:
        UserError: the file is not a whole one of that kind, a new line has a value that cannot be, or it cannot be written;
            it is left as it is.
    """
    new = list(new)
    text = csv_text(list(_fields(kind)), map(vars, new)).encode("utf-8")
    _parsed(file, kind, text, in_file=False)
    header, _, added = text.partition(b"\n")
    with locked(_lock(file), wait=True) as lock:
        _recover(file, lock)
        seen = _look(file, kind) if file.exists() else None
        if seen is None or not _takes_lines(file, header):
            _write(file, [*read(file, kind), *new], kind)
        elif new:
            _append(file, added, lock)
            seen.identity, seen.lines = _identity(file), seen.lines + len(new)
            seen.keys.update(line.key for line in new)
            if seen.lines > max(_FEW_LINES, 2 * len(seen.keys)):
                _write(file, read(file, kind), kind)


def _lock(file: Path) -> Path:
    return file.with_name(f".{file.name}.lock")


def _fields(kind: type) -> dict[str, type]:
    return {field.name: _TYPES[str(field.type)] for field in dataclasses.fields(kind)}


def _write(file: Path, lines: Iterable[Line], kind: type[Line]) -> None:
    last: dict[str, Line] = {}
    for line in lines:
        last.pop(line.key, None)
        last[line.key] = line
    write_rows(file, list(_fields(kind)), list(map(vars, last.values())))


def _identity(file: Path) -> tuple[int, int, int]:
    with explained(f"reading {file}"):
        found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _look(file: Path, kind: type[Line]) -> _Seen:
    """What there is, read if it has changed since this process read it or added to it. The caller holds the lock."""
    path, identity = (file.resolve(), kind), _identity(file)
    if path not in _seen or _seen[path].identity != identity:
        lines = _parsed(file, kind, _committed(file))
        _seen[path] = _Seen(identity, len(lines), {line.key for line in lines})
    return _seen[path]


def _takes_lines(file: Path, header: bytes) -> bool:
    """Whether new lines can stand behind what is there: it has all fields of today, and its last line has an end."""
    with open_regular(file) as handle:
        if handle.readline().rstrip(b"\r\n") != header:
            return False
        handle.seek(-1, os.SEEK_END)
        return handle.read() == b"\n"


def _append(file: Path, added: bytes, lock: int) -> None:
    """Appends bytes so that all of them count or none, for `_committed` and `_recover`, whatever happens meanwhile."""
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
    """How much of a file of that size counts, by what its lock file says of the last time that lines were added."""
    entry = re.fullmatch(rb"(\d+) (\d+) (\d+)\n", journal)
    if entry is None:
        return size
    own, start, end = map(int, entry.groups())
    return start if own == inode and start < size < end else size


def _recover(file: Path, lock: int) -> None:
    """Undoes what a process that was killed has half appended. The caller holds the lock."""
    journal = os.pread(lock, 100, 0)
    if journal and file.exists():
        with explained(f"writing {file}"):
            found = file.stat()
            os.truncate(file, _whole_size(found.st_ino, found.st_size, journal))
            os.ftruncate(lock, 0)


def _committed(file: Path) -> bytes:
    """The bytes of a file, without what is being appended, or was when its process was killed."""
    while True:
        try:
            with open_regular(file) as handle:
                data, journal = handle.read(), b""
                with contextlib.suppress(FileNotFoundError), open_regular(_lock(file)) as lock:
                    journal = lock.read(100)
                found = os.fstat(handle.fileno())
        except OSError as error:
            raise UserError(f"{file}: expected a file of records, found: {reason(error)} {_MEND}") from None
        whole = _whole_size(found.st_ino, len(data), journal)
        # What has grown since was perhaps read while it was appended to.
        if whole < len(data) or found.st_size == len(data):
            return data[:whole]


def _parsed(file: Path, kind: type[Line], data: bytes, *, in_file: bool = True) -> list[Line]:
    """The lines that bytes of a file, or to be added to it, have after their header."""
    header = _header(file, kind, data)
    make, result = _maker(kind, header), []
    rows = _rows(data)
    next(rows)
    try:
        with _without_collection():
            while some := list(itertools.islice(rows, _ROWS_AT_ONCE)):
                result += make(some)
    except (ValueError, csv.Error):
        line, fault = _first_fault(kind, header, data)
        where, advice = (f"{file} line {line}", f" {_MEND}") if in_file else (f"{file}: a new line", "")
        raise UserError(f"{where}, {fault}{advice}") from None
    return result


def _rows(data: bytes) -> Iterator[list[str]]:
    return csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline=""), strict=True)


def _header(file: Path, kind: type, data: bytes) -> list[str]:
    """The fields that a file has: all of the kind, or without the last that have defaults."""
    fields = list(_fields(kind))
    required = sum(field.default is dataclasses.MISSING for field in dataclasses.fields(kind))
    try:
        header = next(_rows(data), None)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: expected a file of records, found: {reason(error)} {_MEND}") from None
    if header is None or len(header) < required or header != fields[: len(header)]:
        found = ",".join(header)[:60] if header else "an empty file"
        raise UserError(f"{file}: expected the header {','.join(fields)[:60]}…, found {printable(found)} {_MEND}")
    return header


def _maker(kind: type[Line], header: Sequence[str]) -> Callable[[list[list[str]]], list[Line]]:
    """A function of rows to lines, fast as files are long; where a value cannot be it raises a ValueError."""
    columns = [(_fields(kind)[name], _is_hash(name)) for name in header]
    # The constructor of a frozen dataclass takes four times as long.
    open_kind = dataclasses.make_dataclass(
        kind.__name__,
        [(field.name, field.type, dataclasses.field(default=field.default)) for field in dataclasses.fields(kind)],
    )
    fault = getattr(kind, "fault", None)
    shared: dict[str, str] = {}

    def make(rows: list[list[str]]) -> list[Line]:
        if set(map(len, rows)) != {len(header)}:
            raise ValueError
        values = [
            _column(texts, type_, is_hash, shared)
            for texts, (type_, is_hash) in zip(zip(*rows, strict=True), columns, strict=True)
        ]
        lines = list(map(open_kind, *values))
        for line in lines:
            line.__class__ = kind
        if fault and any(map(fault, lines)):
            raise ValueError
        return lines

    return make


def _column(texts: Sequence[str], type_: type, is_hash: bool, shared: dict[str, str]) -> Sequence[Any]:
    if type_ is str:
        if is_hash and any(map(_is_number, set(texts))):
            raise ValueError
        return list(map(shared.setdefault, texts, texts)) if len(texts[0]) > _LONG_TEXT else texts
    values = {text: type_(text) for text in set(texts)}
    if min(values.values()) < 0 if type_ is int else not all(map(math.isfinite, values.values())):
        raise ValueError
    return list(map(values.__getitem__, texts))


def _is_hash(field: str) -> bool:
    return field in ("key", "identity") or field.endswith("_hash")


def _is_number(text: str) -> bool:
    """Whether a text is a number but no hash: what a spreadsheet makes of a hash of digits and one e."""
    if not text or _HASH.fullmatch(text):
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _first_fault(kind: type[Line], header: Sequence[str], data: bytes) -> tuple[int, str]:
    """The number of the first line that is not one of the kind, and what is wrong with it."""
    rows = _rows(data)
    for number in itertools.count(1):
        try:
            row = next(rows)
        except (UnicodeDecodeError, csv.Error) as error:
            return number, f"expected a line of CSV, found: {reason(error)}"
        if number > 1 and (fault := _fault(kind, header, row)):
            return number, fault
    raise AssertionError


def _fault(kind: type[Line], header: Sequence[str], row: Sequence[str]) -> str | None:
    if len(row) != len(header):
        return f"expected {len(header)} fields, found {len(row)}"
    expected = {
        str: f"{DIGITS} hexadecimal digits, not the number that a spreadsheet makes of them",
        int: "a whole number from 0 on",
        float: "a finite number",
    }
    values = []
    for name, text in zip(header, row, strict=True):
        type_ = _fields(kind)[name]
        try:
            values += _column([text], type_, _is_hash(name), {})
        except ValueError:
            return f"column {name}: expected {expected[type_]}, found {printable(text[:40])}"
    found = getattr(kind, "fault", lambda line: None)(kind(*values))
    if found is None:
        return None
    name, wanted = found
    return f"column {name}: expected {wanted}, found {printable(row[header.index(name)][:40])}"


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Without a search for circles of garbage, which takes as long as reading many lines does, and finds none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
