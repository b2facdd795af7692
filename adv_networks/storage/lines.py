"""Lines of a CSV file as dataclasses. Reading is fast, because there may be many, and refuses impossible values."""

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
from typing import Any, NamedTuple, Protocol, TypeVar

from adv_networks.errors import UserError
from adv_networks.storage.files import reason
from adv_networks.storage.hashes import DIGITS
from adv_networks.storage.names import printable

MEND = "(repair it, or move it away)"


def _or_none(type_: Callable[[str], Any]) -> Callable[[str], Any]:
    """The type of a field that may be empty, which means None."""
    return lambda text: type_(text) if text else None


_TYPES = {"str": str, "int": int, "float": float, "int | None": _or_none(int), "float | None": _or_none(float)}
_HASH = re.compile(f"[0-9a-f]{{{DIGITS}}}")
_ROWS_AT_ONCE = 2048
# Longer texts, such as versions, are kept in memory only once, however many lines have them.
_LONG_TEXT = 30


class Keyed(Protocol):
    """A line: a frozen dataclass with a key. Its fields are texts, whole numbers and finite numbers; numbers may be None.

    Numbers must be at least 0, unless `limits` gives another least and most. A line may have a method `fault`. If a field
    contradicts the others, it returns the field's name and what was expected, else None.
    """

    key: str


Line = TypeVar("Line", bound=Keyed)


class _Field(NamedTuple):
    """The rules for the texts of a field."""

    type: Callable[[str], Any]
    is_hash: bool
    least: float
    most: float

    @classmethod
    def of(cls, kind: type, name: str) -> _Field:
        """The rules for the field of that name in lines of a kind."""
        is_hash = name in ("key", "identity") or name.endswith("_hash")
        return cls(field_types(kind)[name], is_hash, *getattr(kind, "limits", {}).get(name, (0, math.inf)))

    @property
    def expected(self) -> str:
        """What is expected of a text, for the message when one is refused."""
        if self.type is str:
            return f"{DIGITS} hexadecimal digits, not the number that a spreadsheet makes of them"
        number = "a whole number" if self.type in (int, _TYPES["int | None"]) else "a finite number"
        limits = f"from {self.least} on" if self.most == math.inf else f"from {self.least} to {self.most}"
        return f"{number} {limits}{'' if self.type in (int, float) else ', or nothing'}"

    def values(self, texts: Sequence[str], shared: dict[str, str]) -> Sequence[Any]:
        """Converts texts to values; equal long texts share memory through `shared`. Raises ValueError for an impossible one."""
        if self.type is str:
            if self.is_hash and any(map(_is_number, set(texts))):
                raise ValueError
            return list(map(shared.setdefault, texts, texts)) if len(texts[0]) > _LONG_TEXT else texts
        values = {text: self.type(text) for text in set(texts)}
        numbers = [value for value in values.values() if value is not None]
        if not all(map(math.isfinite, numbers)) or (numbers and not self.least <= min(numbers) <= max(numbers) <= self.most):
            raise ValueError
        return list(map(values.__getitem__, texts))


def field_types(kind: type) -> dict[str, Callable[[str], Any]]:
    """The types of a kind's fields, by name."""
    return {field.name: _TYPES[str(field.type)] for field in dataclasses.fields(kind)}


def parse(file: Path, kind: type[Line], data: bytes, *, in_file: bool = True) -> list[Line]:
    """Parses the lines after the header in the bytes of a file, or of new lines for it (not `in_file`).

    Raises:
        UserError: they are not whole lines of that kind, or have an impossible value; the first line and column are named.
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
    """The fields of a file: all fields of the kind, perhaps without the last ones that have defaults."""
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
    """Returns a fast function from rows to lines, which raises a ValueError for an impossible value."""
    fields = [_Field.of(kind, name) for name in header]
    # The constructor of a class that is not frozen takes a quarter of the time. Lines get their own class afterwards.
    open_kind = dataclasses.make_dataclass(
        kind.__name__,
        [(field.name, field.type, dataclasses.field(default=field.default)) for field in dataclasses.fields(kind)],
    )
    fault = getattr(kind, "fault", None)
    shared: dict[str, str] = {}

    def make(rows: list[list[str]]) -> list[Line]:
        if set(map(len, rows)) != {len(header)}:
            raise ValueError
        values = [field.values(texts, shared) for field, texts in zip(fields, zip(*rows, strict=True), strict=True)]
        lines = list(map(open_kind, *values))
        for line in lines:
            line.__class__ = kind
        if fault and any(map(fault, lines)):
            raise ValueError
        return lines

    return make


def _is_number(text: str) -> bool:
    """Whether a text is a number but not a hash. A spreadsheet turns a hash of digits and one "e" into such a number."""
    if not text or _HASH.fullmatch(text):
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _first_fault(kind: type[Line], header: Sequence[str], data: bytes) -> tuple[int, str]:
    """The number of the first line that is not of the kind, and what is wrong with it."""
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
    values: list[Any] = []
    for name, text in zip(header, row, strict=True):
        field = _Field.of(kind, name)
        try:
            values += field.values([text], {})
        except ValueError:
            return f"column {name}: expected {field.expected}, found {printable(text[:40])}"
    found = getattr(kind, "fault", lambda line: None)(kind(*values))
    if found is None:
        return None
    name, wanted = found
    return f"column {name}: expected {wanted}, found {printable(row[header.index(name)][:40])}"


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Turns off the search for cyclic garbage, which takes as long as reading many lines, and finds nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
