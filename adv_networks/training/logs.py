"""A run's logs as CSV files with one line per logged step: its metrics, and in another file its timings."""

from __future__ import annotations

import csv
import io
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adv_networks.errors import UserError, printable
from adv_networks.storage.csv_rows import write_rows
from adv_networks.storage.files import explained, open_regular, reason

# The columns of metrics.csv, whose lines do not depend on whether a run was killed and resumed, and of timings.csv.
METRICS = (
    "step", "d_loss", "d_loss_adversarial", "d_accuracy", "d_accuracy_adversarial", "d_weight_decay", "d_gradient_norm",
    "g_loss", "g_gradient_norm", "regulariser_norm", "learning_rate",
    "validation_clean", "validation_fgs", "validation_pgd", "validation_generator",
    "regulariser_cosine", "regulariser_relative_difference", "regulariser_exact_norm",
)  # fmt: skip
TIMINGS = ("step", "seconds", "steps_per_second")
_STEP = re.compile("[0-9]{1,18}")


class Log:
    """A CSV file with the given columns. Opening it drops the lines after `step`, from which the run continues.

    If earlier lines are lost, because the file is damaged or missing, a line on standard error says so; a damaged file is kept
    beside the new one. `every` is the largest number of steps between two lines.
    """

    def __init__(self, file: Path, fields: Sequence[str], step: int, *, every: int | None = None):
        self.file, self.fields = file, fields
        whole, damaged = _whole_lines(file)
        kept = [line for line in whole if int(line["step"]) <= step]
        last = int(kept[-1]["step"]) if kept else 0
        if step and (damaged or (every and step - last >= every)):
            self._say_lost(damaged, len(kept), last, step)
        write_rows(file, fields, [{name: line.get(name, "") for name in fields} for line in kept])

    def _say_lost(self, damaged: str, kept: int, last: int, step: int) -> None:
        found = damaged or ("none after step " + str(last) if self.file.exists() else "no file")
        beside = self.file.with_name(f"{self.file.stem}-damaged{self.file.suffix}")
        if self.file.exists():
            with explained(f"writing {beside}"):
                shutil.copyfile(self.file, beside)
            found += f" (kept as {beside.name})"
        print(
            f"{self.file}: expected the lines up to step {step}, found {found}; continuing with the {kept} whole ones",
            file=sys.stderr,
        )

    def add(self, step: int, values: dict[str, float]) -> None:
        """Appends a line; a field without a value is empty."""
        line = [step, *(repr(values[name]) if name in values else "" for name in self.fields[1:])]
        with explained(f"writing {self.file}"), self.file.open("a", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerow(line)


def _whole_lines(file: Path) -> tuple[list[dict[str, str]], str]:
    """The whole lines of a log, by column, and a description of the damage, if any.

    A last line that a kill cut short is left out, and is no damage.
    """
    if not file.exists():
        return [], ""
    try:
        with open_regular(file) as handle:
            text = handle.read().decode("utf-8", "replace")
    except OSError as error:
        raise UserError(f"{file}: expected a run's log, found: {reason(error)}") from None
    header, *lines = [line.split(",") for line in text.split("\n")]
    if header[0] != "step":
        return [], f"the columns {printable(text[:40])}" if text.strip() else "an empty file"
    is_whole = [len(line) == len(header) and bool(_STEP.fullmatch(line[0])) and all(map(_is_value, line)) for line in lines]
    whole = [dict(zip(header, line, strict=True)) for line, own in zip(lines, is_whole, strict=True) if own]
    damaged = is_whole[:-1].count(False)
    return whole, f"{damaged} damaged" if damaged else ""


def _is_value(text: str) -> bool:
    try:
        float(text or 0)
    except ValueError:
        return False
    return True


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.csv`: the step as an integer, other values as floats, None for an empty field.

    Raises:
        UserError: the file is missing or damaged.

    Examples:
        >>> import pathlib, tempfile
        >>> from adv_networks import training
        >>> with tempfile.TemporaryDirectory() as run:
        ...     training.logs.Log(pathlib.Path(run, "metrics.csv"), training.METRICS, step=0).add(50, {"d_loss": 0.25})
        ...     line = training.read_metrics(pathlib.Path(run))[0]
        >>> line["step"], line["d_loss"], line["g_loss"]
        (50, 0.25, None)
    """
    file = workdir / "metrics.csv"
    try:
        with open_regular(file) as handle, io.TextIOWrapper(handle, encoding="utf-8", newline="") as text:
            reader = csv.DictReader(text, strict=True)
            if "step" not in (reader.fieldnames or ()):
                raise ValueError("no column step")
            lines = list(reader)
        return [
            {"step": int(line["step"])}
            | {name: float(line[name]) if line.get(name) else None for name in METRICS if name != "step"}
            for line in lines
        ]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{file}: expected a run's metrics, found: {reason(error)}") from None
