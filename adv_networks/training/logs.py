"""What a run logs in CSV files, a line per logged step: its metrics, and apart from them what depends on the clock."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adv_networks.errors import UserError
from adv_networks.storage.files import explained, write_rows

# Of metrics.csv, which a run that was killed and went on writes like one that was not, and of timings.csv.
METRICS = (
    "step", "d_loss", "d_loss_adversarial", "d_accuracy", "d_accuracy_adversarial", "d_weight_decay", "d_gradient_norm",
    "g_loss", "g_gradient_norm", "regulariser_norm", "learning_rate",
    "validation_clean", "validation_fgs", "validation_pgd", "validation_generator",
    "regulariser_cosine", "regulariser_relative_difference", "regulariser_exact_norm",
)  # fmt: skip
TIMINGS = ("step", "seconds", "steps_per_second")


class Log:
    """A CSV file of the given columns; opening it drops the lines after `step`, from which the run goes on."""

    def __init__(self, file: Path, fields: Sequence[str], step: int):
        self.file, self.fields = file, fields
        kept = [line for line in _whole_lines(file) if int(line["step"]) <= step]
        write_rows(file, fields, [{name: line.get(name, "") for name in fields} for line in kept])

    def add(self, step: int, values: dict[str, float]) -> None:
        """Adds a line; a field without a value is empty."""
        line = [step, *(repr(values[name]) if name in values else "" for name in self.fields[1:])]
        with explained(f"writing {self.file}"), self.file.open("a", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerow(line)


def _whole_lines(file: Path) -> list[dict[str, str]]:
    """The lines of a log as written, by column; without those that a kill cut short, and none of a damaged file."""
    if not file.exists():
        return []
    header, *lines = [line.split(",") for line in file.read_text(encoding="utf-8", errors="replace").splitlines()] or [[]]
    whole = (line for line in lines if len(line) == len(header) and header[0] == "step" and line[0].isdigit())
    return [dict(zip(header, line, strict=True)) for line in whole]


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.csv`: the step as an integer, other values as floats, None where there is none.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    file = workdir / "metrics.csv"
    try:
        with file.open(newline="", encoding="utf-8") as handle:
            lines = list(csv.DictReader(handle, strict=True))
        return [
            {"step": int(line["step"])}
            | {name: float(line[name]) if line.get(name) else None for name in METRICS if name != "step"}
            for line in lines
        ]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise UserError(f"{file}: expected a run's metrics, found: {error}") from None
