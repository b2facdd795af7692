"""Records beside the paper's numbers: the cells of a table as rows, CSV and Markdown."""

from __future__ import annotations

import csv
import functools
import importlib.resources
import io
import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import BATCH_STATISTICS_SIZE, DATASETS, SCALES, Cell, Table, generator_file
from adv_networks.storage.csv_rows import csv_text, read_rows
from adv_networks.storage.files import write_text
from adv_networks.storage.records import Record, hash_of_parts

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
)


# Of a 95% interval, in standard deviations.
_Z = statistics.NormalDist().inv_cdf(0.975)


@functools.cache
def published() -> dict[tuple[str, str, str, str], float]:
    """The paper's accuracies in percent, keyed by (table, dataset, row, column)."""
    text = importlib.resources.files("adv_networks").joinpath("published/tables.csv").read_text(encoding="utf-8")
    keys = ("table", "dataset", "row", "column")
    return {tuple(line[key] for key in keys): float(line["accuracy_percent"]) for line in csv.DictReader(io.StringIO(text))}


def source_name(cell: Cell) -> str:
    """What a record of this cell has for its source: a run, a run's generator, or nothing for clean images and worst cases."""
    if cell.attack.kind in ("clean", "worst"):
        return ""
    name = (cell.source or cell.target).name
    return f"{name}/{generator_file(cell.generator)}".removesuffix(".keras") if cell.attack.kind == "generator" else name


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


def match(
    cells: Iterable[Cell], records: Iterable[Record], networks: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[Cell, Record | None]]:
    """Each cell with its record, the last that fits; one of another number of iterations than the cell's run fits none.

    All are of one network a name, as a run that was trained again is another one: the one that has the hash in `networks`,
    or else that of the newest record (the last). Likewise they are of one set of test images a data set, the newest record's.
    """
    cells = list(cells)
    found = {
        (record.target, record.source, record.attack, record.attack_settings, record.bn_evaluation): record
        for record in _agreeing(records, networks, {cell.target.name: cell.dataset for cell in cells})
    }
    pairs = []
    for cell in cells:
        evaluated = (cell.attack.name, cell.attack.settings(), cell.target.bn_evaluation)
        record = found.get((cell.target.name, source_name(cell), *evaluated))
        pairs.append((cell, record if record and record.steps in (0, cell.target.steps) else None))
    return [(cell, record if record and _has_its_parts(cell, record, pairs) else None) for cell, record in pairs]


def _agreeing(records: Iterable[Record], networks: Mapping[str, str], datasets: Mapping[str, str]) -> list[Record]:
    """The records on the images and of the networks that count; `datasets` are of the targets whose records may not say."""
    images: dict[str, str] = {}
    counting: dict[str, str] = {}
    by_dataset = [(record.dataset or datasets.get(record.target, ""), record) for record in records]
    for dataset, record in by_dataset:
        images[dataset] = record.images_hash
        counting |= record.networks
    counting |= networks
    return [
        record
        for dataset, record in by_dataset
        if record.images_hash == images[dataset] and record.networks.items() <= counting.items()
    ]


def parts_of(worst: Cell, pairs: Iterable[tuple[Cell, Record | None]]) -> list[Record | None]:
    """The records of the cells that a cell is the worst of: those of its row, and of the same run."""
    own = {cell.column: record for cell, record in pairs if (cell.row, cell.target) == (worst.row, worst.target)}
    return [own.get(column) for column in worst.attack.parts]


def _has_its_parts(cell: Cell, record: Record, pairs: Sequence[tuple[Cell, Record | None]]) -> bool:
    """Whether a worst case is that of the records in its row; what is none has no parts."""
    if cell.attack.kind != "worst":
        return True
    parts = parts_of(cell, pairs)
    return all(parts) and record.source_hash == hash_of_parts(parts)


def completeness(cell: Cell, record: Record) -> str:
    """Whether the data was there: all test images and, so far as the record says, all training images.

    "complete" if so, "limited" if only the first test images were, as the cell's experiment asks; else "subset".
    """
    declared = DATASETS[cell.dataset]
    tested, limited = (
        record.images == _evaluated_images(images, cell.target.bn_evaluation)
        for images in (declared.test_images, cell.target.test_images)
    )
    # What is held out for validation counts; 0 training images means that nobody said.
    trained = not record.training_images or record.training_images + cell.target.validation >= declared.train_images
    if not trained or not (tested or limited):
        return "subset"
    return "complete" if tested else "limited"


def _evaluated_images(images: int, bn_evaluation: str) -> int:
    """How many of so many images are evaluated: BN on batch statistics leaves a partial batch after full ones out."""
    size = BATCH_STATISTICS_SIZE
    return images - images % size if bn_evaluation == "batch" and images > size else images


