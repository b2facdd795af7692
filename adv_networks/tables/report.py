"""All results in a directory as one HTML page that needs no other file. Does not import TensorFlow."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from adv_networks import claims, tables
from adv_networks.errors import UserError
from adv_networks.experiments import DATASETS, TABLES
from adv_networks.storage import pictures
from adv_networks.storage.files import write_text
from adv_networks.storage.records import Record, read
from adv_networks.tables import curves, explorer
from adv_networks.tables.explorer import Curve, Section
from adv_networks.tables.layout import column_title

Line = dict[str, str]

_CURVES, _CHECKS, _CLAIMS, _PICTURES, _FILES, _OTHERS, _PROVENANCE = (
    "curves", "checks", "claims", "pictures", "files", "others", "provenance",
)  # fmt: skip
_TITLES = {
    _OTHERS: "Of no paper", _CURVES: "Curves", _CHECKS: "Checks", _CLAIMS: "Claims", _PICTURES: "Pictures",
    _FILES: "Further files", _PROVENANCE: "Where it comes from",
}  # fmt: skip


def write(group: Path, *, scale: str, runs_directory: Path) -> Path:
    """Writes `report.html` and pictures of the tables into a directory of results.

    The page has every table, with measured and published numbers, the other CSV files, curves, pictures, and the origin of the
    numbers. All numbers are taken from the CSV files; only colours are computed. Directories inside `group`, such as those of
    other seeds and of attack suites, are on the page too. Directories of other settings, beside `group`, have their own pages.

    Args:
        group: the directory of results.
        scale: the runs' scale.
        runs_directory: the directory of the runs; `learning.csv` keeps the learning curves of the runs that are there.

    Returns:
        The page's file.

    Raises:
        UserError: there are no results, or a file is damaged.
    """
    files = [file for file in _files(group, "csv") if file.name not in ("records.csv", "outcomes.csv", curves.FILE)]
    if not files:
        raise UserError(f"{group}: expected tables to report, found none (--table makes them)")
    records = [record for file in sorted(group.glob("**/records.csv")) for record in read(file)]
    lines = {file: own for file in files if (own := tables.read(file))}
    grids = {file: own for file, own in lines.items() if tables.is_table(own[0].keys())}
    drawn = {
        file.with_name(f"{file.stem}-{dataset}.png"): cells
        for file, own in grids.items()
        for dataset, cells in _by_dataset(own).items()
    }
    for picture, cells in drawn.items():
        _draw(picture.with_suffix(""), cells)
    learning = curves.learning(group, records, runs_directory)
    shown = [file for file in _files(group, "png") if file not in drawn and file.stem not in learning]
    frames: list[Curve] = []
    sections = [
        *(section for file, own in grids.items() for section in _grid(_name(group, file), file, own)),
        *_curves(frames, learning, {file: own for file, own in lines.items() if "epsilon" in own[0]}),
        *(_file(_name(group, file), own) for file, own in lines.items() if file not in grids),
        *(_picture(_name(group, file), file) for file in shown),
        Section(_PROVENANCE, "", "Where the numbers come from", _provenance(records)),
    ]
    lead = (
        "Accuracy in %, where a column says nothing else, of classifiers (rows) under attack (columns); in brackets what is "
        "published. Point at a number for its interval, run, commit and checks; click a heading to sort. A dash: not measured."
    )
    page = group / "report.html"
    text = explorer.page(
        f"adv_networks: results at scale {scale}", lead, _tabs(sections), sections, curves=frames, runs=_runs(records, lines)
    )
    write_text(page, text)
    return page


def _tabs(sections: Sequence[Section]) -> dict[str, str]:
    """The titles of the tabs that are not empty; the sources come first."""
    used = {section.tab for section in sections}
    named = {name: f"{name.replace('_', ' ')} ({source.kind})" for name, source in claims.SOURCES.items()}
    return {name: title for name, title in {**named, **_TITLES}.items() if name in used}


def _files(group: Path, kind: str) -> list[Path]:
    """The files of a directory of results, by name, followed by those of the directories in it."""
    by_depth = (group.glob(f"{directories}*.{kind}") for directories in ("", "*/"))
    return [file for files in by_depth for file in sorted(files, key=lambda file: _name(group, file))]


def _name(group: Path, file: Path) -> str:
    """A file's name on the page, after the name of its directory unless that is the group."""
    return " ".join(file.relative_to(group).with_suffix("").parts)


def _by_dataset(lines: Sequence[Line]) -> dict[str, list[Line]]:
    names = dict.fromkeys(line["dataset"] for line in lines)
    return {name: [line for line in lines if line["dataset"] == name] for name in names}


