"""Numbers that do not come from a single evaluation, as lines of a CSV file on which claims can depend, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from adv_networks.experiments import Experiment
from adv_networks.storage.csv_rows import csv_text
from adv_networks.storage.files import write_text
from adv_networks.tables.appendices.base import Made
from adv_networks.tables.rows import FIELDS, wilson_interval

SHARE = "share"  # the metric of a number that is a percentage of the images


class Number(NamedTuple):
    """A number about a row's run, measured on `images` images."""

    column: str
    metric: str
    value: float
    images: int


def write(made: Made, name: str, found: Iterable[tuple[str, Experiment, Iterable[Number]]]) -> str:
    """Writes `<name>.csv` with the numbers of each row and run; returns them as a Markdown table."""
    lines = [_line(made, name, row, spec, number) for row, spec, numbers in found for number in numbers]
    write_text(made.directory / f"{name}.csv", csv_text(FIELDS, lines))
    return _markdown(lines)


def _line(made: Made, name: str, row: str, spec: Experiment, number: Number) -> dict[str, Any]:
    low, high = wilson_interval(number.value, number.images) if number.metric == SHARE else (None, None)
    known = dict(table=name, dataset=spec.dataset, row=row, column=number.column, metric=number.metric, images=number.images)
    values = {"measured_percent": number.value, "interval_low": low, "interval_high": high}
    rounded = {field: None if value is None else float(f"{value:.6g}") for field, value in values.items()}
    return dict.fromkeys(FIELDS) | known | rounded | dict(run=spec.name, steps=spec.steps, seeds=str(spec.seed), data=made.data)


def _markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(line["column"] for line in lines))
    several = len({line["dataset"] for line in lines}) > 1
    rows = [f"{line['dataset']}, {line['row']}" if several else line["row"] for line in lines]
    found = {(row, line["column"]): line["measured_percent"] for row, line in zip(rows, lines, strict=True)}
    body = [[row, *(f"{found[row, column]:.4g}" for column in columns)] for row in dict.fromkeys(rows)]
    cells = [["run", *columns], ["---"] + ["---:"] * len(columns), *body]
    return "\n".join("| " + " | ".join(own) + " |" for own in cells)
