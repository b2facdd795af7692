"""The sources' claims on the measured numbers: files in a directory of results, and text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adv_networks import claims, tables
from adv_networks.experiments import SCALES, TABLES
from adv_networks.storage.csv_rows import csv_text
from adv_networks.storage.files import write_text

Row = Mapping[str, Any]


def _named() -> set[str]:
    """The names of all tables in claims, with those that appendices derive."""
    return {key[0] for source in claims.SOURCES.values() for claim in source.claims for key in claim.predicate.cells()}


def tables_needed() -> list[str]:
    """The names of the tables that some claim depends on."""
    named = _named()
    return [name for name in TABLES if name in named]


def derived(directory: Path) -> list[dict[str, Any]]:
    """The numbers besides table cells that claims depend on, as the tables' appendices wrote them into `directory`."""
    return _read(directory / f"{name}.csv" for name in sorted(_named() - TABLES.keys()))


def written(directory: Path) -> list[dict[str, Any]]:
    """The cells that claims depend on, as the files of their tables in `directory` have them, and what appendices derived."""
    return _read(directory / f"{tables.stem(TABLES[name])}.csv" for name in tables_needed()) + derived(directory)


def _read(files: Iterable[Path]) -> list[dict[str, Any]]:
    return [_typed(line) for file in files if file.exists() for line in tables.read(file)]


def _typed(line: Mapping[str, str]) -> dict[str, Any]:
    numbers = {name: float(line[name]) if line[name] else None for name in ("measured_percent", "interval_low")}
    return {**line, **numbers, "images": int(line["images"]) if line["images"] else None}


def gathered(by_directory: Mapping[Path, Sequence[Row]]) -> tuple[list[Row], dict[claims.Part, Path]]:
    """The rows of several directories, each part of a table from one of them, and from which.

    Networks of different directories have the same names but other weights. So a part is not put together from several. It
    comes from the directory in which most of its cells count, of these from the one whose data are the most complete, of these
    from the first.
    """
    candidates: dict[claims.Part, dict[Path, list[Row]]] = {}
    for directory, rows in by_directory.items():
        for row in rows:
            if claims.measured([row]):
                part = (row["table"], row["dataset"])
                candidates.setdefault(part, {}).setdefault(directory, []).append(row)
    chosen = {part: max(found, key=lambda place: _worth(found[place])) for part, found in candidates.items()}
    return [row for part, place in chosen.items() for row in candidates[part][place]], chosen


def _worth(rows: Sequence[Row]) -> tuple[int, int]:
    return len(rows), claims.COMPLETENESS.index(tables.least_complete(row["data"] for row in rows))


def write(
    rows: Sequence[Row], directory: Path, *, scale: str, places: Mapping[claims.Part, Path] = MappingProxyType({})
) -> None:
    """Writes a CSV and a Markdown file for each source into `directory`; the paper's are `claims.csv` and `claims.md`.

    Args:
        rows: rows of `tables.make_table`, of any tables; those whose `data` is "subset" count as not measured.
        directory: the directory of the results.
        scale: the scale of the rows.
        places: the directory of each part of a table (`gathered`); none if all are in `directory`.
    """
    numbers = claims.measured(rows)
    for source in claims.SOURCES.values():
        write_text(directory / f"{source.stem}.csv", csv_text(claims.FIELDS, claims.as_lines(source, numbers)))
        said = f"`{scale}`: {SCALES[scale].title}"
        by_part = {part: place.as_posix() for part, place in places.items()}
        write_text(directory / f"{source.stem}.md", claims.as_markdown(source, numbers, scale=said, places=by_part))


def as_text(rows: Iterable[Row], *, scale: str) -> str:
    """The claims of all sources as text for a terminal."""
    numbers = claims.measured(rows)
    return "\n\n".join(claims.as_text(source, numbers, scale=scale) for source in claims.SOURCES.values())