def _picture(name: str, file: Path) -> Section:
    """A section with a picture; the file name gives the data set."""
    dataset = next((part for part in file.stem.split("-") if part in DATASETS), "")
    return Section(_PICTURES, dataset, name, explorer.picture(name, file))


def _source_of(table: str) -> str:
    """The name of the table's source; for an ablation, that of its paper."""
    return TABLES[table].paper if table in TABLES and TABLES[table].paper in claims.SOURCES else _OTHERS


def _grid(name: str, file: Path, lines: Sequence[Line]) -> Iterator[Section]:
    """The sections of a table, one for each data set."""
    beside = file.with_suffix(".md")
    said = beside.read_text(encoding="utf-8", errors="replace").splitlines() if beside.exists() else []
    title = said[0].removeprefix("# ") + f" ({file.parent.name})" * (name != file.stem) if said else name
    notes = [line[2:].replace("**", "") for line in said if line.startswith("- ")]
    for dataset, cells in _by_dataset(lines).items():
        body = explorer.notes(notes) + explorer.grid(name, cells, f"{dataset}: measured (published)")
        yield Section(_source_of(lines[0].get("table", "")), dataset, title, body)


def _file(name: str, lines: Sequence[Line]) -> Section:
    kind = name.split(" ")[-1].partition("-")[0]
    datasets = {line.get("dataset", "") for line in lines}
    tab = kind if kind in (_CHECKS, _CLAIMS) else _FILES
    return Section(tab, datasets.pop() if len(datasets) == 1 else "", name, explorer.listed(name, lines))


def _curves(
    frames: list[Curve], learning: Mapping[str, tuple[str, Curve]], by_epsilon: Mapping[Path, Sequence[Line]]
) -> Iterator[Section]:
    """The sections of curves; adds the curves to `frames`, which the page's script draws."""
    found = list(learning.values())
    for lines in by_epsilon.values():
        for dataset, own in _by_dataset(lines).items():
            found += [(dataset, curve) for curve in curves.by_epsilon(own)]
    for number, (dataset, curve) in enumerate(found):
        frames.append(curve)
        yield Section(_CURVES, dataset, f"{dataset}: {curve.y}", explorer.chart(number, curve))


def _runs(records: Sequence[Record], lines: Mapping[Path, Sequence[Line]]) -> dict[str, dict[str, str]]:
    """What the page shows about a run when the user points at one of its numbers."""
    checks = [line for own in lines.values() if {"target", "check", "outcome"} <= own[0].keys() for line in own]
    found: dict[str, dict[str, str]] = {}
    for record in records:
        own = [line for line in checks if line["target"] == record.target]
        failed = [line["check"] for line in own if line["outcome"] == "fail"]
        passed = sum(line["outcome"] == "pass" for line in own)
        found[record.target] = {
            "iterations": f"{record.steps:,}",
            "trained at commit": record.training_commit[:12],
            "evaluated at commit": record.commit[:12],
            "checks": "; failed: ".join([f"{passed} of {len(own)} passed", *failed]) if own else "none made",
        }
    return found


def _provenance(records: Sequence[Record]) -> str:
    """The provenance of the records: each field with all values that occur."""
    fields = {
        "data sets": "dataset",
        "protocols": "protocol",
        "seeds": "seed",
        "iterations": "steps",
        "training images": "training_images",
        "trained at commit": "training_commit",
        "evaluated at commit": "commit",
        "versions": "versions",
        "kernels and threads": "runtime",
        "test images and labels (hash)": "images_hash",
        "weights under attack (hash)": "target_hash",
    }
    rows = []
    for title, name in fields.items():
        values = dict.fromkeys(str(getattr(record, name)) for record in records)
        rows.append(f'<tr><th scope="row">{title}</th><td>{html.escape(", ".join(values))}</td></tr>')
    return f'<table class="origins"><tbody>{"".join(rows)}</tbody></table><p>{len(records)} records.</p>'


def _draw(stem: Path, cells: Sequence[Line]) -> None:
    """Draws the table of one data set, measured and published, if any of its cells is measured."""
    by_place = {(cell["row"], column_title(cell)): cell for cell in cells}
    rows, columns = list(dict.fromkeys(row for row, _ in by_place)), list(dict.fromkeys(column for _, column in by_place))
    values = {
        title: [[_number(by_place.get((row, column), {}).get(field)) for column in columns] for row in rows]
        for title, field in (("measured", "measured_percent"), ("published", "published_percent"))
    }
    known = {title: own for title, own in values.items() if any(value is not None for row in own for value in row)}
    if "measured" in known:
        pictures.heat_maps(stem, rows, columns, known)


def _number(text: str | None) -> float | None:
    return float(text) if text else None
