"""Lines of a CSV file as dataclasses: read fast, as there may be many, and refused where a value cannot be."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import gc
import io
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from adv_networks.errors import UserError
from adv_networks.storage.files import reason
from adv_networks.storage.hashes import DIGITS
from adv_networks.storage.names import printable

MEND = "(repair it, or move it away)"


def _or_none(type_: Callable[[str], Any]) -> Callable[[str], Any]:
    """The type of a field that may be empty, for None."""
    return lambda text: type_(text) if text else None


_TYPES = {"str": str, "int": int, "float": float, "int | None": _or_none(int), "float | None": _or_none(float)}
_HASH = re.compile(f"[0-9a-f]{{{DIGITS}}}")
_ROWS_AT_ONCE = 2048
# Longer texts, such as versions, are kept once in memory however many lines have them.
_LONG_TEXT = 30


class Keyed(Protocol):
    """A line: a frozen dataclass of texts, whole numbers from 0 on and finite numbers, either perhaps None, with a key.

    It may have a method `fault`, which says of the first field that cannot be what it is beside the others its name and what
    was expected, or None.
    """

    key: str


Line = TypeVar("Line", bound=Keyed)


def field_types(kind: type) -> dict[str, Callable[[str], Any]]:
    """The types of a kind's fields, by name."""
    return {field.name: _TYPES[str(field.type)] for field in dataclasses.fields(kind)}


def parse(file: Path, kind: type[Line], data: bytes, *, in_file: bool = True) -> list[Line]:
    """The lines that the bytes of a file, or of what is to be added to it (not `in_file`), have after their header.

    Raises:
        UserError: they are not whole lines of that kind, or have a value that cannot be; the first line and column are named.
    """
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
        where, advice = (f"{file} line {line}", f" {MEND}") if in_file else (f"{file}: a new line", "")
        raise UserError(f"{where}, {fault}{advice}") from None
    return result


def _rows(data: bytes) -> Iterator[list[str]]:
    return csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline=""), strict=True)


def _header(file: Path, kind: type, data: bytes) -> list[str]:
    """The fields that a file has: all of the kind, or without the last that have defaults."""
    fields = list(field_types(kind))
    required = sum(field.default is dataclasses.MISSING for field in dataclasses.fields(kind))
    try:
        header = next(_rows(data), None)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: expected a file of records, found: {reason(error)} {MEND}") from None
    if header is None or len(header) < required or header != fields[: len(header)]:
        found = ",".join(header)[:60] if header else "an empty file"
        raise UserError(f"{file}: expected the header {','.join(fields)[:60]}…, found {printable(found)} {MEND}")
    return header


def _maker(kind: type[Line], header: Sequence[str]) -> Callable[[list[list[str]]], list[Line]]:
    """A function of rows to lines, fast as files are long; where a value cannot be it raises a ValueError."""
    columns = [(field_types(kind)[name], _is_hash(name)) for name in header]
    # Made by a class that is not frozen, whose constructor takes a quarter of the time, and then given their own.
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


def _column(texts: Sequence[str], type_: Callable[[str], Any], is_hash: bool, shared: dict[str, str]) -> Sequence[Any]:
    if type_ is str:
        if is_hash and any(map(_is_number, set(texts))):
            raise ValueError
        return list(map(shared.setdefault, texts, texts)) if len(texts[0]) > _LONG_TEXT else texts
    values = {text: type_(text) for text in set(texts)}
    known = [value for value in values.values() if value is not None]
    if not all(map(math.isfinite, known)) or (known and isinstance(known[0], int) and min(known) < 0):
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
    raise AssertionError("expected a fault, found none")


def _fault(kind: type[Line], header: Sequence[str], row: Sequence[str]) -> str | None:
    if len(row) != len(header):
        return f"expected {len(header)} fields, found {len(row)}"
    expected = {
        str: f"{DIGITS} hexadecimal digits, not the number that a spreadsheet makes of them",
        int: "a whole number from 0 on",
        float: "a finite number",
        _TYPES["int | None"]: "a whole number from 0 on, or nothing",
        _TYPES["float | None"]: "a finite number, or nothing",
    }
    values = []
    for name, text in zip(header, row, strict=True):
        type_ = field_types(kind)[name]
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
