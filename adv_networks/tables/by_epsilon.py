"""Accuracy against ε: the cells of a table at several ε, as CSV and pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adv_networks import tables
from adv_networks.experiments import Cell, Table
from adv_networks.storage import pictures
from adv_networks.storage.csv_rows import merge_rows
from adv_networks.storage.records import Record

FIELDS = ("table", "dataset", "row", "column", "epsilon", "measured_percent", "interval_low", "interval_high", "run", "images")


def cells_at(cells: Iterable[Cell], epsilons: Sequence[float]) -> list[Cell]:
    """The cells with their attack at each ε; clean cells do not change, and neither do the networks."""
    return [
        dataclasses.replace(cell, attack=dataclasses.replace(cell.attack, epsilon=epsilon))
        for cell in cells
        for epsilon in (epsilons if cell.attack.has_ball else [cell.attack.epsilon])
    ]


def make_rows(cells: Iterable[Cell], records: Iterable[Record]) -> list[dict[str, Any]]:
    """One row for each cell that has a record; clean images have ε 0."""
    rows = []
    for cell, record in tables.match(cells, records):
        if record is not None:
            low, high = tables.wilson_interval(record.accuracy_percent, record.images)
            numbers = (cell.attack.epsilon, *(round(value, 2) for value in (record.accuracy_percent, low, high)))
            places = (cell.table, cell.dataset, cell.row, cell.column)
            rows.append(dict(zip(FIELDS, (*places, *numbers, cell.target.name, record.images), strict=True)))
    return rows


def write(table: Table, rows: Sequence[dict[str, Any]], directory: Path, *, trained_at: Mapping[str, float]) -> Path:
    """Writes `<table>-epsilon.csv`, and for each data set a picture with a panel for each column and a curve for each row.

    Lines of other data sets in an earlier file are kept. The pictures mark the ε of training, given by data set in
    `trained_at`.
    """
    file = directory / f"{tables.stem(table)}-epsilon.csv"
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    merge_rows(file, FIELDS, rows, datasets)
    for dataset in datasets:
        own = [row for row in rows if row["dataset"] == dataset]
        stem = directory / f"{tables.stem(table)}-{dataset}-epsilon"
        marked = (f"ε in training ({trained_at[dataset]:.3g})", trained_at[dataset])
        pictures.curve_panels(stem, _panels(own), "ε", "accuracy in %", marked=marked)
    return file


def _panels(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """The points (ε, accuracy) by column and row; they start with the clean accuracy at ε 0, if it is measured."""
    clean = {row["row"]: (row["epsilon"], row["measured_percent"]) for row in rows if row["epsilon"] == 0}
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        if row["epsilon"]:
            begun = [clean[row["row"]]] if row["row"] in clean else []
            points = panels.setdefault(row["column"], {}).setdefault(row["row"], begun)
            points.append((row["epsilon"], row["measured_percent"]))
    return panels
