"""CSV files of named columns, written for people and their spreadsheets, and read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from adv_networks.errors import UserError
from adv_networks.storage.files import open_regular, reason, write_text


def csv_text(fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV, a line per row with all of `fields`; None is an empty field, and a text is one that no spreadsheet computes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """A value as it is, but a text that a spreadsheet would take for a formula behind an apostrophe, which marks a text."""
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
        UserError: no such file, or not one of lines that all have its fields.
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
