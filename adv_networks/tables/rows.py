"""Records beside the published numbers: the cells of a table as rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import Cell, Table
from adv_networks.papers.published import published
from adv_networks.storage.csv_rows import read_rows
from adv_networks.storage.records import METRICS, Record
from adv_networks.tables.match import completeness, match

FIELDS = (
    "table",
    "dataset",
    "row",
    "column",
    "measured_percent",
    "published_percent",
    "difference",
    "interval_low",
    "interval_high",
    "measured_least",
    "measured_most",
    "seeds",
    "run",
    "steps",
    "images",
    "data",
    "metric",
    "changed_percent",
)

# The last of them, and what they are where a table need not say it: files are written without them then, as older ones are.
YOUNGER_FIELDS: dict[str, Any] = {"metric": "accuracy", "changed_percent": None}

# Of a 95% interval, in standard deviations.
_Z = statistics.NormalDist().inv_cdf(0.975)


def make_table(
    table: Table,
    records: Iterable[Record],
    *,
    scale: str | None = None,
    networks: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> list[dict[str, Any]]:
    """The rows of `table<N>.csv`, one per cell; a cell without a record has None where numbers would be.

    Args:
        table: one of `experiments.TABLES`.
        records: records to look the cells up in, as `match` does.
        scale: the runs' scale; None for the one that all records have.
        networks: hashes of weights by name, as for `match`.
        options: seed, protocol, datasets and overrides, as for `Table.cells`.

    Raises:
        UsageError: `scale` is None and the records are not of one scale.
    """
    records = list(records)
    if scale is None:
        scales = {record.scale for record in records}
        if len(scales) != 1:
            raise UsageError(f"scale: expected records of one scale, received {', '.join(sorted(scales)) or 'no record'}")
        (scale,) = scales
    return [_row(cell, record) for cell, record in match(table.cells(scale, **options), records, networks)]


def wilson_interval(percent: float, images: int) -> tuple[float, float]:
    """Where the accuracy on all images of the kind is with 95% confidence, if it is `percent` on so many: Wilson's interval."""
    share, spread = percent / 100, _Z**2 / images
    middle = share + spread / 2
    half = math.sqrt(spread * (share * (1 - share) + spread / 4))
    return 100 * (middle - half) / (1 + spread), 100 * (middle + half) / (1 + spread)


def _numbers(measured: Sequence[float], paper: float | None, images: int | None) -> dict[str, Any]:
    """The columns of a cell that was measured so many times, on the same images; None where it is no share of them."""
    mean = statistics.fmean(measured)
    low, high = wilson_interval(mean, images) if images else (None, None)
    numbers = {
        "measured_percent": mean,
        "published_percent": paper,
        "difference": None if paper is None else round(mean, 2) - paper,
        "interval_low": low,
        "interval_high": high,
        "measured_least": min(measured),
        "measured_most": max(measured),
    }
    return {name: None if value is None else round(value, 2) for name, value in numbers.items()}


_NO_NUMBERS = dict.fromkeys(
    ("measured_percent", "published_percent", "difference", "interval_low", "interval_high", "measured_least", "measured_most")
)


def over_seeds(seeds: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of one table made with several seeds as one: mean, least and most of what is measured.

    The interval is the one that the number of test images allows, as of one network of the mean accuracy: the seeds share their
    test images. How far seeds differ is between the least and the most.
    """
    return [_over_seeds(cells) for cells in zip(*seeds, strict=True)]


def _over_seeds(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    known = [cell for cell in cells if cell["measured_percent"] is not None]
    joined = cells[0] | {"run": " ".join(dict.fromkeys(cell["run"] for cell in cells))}
    if not known:
        return joined
    images = min(cell["images"] for cell in known)
    behind = images if METRICS[cells[0]["metric"]].images else None
    numbers = _numbers([cell["measured_percent"] for cell in known], cells[0]["published_percent"], behind)
    found = {cell["data"] for cell in known}
    data = next(kind for kind in ("subset", "limited", "complete") if kind in found)
    return joined | numbers | {"seeds": " ".join(cell["seeds"] for cell in known), "images": images, "data": data}


def _row(cell: Cell, record: Record | None) -> dict[str, Any]:
    paper = published().get(cell.published_cell)
    numbers = _NO_NUMBERS | {"published_percent": paper}
    value = None if record is None else record.measure(cell.metric)
    images = None if record is None else record.images
    if value is not None:
        behind = record.images_of(cell.metric)
        numbers, images = _numbers([value], paper, behind), behind or images
    return {
        "table": cell.table,
        "dataset": cell.dataset,
        "row": cell.row,
        "column": cell.column,
        **numbers,
        "seeds": "" if record is None else str(cell.target.seed),
        "run": cell.target.name,
        "steps": cell.target.steps,
        "images": images,
        "data": None if record is None else completeness(cell, record),
        "metric": cell.metric,
        "changed_percent": None if record is None or not cell.attack.has_source else record.changed_percent,
    }


def read(file: Path) -> list[dict[str, str]]:
    """The lines of a table's CSV file, those of any other CSV file too.

    Raises:
        UserError: it is damaged, a table's numbers are none.
    """
    rows = read_rows(file)
    for number, row in enumerate(rows if rows and is_table(rows[0]) else [], start=2):
        for field in _NO_NUMBERS:
            try:
                float(row.get(field) or 0)
            except ValueError:
                raise UserError(f"{file} line {number}: expected {field} to be a number, found {row[field][:40]}") from None
    return rows


def is_table(fields: Collection[str]) -> bool:
    """Whether a line of a CSV file with these fields is a cell of a table: one by ε or by class is a part of a cell."""
    return {"dataset", "row", "column", "measured_percent"} <= set(fields) and not {"epsilon", "class"} & set(fields)
