"""The cells of a table as rows: measured and published numbers side by side."""

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
from adv_networks.tables.match import completeness, least_complete, match

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

# The last fields and their defaults. If a table has only the default, its file omits the field, as older files do.
YOUNGER_FIELDS: dict[str, Any] = {"metric": "accuracy", "changed_percent": None}

# Half the width of a 95% interval, in standard deviations.
_Z = statistics.NormalDist().inv_cdf(0.975)


def make_table(
    table: Table,
    records: Iterable[Record],
    *,
    scale: str | None = None,
    networks: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> list[dict[str, Any]]:
    """The rows of `table<N>.csv`, one for each cell; the numbers of a cell without a record are None.

    Args:
        table: one of `experiments.TABLES`.
        records: the records in which the cells are looked up (`match`).
        scale: the runs' scale; None for the scale that all records share.
        networks: hashes of weights by name, as for `match`.
        options: seed, protocol, datasets and overrides, as for `Table.cells`.

    Raises:
        UsageError: `scale` is None, but the records are of several scales or there are none.

    Examples:
        >>> from adv_networks import experiments, tables
        >>> row = tables.make_table(experiments.TABLES["1"], [], scale="paper")[0]
        >>> row["row"], row["column"], row["measured_percent"], row["published_percent"]
        ('standard (A)', 'No Noise', None, 99.14)
    """
    records = list(records)
    if scale is None:
        scales = {record.scale for record in records}
        if len(scales) != 1:
            raise UsageError(f"scale: expected records of one scale, received {', '.join(sorted(scales)) or 'no record'}")
        (scale,) = scales
    return [_row(cell, record) for cell, record in match(table.cells(scale, **options), records, networks)]


def wilson_interval(percent: float, images: int) -> tuple[float, float]:
    """Wilson's 95% confidence interval for an accuracy of `percent` on this many images.

    Examples:
        >>> from adv_networks import tables
        >>> [round(bound, 2) for bound in tables.wilson_interval(99.0, images=10_000)]
        [98.79, 99.18]
    """
    share, spread = percent / 100, _Z**2 / images
    middle = share + spread / 2
    half = math.sqrt(spread * (share * (1 - share) + spread / 4))
    return 100 * (middle - half) / (1 + spread), 100 * (middle + half) / (1 + spread)


def _numbers(measured: Sequence[float], paper: float | None, images: int | None) -> dict[str, Any]:
    """The numbers of a cell from repeated measurements on the same images; `images` is None if they are not proportions."""
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
    """Joins the rows of one table for several seeds: mean, least and most of the measured numbers.

    The interval is that of the mean accuracy for the number of test images, as for a single network, because the seeds share
    their test images. The least and the most show how far the seeds differ.

    Examples:
        >>> from adv_networks import experiments, tables
        >>> row = tables.make_table(experiments.TABLES["1"], [], scale="paper")[0] | {"images": 10_000, "data": "complete"}
        >>> first, second = row | {"seeds": "0", "measured_percent": 98.0}, row | {"seeds": "1", "measured_percent": 99.0}
        >>> joined = tables.over_seeds([[first], [second]])[0]
        >>> joined["measured_percent"], joined["measured_least"], joined["seeds"]
        (98.5, 98.0, '0 1')
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
    data = least_complete(cell["data"] for cell in known)
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
    """The lines of a table's CSV file, or of any other CSV file.

    Raises:
        UserError: the file is damaged, or a number of a table is not a number.

    Examples:
        >>> import pathlib, tempfile
        >>> from adv_networks import experiments, tables
        >>> rows = tables.make_table(experiments.TABLES["1"], [], scale="paper")
        >>> with tempfile.TemporaryDirectory() as place:
        ...     tables.write(experiments.TABLES["1"], rows, pathlib.Path(place), scale="paper")
        ...     tables.read(pathlib.Path(place, "table1.csv"))[0]["published_percent"]
        '99.14'
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
    """Whether a line with these fields is a cell of a table, not a part of a cell, by ε or by class.

    Examples:
        >>> from adv_networks import tables
        >>> tables.is_table(tables.FIELDS), tables.is_table((*tables.FIELDS, "epsilon"))
        (True, False)
    """
    return {"dataset", "row", "column", "measured_percent"} <= set(fields) and not {"epsilon", "class"} & set(fields)
