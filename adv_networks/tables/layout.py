"""The rows of a table as CSV, Markdown and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adv_networks.experiments import SCALES, Table
from adv_networks.storage.csv_rows import csv_text
from adv_networks.storage.files import write_text
from adv_networks.tables.rows import FIELDS, YOUNGER_FIELDS


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV text; None is an empty field. Newer fields that only have defaults are left out, as in older files.

    Examples:
        >>> from adv_networks import experiments, tables
        >>> rows = tables.make_table(experiments.TABLES["1"], [], scale="paper")
        >>> tables.as_csv(rows).splitlines()[1]
        '1,mnist,standard (A),No Noise,,99.14,,,,,,,mnist-standard-paper-s0,200000,,'
    """
    fields = list(FIELDS)
    for name, default in reversed(YOUNGER_FIELDS.items()):
        if any(row[name] != default for row in rows):
            break
        fields.remove(name)
    return csv_text(fields, [{name: row[name] for name in fields} for row in rows])


def as_markdown(
    table: Table, rows: Sequence[dict[str, Any]], *, scale: str, notes: Sequence[str] = (), appendix: str = ""
) -> str:
    """The paper's layout as Markdown: one table for each data set, with cells "measured (published, difference)".

    The scale and `notes` come before the tables, and `appendix`, which is Markdown, after them.

    Examples:
        >>> from adv_networks import experiments, tables
        >>> table = experiments.TABLES["1"]
        >>> rows = tables.make_table(table, [], scale="paper")
        >>> tables.as_markdown(table, rows[:1], scale="paper").splitlines()[-1]
        '| standard (A) | (99.14) |'
    """
    parts = [
        f"# {heading(table)}",
        f"Scale `{scale}`: {SCALES[scale].title}. Accuracy in %, {_shown(rows)}; without the first number it is not measured.",
    ]
    parts += [f"- {note}" for note in notes]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        cells = {(row["row"], column_title(row)): row for row in rows if row["dataset"] == dataset}
        columns = list(dict.fromkeys(column for _, column in cells))
        lines = [["method \\ attack", *columns], ["---"] + ["---:"] * len(columns)]
        lines += [
            [label, *(_text(cells.get((label, column))) for column in columns)]
            for label in dict.fromkeys(label for label, _ in cells)
        ]
        parts += [
            f"## {dataset}" if len({row["dataset"] for row in rows}) > 1 else "",
            "\n".join("| " + " | ".join(line) + " |" for line in lines),
        ]
    return "\n\n".join(filter(None, [*parts, appendix])) + "\n"


def as_text(table: Table, rows: Sequence[dict[str, Any]], *, scale: str) -> str:
    """The same as text with aligned columns, for a terminal.

    Examples:
        >>> from adv_networks import experiments, tables
        >>> table = experiments.TABLES["1"]
        >>> rows = tables.make_table(table, [], scale="cpu")
        >>> print(tables.as_text(table, rows[:1], scale="cpu"))
        Table 1. White-box and black-box attacks on MNIST (ε = 0.3), scale cpu; accuracy in %, measured (published, difference)
        mnist         No Noise
        standard (A)   (99.14)
    """
    lines = [f"{heading(table)}, scale {scale}; accuracy in %, {_shown(rows)}"]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        cells = {(row["row"], column_title(row)): _text(row) for row in rows if row["dataset"] == dataset}
        columns = list(dict.fromkeys(column for _, column in cells))
        body = [[dataset, *columns]] + [
            [label, *(cells.get((label, column), "") for column in columns)]
            for label in dict.fromkeys(label for label, _ in cells)
        ]
        widths = [max(len(line[index]) for line in body) for index in range(len(columns) + 1)]
        lines += [
            "  ".join(
                text.ljust(width) if index == 0 else text.rjust(width)
                for index, (text, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in body
        ]
    return "\n".join(lines)


def stem(table: Table) -> str:
    """The name of the table's files, without their suffix.

    Examples:
        >>> from adv_networks import experiments, tables
        >>> tables.stem(experiments.TABLES["1"].under("strong"))
        'table1-strong'
    """
    name = f"table{table.name}" if table.name.isdigit() else table.name
    suite = "" if table.suite == "paper" else f"-{table.suite}"
    return f"{name}{suite}-attacks" if table.has_further_attacks else f"{name}{suite}"


def heading(table: Table) -> str:
    """The table's title, after its number if it has one.

    Examples:
        >>> from adv_networks import experiments, tables
        >>> tables.heading(experiments.TABLES["2"])
        'Table 2. White-box and black-box attacks on SVHN (ε = 0.05)'
    """
    return f"Table {table.name}. {table.title}" if table.name.isdigit() else table.title


def _shown(rows: Sequence[dict[str, Any]]) -> str:
    """What the cells show, in words."""
    measured = "mean [least, most] of the seeds" if any(" " in row["seeds"] for row in rows) else "measured"
    return f"{measured} (published, difference)"


def column_title(row: Mapping[str, Any]) -> str:
    """The column of a cell, followed by the metric unless it is accuracy."""
    metric = row.get("metric") or "accuracy"  # older files have no metric
    return row["column"] if metric == "accuracy" else f"{row['column']}, {metric}"


def _text(row: dict[str, Any] | None) -> str:
    """A cell's text; empty if the row does not have the column."""
    if row is None:
        return ""
    measured = "" if row["measured_percent"] is None else f"{row['measured_percent']:.2f}"
    if " " in row["seeds"]:
        measured += f" [{row['measured_least']:.2f}, {row['measured_most']:.2f}]"
    difference = "" if row["difference"] is None else f", {row['difference']:+.2f}"
    paper = "" if row["published_percent"] is None else f"({row['published_percent']:.2f}{difference})"
    return " ".join(filter(None, (measured, paper)))


def write(
    table: Table,
    rows: Sequence[dict[str, Any]],
    directory: Path,
    *,
    scale: str,
    notes: Sequence[str] = (),
    appendix: str = "",
) -> None:
    """Writes `table<N>.csv` and `table<N>.md` into `directory`; the files of a table without a number have its name.

    Examples:
        >>> import pathlib, tempfile
        >>> from adv_networks import experiments, tables
        >>> rows = tables.make_table(experiments.TABLES["1"], [], scale="paper")
        >>> with tempfile.TemporaryDirectory() as place:
        ...     tables.write(experiments.TABLES["1"], rows, pathlib.Path(place), scale="paper")
        ...     sorted(file.name for file in pathlib.Path(place).iterdir())
        ['table1.csv', 'table1.md']
    """
    write_text(directory / f"{stem(table)}.csv", as_csv(rows))
    text = as_markdown(table, rows, scale=scale, notes=notes, appendix=appendix)
    write_text(directory / f"{stem(table)}.md", text)
