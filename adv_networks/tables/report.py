"""All results in a directory as one HTML page that needs no other file. Imports no TensorFlow."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from adv_networks import tables
from adv_networks.errors import UserError
from adv_networks.storage import pictures, run_directories
from adv_networks.storage.files import write_text
from adv_networks.storage.records import Record, read
from adv_networks.tables.layout import column_title
from adv_networks.training.logs import read_metrics

Line = dict[str, str]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.6rem } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc } caption { font-weight: 600; text-align: left }
table { border-collapse: collapse; margin: .8rem 0; font-size: 13px } td, th { padding: .25rem .5rem; border: 1px solid #ddd }
th { text-align: left; font-weight: 500; background: #f4f4f4 } .heat td { text-align: right }
.wide { overflow-x: auto } small { display: block } img { max-width: 100% } figure { margin: 1rem 0 }
"""
# Of pages and pictures alike: white for 0%, dark blue for 100%, told apart in print and by everybody.
_LIGHT, _DARK = (255, 255, 255), (8, 48, 107)


def write(group: Path, *, scale: str, runs_directory: Path) -> Path:
    """Writes `report.html` and pictures of the tables into a directory of results.

    The page has every table, measured beside published, the other CSV files, the pictures and where the numbers come from.
    Its numbers are those of the CSV files, and nothing is computed from them but colours. Directories in `group`, as of other
    seeds and of attack suites, are on the page too; those beside it, of other settings, have pages of their own.

    Args:
        group: the directory of results.
        scale: the runs' scale.
        runs_directory: where the runs are; of those that are there, the learning curves are drawn.

    Returns:
        The page's file.

    Raises:
        UserError: there are no results, or a file is damaged.
    """
    files = [file for file in _files(group, "csv") if file.name not in ("records.csv", "outcomes.csv")]
    if not files:
        raise UserError(f"{group}: expected tables to report, found none (--table makes them)")
    records = [record for file in sorted(group.glob("**/records.csv")) for record in read(file)]
    lines = {file: tables.read(file) for file in files}
    grids = {file: own for file, own in lines.items() if own and tables.is_table(own[0].keys())}
    drawn = {
        file.with_name(f"{file.stem}-{dataset}.png"): cells
        for file, own in grids.items()
        for dataset, cells in _by_dataset(own).items()
    }
    for picture, cells in drawn.items():
        _draw(picture.with_suffix(""), cells)
    _learning_curves(group, records, runs_directory)
    others = {_name(group, file): own for file, own in lines.items() if own and file not in grids}
    shown = [file for file in _files(group, "png") if file not in drawn]
    parts = [
        f"<h1>adv_networks: results at scale {html.escape(scale)}</h1>",
        "<p>Accuracy in %, of classifiers (rows) under attack (columns). Small: the 95% interval that the number of test "
        "images allows. A dash is not measured, or not published.</p>",
        *(_grid(_name(group, file), file, own) for file, own in grids.items()),
        *(f"<h2>{html.escape(name)}</h2>{_plain(name, own)}" for name, own in others.items()),
        "<h2>Pictures</h2>" * bool(shown),
        *(_picture(_name(group, file), file) for file in shown),
        "<h2>Where the numbers come from</h2>",
        _provenance(records),
    ]
    page = group / "report.html"
    write_text(page, _page(f"adv_networks, scale {scale}", parts))
    return page


def _files(group: Path, kind: str) -> list[Path]:
    """The files of a directory of results by name, and then those of the directories in it."""
    by_depth = (group.glob(f"{directories}*.{kind}") for directories in ("", "*/"))
    return [file for files in by_depth for file in sorted(files, key=lambda file: _name(group, file))]


def _name(group: Path, file: Path) -> str:
    """What a file goes by on the page: its name, after that of its directory where that is not the group's."""
    return " ".join(file.relative_to(group).with_suffix("").parts)


def _by_dataset(lines: Sequence[Line]) -> dict[str, list[Line]]:
    return {
        name: [line for line in lines if line["dataset"] == name] for name in dict.fromkeys(line["dataset"] for line in lines)
    }


def _page(title: str, parts: Iterable[str]) -> str:
    # The empty icon keeps browsers from asking for one.
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><link rel="icon" href="data:,"><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _grid(name: str, file: Path, lines: Sequence[Line]) -> str:
    """A table of the paper: for each data set the measured one and the published one."""
    notes = file.with_suffix(".md")
    said = notes.read_text(encoding="utf-8", errors="replace").splitlines() if notes.exists() else []
    title = said[0].removeprefix("# ") + f" ({file.parent.name})" * (name != file.stem) if said else name
    parts = [f"<h2>{html.escape(title)}</h2>"]
    parts += [f"<p>{html.escape(line[2:].replace('**', ''))}</p>" for line in said if line.startswith("- ")]
    for dataset, cells in _by_dataset(lines).items():
        for field, caption in (("measured_percent", "measured"), ("published_percent", "published")):
            if any(cell.get(field) for cell in cells):
                parts.append(_heat_map(name, cells, field, f"{dataset}, {caption}"))
    return "\n".join(parts)


