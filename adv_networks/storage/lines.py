"""Lines of a CSV file as dataclasses. Reading is fast, because there may be many, and refuses impossible values."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import gc
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from adv_networks.errors import UserError, printable
from adv_networks.storage.csv_columns import Column, columns, rows
from adv_networks.storage.files import reason
from adv_networks.storage.hashes import DIGITS

MEND = "(repair it, or move it away)"


# The type of a field's values, and whether it may be empty, which means None.
_TYPES = {
    "str": (str, False),
    "int": (int, False),
    "float": (float, False),
    "int | None": (int, True),
    "float | None": (float, True),
}
_HASH = re.compile(f"[0-9a-f]{{{DIGITS}}}")
_HASHES = re.compile(f"(?:(?:{_HASH.pattern})?,)*")
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
    or_none: bool
    is_hash: bool
    least: float
    most: float

    @classmethod
    def of(cls, kind: type, name: str) -> _Field:
        """The rules for the field of that name in lines of a kind."""
        is_hash = name in ("key", "identity") or name.endswith("_hash")
        return cls(*field_types(kind)[name], is_hash, *getattr(kind, "limits", {}).get(name, (0, math.inf)))

    @property
    def expected(self) -> str:
        """What is expected of a text, for the message when one is refused."""
        if self.type is str:
            return f"{DIGITS} hexadecimal digits, not the number that a spreadsheet makes of them"
        number = "a whole number" if self.type is int else "a finite number"
        limits = f"from {self.least} on" if self.most == math.inf else f"from {self.least} to {self.most}"
        return f"{number} {limits}{', or nothing' if self.or_none else ''}"

    def values(self, texts: Sequence[str], shared: dict[str, str]) -> Sequence[Any]:
        """Converts texts to values; equal long texts share memory through `shared`. Raises ValueError or OverflowError."""
        if self.type is str:
            if self.is_hash and not _HASHES.fullmatch(",".join(texts) + ",") and any(map(_is_number, set(texts))):
                raise ValueError
            return list(map(shared.setdefault, texts, texts)) if len(texts[0]) > _LONG_TEXT else texts
        different = set(texts)
        values: dict[str, Any] = {"": None} if self.or_none and "" in different else {}
        different -= values.keys()
        numbers = list(map(self.type, different))
        if not all(map(math.isfinite, numbers)) or (numbers and not self.least <= min(numbers) <= max(numbers) <= self.most):
            raise ValueError
        values.update(zip(different, numbers, strict=True))
        return list(map(values.__getitem__, texts))


def field_types(kind: type) -> dict[str, tuple[Callable[[str], Any], bool]]:
    """The types of a kind's fields by name, and whether they may be None."""
    return {field.name: _TYPES[str(field.type)] for field in dataclasses.fields(kind)}


def parse(file: Path, kind: type[Line], data: bytes, *, in_file: bool = True) -> list[Line]:
    """Parses the lines after the header in the bytes of a file, or of new lines for it (not `in_file`).

    Raises:
        UserError: they are not whole lines of that kind, or have an impossible value; the first line and column are named.
    """
    header = _header(file, kind, data)
    make, result = _maker(kind, header), []
    try:
        with _without_collection():
            for count, some in columns(data, header):
                result += make(count, some)
    except (ValueError, OverflowError, csv.Error):
        line, fault = _first_fault(kind, header, data, len(result))
        where, advice = (f"{file} line {line}", f" {MEND}") if in_file else (f"{file}: a new line", "")
        raise UserError(f"{where}, {fault}{advice}") from None
    return result


def _header(file: Path, kind: type, data: bytes) -> list[str]:
    """The fields of a file: all fields of the kind, perhaps without the last ones that have defaults."""
    fields = list(field_types(kind))
    required = sum(field.default is dataclasses.MISSING for field in dataclasses.fields(kind))
    try:
        header = next(rows(data), None)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: expected a file of records, found: {reason(error)} {MEND}") from None
    if header is None or len(header) < required or header != fields[: len(header)]:
        found = ",".join(header)[:60] if header else "an empty file"
        raise UserError(f"{file}: expected the header {','.join(fields)[:60]}…, found {printable(found)} {MEND}")
    return header


def _maker(kind: type[Line], header: Sequence[str]) -> Callable[[int, list[Column]], list[Line]]:
    """Returns a fast function from a number of lines and their columns to the lines. It raises an error for a fault."""
    fields = [_Field.of(kind, name) for name in header]
    younger = {field.name: field.default for field in dataclasses.fields(kind)[len(header) :]}
    fault = getattr(kind, "fault", None)
    shared: dict[str, str] = {}

    def make(count: int, some: list[Column]) -> list[Line]:
        # The constructor would take four times as long as copying what many lines have in common.
        common: dict[str, Any] = dict.fromkeys(header) | younger
        own: dict[str, Sequence[Any]] = {}
        for name, field, column in zip(header, fields, some, strict=True):
            values = field.values(column.texts, shared)
            if len(values) == 1:
                common[name] = values[0]
            else:
                own[name] = column.of_lines(values)
        contents = [common.copy() for _ in range(count)]
        for name, values in own.items():
            for content, value in zip(contents, values, strict=True):
                content[name] = value
        lines = [object.__new__(kind) for _ in range(count)]
        for line, content in zip(lines, contents, strict=True):
            object.__setattr__(line, "__dict__", content)
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


def _first_fault(kind: type[Line], header: Sequence[str], data: bytes, good: int) -> tuple[int, str]:
    """The number of the first line that is not of the kind, and what is wrong with it. The first `good` lines have no fault."""
    fields = {name: _Field.of(kind, name) for name in header}
    every = rows(data)
    for number in itertools.count(1):
        try:
            row = next(every)
        except (UnicodeDecodeError, csv.Error) as error:
            return number, f"expected a line of CSV, found: {reason(error)}"
        if number > 1 + good and (fault := _fault(kind, fields, row)):
            return number, fault
    raise AssertionError("expected a fault, found none")


def _fault(kind: type[Line], fields: Mapping[str, _Field], row: Sequence[str]) -> str | None:
    if len(row) != len(fields):
        return f"expected {len(fields)} fields, found {len(row)}"
    values: list[Any] = []
    for (name, field), text in zip(fields.items(), row, strict=True):
        try:
            values += field.values([text], {})
        except (ValueError, OverflowError):
            return f"column {name}: expected {field.expected}, found {printable(text[:40])}"
    found = getattr(kind, "fault", lambda line: None)(kind(*values))
    if found is None:
        return None
    name, wanted = found
    return f"column {name}: expected {wanted}, found {printable(row[list(fields).index(name)][:40])}"


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
