"""The report's page: HTML that shows all numbers without a script, and a script that sorts, filters and draws curves."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from adv_networks.lazy import Image
from adv_networks.tables.layout import column_title

Line = Mapping[str, str]

# Accuracy is white at 0% and dark blue at 100%. Differences go from red, below the published number, over white to blue, above
# it. Both scales work in print and for colour-blind readers.
_WHITE, _BLUE, _RED, _DARK = (255, 255, 255), (33, 102, 172), (178, 24, 43), (8, 48, 107)
_FARTHEST = 40  # points of difference at the end of the colour scale
_VERDICTS = {"outcome", "measured", "published", "published_as_printed", "verdict"}
# Alternative texts of pictures, by a part of their names, the first that fits.
_ALTERNATIVES = {
    "-perturbations": "Held-out images, one a column: the original, what the generator of this run adds (red lightens, blue "
    "darkens), and the sum, with the class that the classifier sees in it",
    "-gallery": "The same images under FGS, PGD and each generator: what is added, and the sum with the class that is seen",
    "-classes": "Heat maps: the accuracy of each class, a column, under each white-box attack, one map a classifier",
    "-epsilon": "Curves: accuracy against the size ε of the attack, one panel a classifier, one line an attack",
    "-clean": "Accuracy on clean validation images along the training, one line a run",
    "-pgd": "Accuracy on validation images under PGD along the training, one line a run",
    "poster-curves": "Accuracy under G during training, one line for each intensity: D frozen (left), D learning (right)",
    "poster-attacks": "The same images under FGS, under G of a frozen D and under G of a D that learns: what each adds, and "
    "the sum with the class that is seen",
    "poster-patterns": "What G adds to validation images, grey for nothing, one row for each run",
    "-digit": "One digit under FGS of growing ε, with the class that the perceptron sees and its confidence",
}
# Embedded pictures keep this many colours and a third of the bytes, without a visible loss. The files keep all colours.
_COLOURS = 256


class Section(NamedTuple):
    """A part of the page: its tab, its data set ("" for none), its heading, and its HTML."""

    tab: str
    dataset: str
    title: str
    body: str


class Curve(NamedTuple):
    """Curves in one chart: the labels of x and y, and the points (x, y) by name, with y in percent."""

    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float, float]]]


def page(
    title: str,
    lead: str,
    tabs: Mapping[str, str],
    sections: Iterable[Section],
    *,
    curves: Sequence[Curve],
    runs: Mapping[str, Mapping[str, str]],
) -> str:
    """The whole page, which loads nothing from a server.

    Args:
        title: title of the page.
        lead: a sentence below the title.
        tabs: the titles of the tabs by their names, in order.
        sections: the parts of the page.
        curves: the charts to which `chart` refers by position.
        runs: facts about each run, by its name: texts by title.
    """
    frames = [
        {"x": own.x, "y": own.y, "series": [{"name": name, "points": points} for name, points in own.series.items()]}
        for own in curves
    ]
    parts = [
        f'<header><h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p><nav id="tabs" aria-label="tables and lists"></nav>'
        '<nav id="datasets" aria-label="data sets"></nav><div class="tools needs-script" hidden>'
        '<input id="filter" type="search" placeholder="rows that contain …" aria-label="show only rows that contain this text">'
        '<select id="verdict" aria-label="show only rows of this verdict" hidden></select>'
        '<label>colour <select id="colour"><option value="difference">difference to published</option>'
        '<option value="accuracy">accuracy</option></select></label></div></header><main>',
        *map(_section, sections),
        '</main><div id="tip" role="tooltip" hidden></div>',
        *(_data(name, own) for name, own in (("titles", tabs), ("runs", runs), ("curves", frames))),
        f"<script>/* {_asset('uPlot-LICENSE.txt')} */\n{_without_address(_asset('uPlot.iife.min.js'))}</script>",
        f"<script>{_asset('script.js')}</script>",
    ]
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>"
        # The empty icon keeps browsers from requesting one.
        f'<link rel="icon" href="data:,"><style>{_asset("uPlot.min.css")}\n{_asset("style.css")}</style>'
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _section(own: Section) -> str:
    place = f'data-tab="{html.escape(own.tab)}" data-dataset="{html.escape(own.dataset)}"'
    return f"<section {place}><h2>{html.escape(own.title)}</h2>{own.body}</section>"


def _asset(name: str) -> str:
    return (resources.files("adv_networks") / "tables" / "explorer_assets" / name).read_text(encoding="utf-8")


def _without_address(script: str) -> str:
    """A script without its first comment."""
    return re.sub(r"^/\*!.*?\*/\s*", "", script)


def _data(name: str, value: Any) -> str:
    """A value as JSON in the page, safe for any texts in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def notes(lines: Sequence[str]) -> str:
    """The notes about a table's numbers, folded."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<details><summary>What to know of these numbers</summary><ul>{items}</ul></details>" if lines else ""


def grid(name: str, cells: Sequence[Line], caption: str) -> str:
    """A table of one data set: each cell has the measured number, and below it the published one."""
    by_place = {(cell["row"], column_title(cell)): cell for cell in cells}
    rows, columns = dict.fromkeys(row for row, _ in by_place), dict.fromkeys(column for _, column in by_place)
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    body = [
        f'<tr><th scope="row">{html.escape(row)}</th>'
        + "".join(_cell(name, by_place[row, column]) if (row, column) in by_place else "<td></td>" for column in columns)
        + "</tr>"
        for row in rows
    ]
    return (
        f'<div class="wide"><table class="heat" data-name="{html.escape(name)}"><caption>{html.escape(caption)}</caption>'
        f'<thead><tr><th scope="col">method \\ attack</th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def _cell(name: str, cell: Line) -> str:
    said = {
        "cell": "|".join((name, cell["dataset"], cell["row"], column_title(cell))),
        "measured": cell["measured_percent"],
        "published": cell.get("published_percent"),
        "difference": cell.get("difference"),
        "low": cell.get("interval_low"),
        "high": cell.get("interval_high"),
        "run": cell.get("run"),
        "images": cell.get("images"),
        "data": cell.get("data"),
    }
    known = " ".join(f'data-{title}="{html.escape(text)}"' for title, text in said.items() if text or title == "measured")
    published = f"({float(said['published']):.2f})" if said["published"] else ""
    small = f"<small>{published}</small>" if published else ""
    if not said["measured"]:
        return f"<td {known}>–{small}</td>"
    percent = float(said["measured"])
    accuracy = _mixed(_WHITE, _DARK, min(1, percent / 100))
    # The difference is taken from the CSV file, which computes it from rounded numbers.
    by = float(said["difference"]) if said["difference"] else 0.0
    difference = _mixed(_WHITE, _BLUE if by > 0 else _RED, min(1, abs(by) / _FARTHEST))
    style = (
        f"--by-accuracy:{accuracy};--on-accuracy:{'#fff' if percent > 60 else '#222'};"
        f"--by-difference:{difference};--on-difference:{'#fff' if abs(by) > 0.6 * _FARTHEST else '#222'}"
    )
    return f'<td tabindex="0" {known} style="{style}"><span>{percent:.2f}</span>{small}</td>'


def _mixed(light: tuple[int, ...], dark: tuple[int, ...], share: float) -> str:
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(light, dark, strict=True))


def listed(name: str, lines: Sequence[Line]) -> str:
    """Any other CSV file as a table, which can be filtered by verdict."""
    head = "".join(f'<th scope="col">{html.escape(field)}</th>' for field in lines[0])
    body = "".join(
        "<tr>" + "".join(_text(field, text or "", first_verdict(lines[0])) for field, text in line.items()) + "</tr>"
        for line in lines
    )
    table = f'<table class="file" data-file="{html.escape(name)}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="wide">{table}</div>'


def first_verdict(fields: Iterable[str]) -> str:
    """The field of a file's verdicts; "" if it has none."""
    return next((field for field in fields if field in _VERDICTS), "")


def _text(field: str, text: str, verdict: str) -> str:
    kind = f' class="{html.escape(text.split()[0])}"' if field in _VERDICTS and text else ""
    return f'<td data-label="{html.escape(field)}"{kind}{" data-verdict" * (field == verdict)}>{html.escape(text)}</td>'


def picture(name: str, file: Path) -> str:
    """A picture with a description in words."""
    with Image.open(file) as image, io.BytesIO() as small:
        image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
        data = base64.b64encode(small.getvalue()).decode()
    shown = next((text for part, text in _ALTERNATIVES.items() if part in name), "Picture")
    text = html.escape(f"{shown} ({name})")
    shown = f'<img loading="lazy" alt="{text}" src="data:image/png;base64,{data}">'
    return f"<figure>{shown}<figcaption>{text}</figcaption></figure>"


def chart(number: int, curve: Curve) -> str:
    """The place where the script draws a chart, with a description in words."""
    text = f"{curve.y} against {curve.x}: {', '.join(curve.series)}. Point at a line for its values; click its name to hide it."
    return (
        f'<figure><div class="chart" data-curve="{number}" role="img" aria-label="{html.escape(text)}"></div>'
        f"<figcaption>{html.escape(text)}</figcaption></figure>"
    )