def _layout(cells: Sequence[Line]) -> tuple[list[str], list[str], dict[tuple[str, str], Line]]:
    """Rows and columns in their order, and the cells by them."""
    by_place = {(cell["row"], column_title(cell)): cell for cell in cells}
    return list(dict.fromkeys(row for row, _ in by_place)), list(dict.fromkeys(column for _, column in by_place)), by_place


def _heat_map(name: str, cells: Sequence[Line], field: str, caption: str) -> str:
    rows, columns, by_place = _layout(cells)
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = [
        f"<tr><th>{html.escape(row)}</th>"
        + "".join(
            _heat_cell(name, by_place[row, column], field) if (row, column) in by_place else "<td></td>" for column in columns
        )
        + "</tr>"
        for row in rows
    ]
    return (
        f'<div class="wide"><table class="heat"><caption>{html.escape(caption)}</caption>'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _heat_cell(name: str, cell: Line, field: str) -> str:
    key = "|".join((name, cell["dataset"], cell["row"], column_title(cell), field))
    if not cell[field]:
        return f'<td data-cell="{html.escape(key)}">–</td>'
    percent = float(cell[field])
    colour = [round(light + (dark - light) * min(percent, 100) / 100) for light, dark in zip(_LIGHT, _DARK, strict=True)]
    interval = ""
    if field == "measured_percent" and cell.get("interval_low"):
        interval = f"<small>{float(cell['interval_low']):.2f} to {float(cell['interval_high']):.2f}</small>"
    style = f"background:rgb({','.join(map(str, colour))});color:{'#fff' if percent > 60 else '#222'}"
    return f'<td data-cell="{html.escape(key)}" style="{style}"><span>{percent:.2f}</span>{interval}</td>'


def _plain(name: str, lines: Sequence[Line]) -> str:
    """Any other CSV file, as it is."""
    head = "".join(f"<th>{html.escape(field)}</th>" for field in lines[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text or '')}</td>" for text in line.values()) + "</tr>" for line in lines
    )
    table = f'<table data-file="{html.escape(name)}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="wide">{table}</div>'


def _picture(name: str, file: Path) -> str:
    data = base64.b64encode(file.read_bytes()).decode()
    name = html.escape(name)
    return f'<figure><img alt="{name}" src="data:image/png;base64,{data}"><figcaption>{name}</figcaption></figure>'


def _provenance(records: Sequence[Record]) -> str:
    """What the records say of themselves, each value that occurs."""
    fields = {
        "data sets": "dataset",
        "protocols": "protocol",
        "seeds": "seed",
        "iterations": "steps",
        "training images": "training_images",
        "trained at commit": "training_commit",
        "evaluated at commit": "commit",
        "versions": "versions",
        "test images and labels (hash)": "images_hash",
        "weights under attack (hash)": "target_hash",
    }
    rows = []
    for title, name in fields.items():
        values = dict.fromkeys(str(getattr(record, name)) for record in records)
        rows.append(f"<tr><th>{title}</th><td>{html.escape(', '.join(values))}</td></tr>")
    return f"<table><tbody>{''.join(rows)}</tbody></table><p>{len(records)} records.</p>"


def _draw(stem: Path, cells: Sequence[Line]) -> None:
    """The table of one data set as a picture, measured beside published, where any of it is measured."""
    rows, columns, by_place = _layout(cells)
    values = {
        title: [[_number(by_place.get((row, column), {}).get(field)) for column in columns] for row in rows]
        for title, field in (("measured", "measured_percent"), ("published", "published_percent"))
    }
    known = {title: own for title, own in values.items() if any(value is not None for row in own for value in row)}
    if "measured" in known:
        pictures.heat_maps(stem, rows, columns, known)


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _learning_curves(group: Path, records: Sequence[Record], runs_directory: Path) -> None:
    """Validation accuracies along the runs of the records, so far as the runs are there, a picture a data set and attack."""
    names = {
        record.target: record for record in records if run_directories.describe(runs_directory / record.target) is not None
    }
    for dataset in dict.fromkeys(record.dataset for record in names.values()):
        metrics = {name: read_metrics(runs_directory / name) for name, record in names.items() if record.dataset == dataset}
        for attack in ("clean", "pgd"):
            series = {
                name: [
                    (line["step"], 100 * line[f"validation_{attack}"])
                    for line in own
                    if line[f"validation_{attack}"] is not None
                ]
                for name, own in metrics.items()
            }
            series = {name: points for name, points in series.items() if points}
            if series:
                file = group / f"learning-{dataset}-{attack}.png"
                pictures.curves(file, series, "iteration", f"{attack}: accuracy on validation images, %", y_scale="linear")
