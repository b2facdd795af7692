"""The accuracy of each class in the white-box cells of a table, as CSV and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adv_networks import tables
from adv_networks.experiments import Cell, Table, find_dataset
from adv_networks.lazy import np
from adv_networks.storage import pictures
from adv_networks.storage.csv_rows import merge_rows
from adv_networks.storage.records import Record

FIELDS = (
    "table", "dataset", "row", "column", "class", "class_name", "correct", "images", "measured_percent", "interval_low",
    "interval_high", "run",
)  # fmt: skip


def make_rows(
    cells: Iterable[Cell], records: Iterable[Record], outcomes: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """One row for each cell that has a record and each class that has images.

    Args:
        cells: cells of one table.
        records: the records in which the cells are looked up.
        outcomes: by the records' keys, which of the first images were labelled correctly, booleans.
        labels: by data set, the true labels of these images.
    """
    rows = []
    for cell, record in tables.match(cells, records):
        if record is not None:
            right = outcomes[record.key]
            own = labels[cell.dataset][: right.shape[-1]]
            rows += [_row(cell, label, right[..., own == label]) for label in np.unique(own).tolist()]
    return rows


def _row(cell: Cell, label: int, right: np.ndarray) -> dict[str, Any]:
    correct, images = int(right.sum()), right.shape[-1]
    percent = 100 * correct / right.size
    numbers = (round(value, 2) for value in (percent, *tables.wilson_interval(percent, images)))
    places = (cell.table, cell.dataset, cell.row, cell.column, label, find_dataset(cell.dataset).class_name(label))
    return dict(zip(FIELDS, (*places, correct, images, *numbers, cell.target.name), strict=True))


def write(table: Table, rows: Sequence[dict[str, Any]], directory: Path) -> Path:
    """Writes `<table>-classes.csv`, and for each data set a picture: heat maps of rows and classes, one for each column.

    Lines of other data sets in an earlier file are kept.
    """
    file = directory / f"{tables.stem(table)}-classes.csv"
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    merge_rows(file, FIELDS, rows, datasets)
    for dataset in datasets:
        own = [row for row in rows if row["dataset"] == dataset]
        pictures.heat_maps(directory / f"{tables.stem(table)}-{dataset}-classes", *heat_maps_of(own))
    return file


def heat_maps_of(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[str], dict[str, list[list[float | None]]]]:
    """The arguments of `pictures.heat_maps` for the rows of one data set."""
    percent = {(row["column"], row["row"], row["class"]): row["measured_percent"] for row in rows}
    names = dict(sorted({(row["class"], row["class_name"]) for row in rows}))
    columns, networks = (list(dict.fromkeys(row[field] for row in rows)) for field in ("column", "row"))
    values = {
        column: [[percent.get((column, network, label)) for label in names] for network in networks] for column in columns
    }
    return networks, list(names.values()), values
