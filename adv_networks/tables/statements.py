"""The sources' claims on the measured numbers: files in a directory of results, and text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adv_networks import claims, tables
from adv_networks.experiments import SCALES, TABLES
from adv_networks.storage.csv_rows import csv_text
from adv_networks.storage.files import write_text


def tables_needed() -> list[str]:
    """The names of the tables that some claim depends on."""
    named = {key[0] for source in claims.SOURCES.values() for claim in source.claims for key in claim.predicate.cells()}
    return [name for name in TABLES if name in named]


def derived(directory: Path) -> list[dict[str, Any]]:
    """The numbers besides table cells that claims depend on, as the tables' appendices wrote them into `directory`."""
    named = {key[0] for source in claims.SOURCES.values() for claim in source.claims for key in claim.predicate.cells()}
    files = [directory / f"{name}.csv" for name in sorted(named - TABLES.keys())]
    return [_typed(line) for file in files if file.exists() for line in tables.read(file)]


def _typed(line: Mapping[str, str]) -> dict[str, Any]:
    numbers = {name: float(line[name]) if line[name] else None for name in ("measured_percent", "interval_low")}
    return {**line, **numbers, "images": int(line["images"])}


def write(rows: Sequence[Mapping[str, Any]], directory: Path, *, scale: str) -> None:
    """Writes a CSV and a Markdown file for each source into `directory`; the paper's are `claims.csv` and `claims.md`.

    Args:
        rows: rows of `tables.make_table`, of any tables; those whose `data` is "limited" or "subset" count as not measured.
        directory: the directory of the results.
        scale: the scale of the rows.
    """
    numbers = claims.measured(rows)
    for source in claims.SOURCES.values():
        write_text(directory / f"{source.stem}.csv", csv_text(claims.FIELDS, claims.as_lines(source, numbers)))
        text = claims.as_markdown(source, numbers, scale=f"`{scale}`: {SCALES[scale].title}")
        write_text(directory / f"{source.stem}.md", text)


def as_text(rows: Iterable[Mapping[str, Any]], *, scale: str) -> str:
    """The claims of all sources as text for a terminal."""
    numbers = claims.measured(rows)
    return "\n\n".join(claims.as_text(source, numbers, scale=scale) for source in claims.SOURCES.values())
