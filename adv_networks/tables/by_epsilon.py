"""Accuracy against ε: the cells of a table under attacks of several sizes, as CSV and pictures."""

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
    """The cells with each of the ε in their attack, the clean ones as they are; the networks are the same."""
    return [
        dataclasses.replace(cell, attack=dataclasses.replace(cell.attack, epsilon=epsilon))
        for cell in cells
        for epsilon in (epsilons if cell.attack.has_ball else [cell.attack.epsilon])
    ]


def make_rows(cells: Iterable[Cell], records: Iterable[Record]) -> list[dict[str, Any]]:
    """A row per cell that has a record; clean images are at ε 0."""
    rows = []
    for cell, record in tables.match(cells, records):
        if record is not None:
            low, high = tables.wilson_interval(record.accuracy_percent, record.images)
            numbers = (cell.attack.epsilon, *(round(value, 2) for value in (record.accuracy_percent, low, high)))
            places = (cell.table, cell.dataset, cell.row, cell.column)
            rows.append(dict(zip(FIELDS, (*places, *numbers, cell.target.name, record.images), strict=True)))
    return rows


def write(table: Table, rows: Sequence[dict[str, Any]], directory: Path, *, trained_at: Mapping[str, float]) -> Path:
    """Writes `<table>-epsilon.csv`, and for each data set a PNG and a PDF with a panel a column and a curve a row.

    What an earlier file has of other data sets is kept. The pictures mark the ε that the networks were trained at, which
    `trained_at` has by data set.
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
    """By column and row the points (ε, accuracy), beginning with the row's clean accuracy at ε 0 where it is measured."""
    clean = {row["row"]: (row["epsilon"], row["measured_percent"]) for row in rows if row["epsilon"] == 0}
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        if row["epsilon"]:
            begun = [clean[row["row"]]] if row["row"] in clean else []
            points = panels.setdefault(row["column"], {}).setdefault(row["row"], begun)
            points.append((row["epsilon"], row["measured_percent"]))
    return panels