def wilson_interval(percent: float, images: int) -> tuple[float, float]:
    """Where the accuracy on all images of the kind is with 95% confidence, if it is `percent` on so many: Wilson's interval."""
    share, spread = percent / 100, _Z**2 / images
    middle = share + spread / 2
    half = math.sqrt(spread * (share * (1 - share) + spread / 4))
    return 100 * (middle - half) / (1 + spread), 100 * (middle + half) / (1 + spread)


def _numbers(measured: Sequence[float], paper: float | None, images: int) -> dict[str, Any]:
    """The columns of a cell that was measured so many times, on the same images."""
    mean = statistics.fmean(measured)
    low, high = wilson_interval(mean, images)
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
    numbers = _numbers([cell["measured_percent"] for cell in known], cells[0]["published_percent"], images)
    found = {cell["data"] for cell in known}
    data = next(kind for kind in ("subset", "limited", "complete") if kind in found)
    return joined | numbers | {"seeds": " ".join(cell["seeds"] for cell in known), "images": images, "data": data}


def _row(cell: Cell, record: Record | None) -> dict[str, Any]:
    paper = published().get((cell.table, cell.dataset, cell.row, cell.column))
    numbers = _NO_NUMBERS | {"published_percent": paper}
    if record is not None:
        numbers = _numbers([record.accuracy_percent], paper, record.images)
    return {
        "table": cell.table,
        "dataset": cell.dataset,
        "row": cell.row,
        "column": cell.column,
        **numbers,
        "seeds": "" if record is None else str(cell.target.seed),
        "run": cell.target.name,
        "steps": cell.target.steps,
        "images": None if record is None else record.images,
        "data": None if record is None else completeness(cell, record),
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


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV text; None is an empty field."""
    return csv_text(FIELDS, rows)


def as_markdown(
    table: Table, rows: Sequence[dict[str, Any]], *, scale: str, notes: Sequence[str] = (), appendix: str = ""
) -> str:
    """The paper's layout, one table per data set, each cell measured (published, difference); the scale and `notes` above.

    `appendix` is Markdown that follows.
    """
    parts = [
        f"# {heading(table)}",
        f"Scale `{scale}`: {SCALES[scale].title}. Accuracy in %, {_shown(rows)}; without the first number it is not measured.",
    ]
    parts += [f"- {note}" for note in notes]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        cells = {(row["row"], row["column"]): row for row in rows if row["dataset"] == dataset}
        columns = list(dict.fromkeys(column for _, column in cells))
        lines = [["method \\ attack", *columns], ["---"] + ["---:"] * len(columns)]
        lines += [
            [label, *(_text(cells[label, column]) for column in columns)]
            for label in dict.fromkeys(label for label, _ in cells)
        ]
        parts += [
            f"## {dataset}" if len({row["dataset"] for row in rows}) > 1 else "",
            "\n".join("| " + " | ".join(line) + " |" for line in lines),
        ]
    return "\n\n".join(filter(None, [*parts, appendix])) + "\n"


def as_text(table: Table, rows: Sequence[dict[str, Any]], *, scale: str) -> str:
    """The same for a terminal: aligned columns."""
    lines = [f"{heading(table)}, scale {scale}; accuracy in %, {_shown(rows)}"]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        cells = {(row["row"], row["column"]): _text(row) for row in rows if row["dataset"] == dataset}
        columns = list(dict.fromkeys(column for _, column in cells))
        body = [[dataset, *columns]] + [
            [label, *(cells[label, column] for column in columns)] for label in dict.fromkeys(label for label, _ in cells)
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
    """The name of the table's files, without their suffix."""
    name = f"table{table.name}" if table.name.isdigit() else table.name
    suite = "" if table.suite == "paper" else f"-{table.suite}"
    return f"{name}{suite}-attacks" if table.has_foreign_attacks else f"{name}{suite}"


def heading(table: Table) -> str:
    """The table's title, with its number where it has one."""
    return f"Table {table.name}. {table.title}" if table.name.isdigit() else table.title


def _shown(rows: Sequence[dict[str, Any]]) -> str:
    """What a cell of the rows shows, in words."""
    measured = "mean [least, most] of the seeds" if any(" " in row["seeds"] for row in rows) else "measured"
    return f"{measured} (published, difference)"


def _text(row: dict[str, Any]) -> str:
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
    """Writes `table<N>.csv` and `table<N>.md` into `directory`; a table that has no number goes by its name alone."""
    write_text(directory / f"{stem(table)}.csv", as_csv(rows))
    text = as_markdown(table, rows, scale=scale, notes=notes, appendix=appendix)
    write_text(directory / f"{stem(table)}.md", text)
