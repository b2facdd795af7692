"""CSV files with named columns, written for people and their spreadsheets, and read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from adv_networks.errors import UserError
from adv_networks.storage.files import open_regular, reason, write_text


def csv_text(fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV text with one line for each row; None is an empty field, and no text can be taken for a formula by a spreadsheet."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """A value, unchanged unless a spreadsheet would take it for a formula. Then an apostrophe marks it as text."""
    if not isinstance(value, str) or len(value) < 2 or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def read_rows(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file by field.

    Raises:
        UserError: there is no such file, or its lines do not all have the fields of the header.
    """
    try:
        with open_regular(path) as handle, io.TextIOWrapper(handle, encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a table, found: {reason(error)} (remove it, and make it again)") from None
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise UserError(
                f"{path} line {number}: expected the header's fields, found more or fewer (remove it, and make it again)"
            )
    return rows


def write_rows(path: Path, fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes `csv_text` to a file, atomically."""
    write_text(path, csv_text(fields, rows))


def merge_rows(path: Path, fields: Sequence[str], rows: Sequence[Mapping[str, Any]], datasets: Collection[str]) -> None:
    """Writes rows of these data sets into a CSV file; lines of other data sets in the file are kept.

    Raises:
        UserError: the existing file has other fields. It is not changed.
    """
    earlier = read_rows(path) if path.exists() else []
    if earlier and list(earlier[0]) != list(fields):
        found = ",".join(earlier[0])[:60]
        raise UserError(f"{path}: expected the header {','.join(fields)[:60]}…, found {found} (remove it, and make it again)")
    write_rows(path, fields, [*(line for line in earlier if line["dataset"] not in datasets), *rows])
