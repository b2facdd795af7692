"""The CSV files of benchmarks: their lines say where and when they were measured, and those of other machines stay."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import commit, machine

Line = dict[str, Any]
STAMP = ("machine", "commit", "date")


def write_lines(file: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Writes a benchmark's lines as CSV."""
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


class ResultsFile:
    """A benchmark's lines on disk; a new line replaces an earlier one of the same thing on the same machine.

    It is made before TensorFlow is loaded, which sets environment variables that the machine's label would name.
    """

    def __init__(self, file: Path, fields: Sequence[str], identity: Sequence[str]):
        """Reads the lines of a file that may not exist.

        Args:
            file: the CSV file.
            fields: its columns, with those of `STAMP`; a line without one gets an empty cell.
            identity: the columns that, with the machine, say what was measured.
        """
        self._file, self._fields, self._identity = file, fields, (*identity, "machine")
        self._stamp = dict(machine=machine(), commit=commit(), date=datetime.date.today().isoformat())
        self._lines: list[Line] = []
        if file.exists():
            with file.open(newline="", encoding="utf-8") as known:
                self._lines = [dict.fromkeys(fields, "") | line for line in csv.DictReader(known)]

    def add(self, line: Line) -> None:
        """Stamps a line, puts it in the place of an earlier one, and writes the file."""
        line = dict.fromkeys(self._fields, "") | line | self._stamp
        self._lines = [known for known in self._lines if any(known[name] != line[name] for name in self._identity)]
        self._lines.append(line)
        write_lines(self._file, self._lines)
