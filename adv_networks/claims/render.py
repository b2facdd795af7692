"""Writes the claims of a source and their verdicts as lines of a CSV file, as Markdown and as text."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from adv_networks.claims.predicates import Number, Numbers, Scope, Verdict
from adv_networks.claims.sources import Claim, Judgement, Source

FIELDS = ("section", "claim", "measured", "published", "published_as_printed", "not_measured_cells", "cells")

# A table and one of its data sets.
Part = tuple[str, str]

_NO_PLACES: Mapping[Part, str] = MappingProxyType({})
_SCOPES = {
    Scope.PART: "On a part of the images: a number is of the first test images only. Its sampling error is that of so many "
    "images, and such verdicts are counted apart.",
    Scope.SPLIT: "On another split: a number's test images are not those of the official split. Such verdicts are counted "
    "apart.",
}


@dataclasses.dataclass(frozen=True)
class _Line:
    """A claim's judgements: measured, published, and published without allowance for the sampling error."""

    measured: Judgement
    published: Judgement
    printed: Judgement

    @property
    def claim(self) -> Claim:
        return self.measured.claim

    @property
    def measured_verdict(self) -> str:
        return _of_scope(self.measured.verdict, self.measured.scope)

    @property
    def published_verdict(self) -> str:
        return _of_published(self.published.verdict)

    def evidence(self) -> str:
        """The cells by table and row, each as measured (published), with a dash for a number that does not exist.

        A number of too few test images does not count, and one of a part of them names how many.
        """
        grouped: dict[tuple[str, str], dict[str, list[str]]] = {}
        for (key, own), (_, papers) in zip(self.measured.cells, self.published.cells, strict=True):
            table, dataset, row, *column = key
            cells = grouped.setdefault((table, dataset), {}).setdefault(row, [])
            cells.append(f"{' '.join(column)} {_shown(own)} ({_shown(papers)})")
        return ". ".join(
            f"{_table_title(table)}, {dataset}: " + "; ".join(f"{row} {', '.join(cells)}" for row, cells in rows.items())
            for (table, dataset), rows in grouped.items()
        )


def _lines(source: Source, numbers: Numbers) -> list[_Line]:
    judged = (source.judge(numbers), source.judge_published(), source.judge_published(z=0))
    return [_Line(*judgements) for judgements in zip(*judged, strict=True)]


def as_lines(source: Source, numbers: Numbers) -> list[dict[str, Any]]:
    """One line of `FIELDS` per claim, with the names of its unmeasured cells and the numbers of all its cells."""
    lines = []
    for line in _lines(source, numbers):
        missing = "; ".join("/".join(key) for key in line.measured.missing)
        verdicts = (line.measured_verdict, line.published_verdict, _of_published(line.printed.verdict))
        values = (line.claim.section, line.claim.title, *verdicts, missing, line.evidence())
        lines.append(dict(zip(FIELDS, values, strict=True)))
    return lines


def as_markdown(source: Source, numbers: Numbers, *, scale: str, places: Mapping[Part, str] = _NO_PLACES) -> str:
    """A page of Markdown: counts, readings, disagreements between text, tables and measurements, then all claims by section.

    `scale` describes, in Markdown, the scale of the measured numbers. `places` has the directory of each table and data
    set; it is empty if all are from the file's own.
    """
    lines = _lines(source, numbers)
    from_places = _places(source, places)
    where = "\n\n".join(["in the directories of these tables:", _list(from_places)]) if from_places else "beside this file."
    counts = [[f"{len(lines)} claims", *Verdict], ["---", *["---:"] * len(Verdict)]]
    counts += [[who, *map(str, found.values())] for who, found in _counts(lines).items()]
    parts = [
        f"# The {source.kind}'s statements about its tables",
        f"Scale {scale}. How the numbers came about is said in {source.tables} {where}",
        _table(counts),
    ]
    said = [text for scope, text in _SCOPES.items() if any(line.measured.scope == scope for line in lines)]
    parts += [_list((*source.readings, *said))]
    for title, notes in _findings(source, lines):
        parts += [f"## {title}", _list(notes) or "None."]
    for section, subject in source.sections.items():
        body = [["claim", "measured", "published", "cells: measured (published), in %"], ["---"] * 4]
        body += [
            [line.claim.title, line.measured_verdict, line.published_verdict, line.evidence()]
            for line in lines
            if line.claim.section == section
        ]
        parts += [f"## {_section_title(section)}: {subject}", _table(body)]
    if source.not_in_tables:
        notes = [f"{section}: {what}." for section, what in source.not_in_tables]
        parts += ["## What the text says and no table can show", _list(notes)]
    return "\n\n".join(parts) + "\n"


def as_text(source: Source, numbers: Numbers, *, scale: str) -> str:
    """The same as text for a terminal: each claim's verdicts as measured (published), then its cells."""
    lines = _lines(source, numbers)
    text = [f"The {source.kind}'s statements about its tables, scale {scale}; verdict measured (published)"]
    text += [f"{who}: {', '.join(f'{verdict} {n}' for verdict, n in found.items())}" for who, found in _counts(lines).items()]
    for section, subject in source.sections.items():
        text += ["", f"{_section_title(section)}: {subject}"]
        for line in lines:
            if line.claim.section == section:
                text.append(f"  {line.measured_verdict} ({line.published_verdict}): {line.claim.title}")
                text += textwrap.wrap(line.evidence(), 124, initial_indent=" " * 6, subsequent_indent=" " * 6)
    for title, notes in _findings(source, lines):
        text += ["", title, *(f"  {note}" for note in notes or ["None."])]
    return "\n".join(text)


def _shown(number: Number | None) -> str:
    """A number as text: two decimals, or none for a count."""
    if number is None:
        return "–"
    if number.images is None:
        return f"{number.value:g}"
    return f"{number.value:.2f}" + f" of {number.images:,}" * (number.scope == Scope.PART)


def _of_scope(verdict: str, scope: Scope) -> str:
    """A verdict, or whose verdict it is, followed by its test images unless these are all."""
    return f"{verdict}, {scope}" if scope else str(verdict)


def _of_published(verdict: Verdict) -> str:
    """The verdict on published cells; "not published" if a cell has no published number."""
    return "not published" if verdict == Verdict.NOT_MEASURED else verdict.value


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _places(source: Source, places: Mapping[Part, str]) -> list[str]:
    """By directory, the tables on which the source's claims rest, with their data sets."""
    needed = {key[:2] for claim in source.claims for key in claim.predicate.cells()}
    found: dict[str, dict[str, list[str]]] = {}
    for (table, dataset), place in places.items():
        if (table, dataset) in needed:
            found.setdefault(place, {}).setdefault(_table_title(table), []).append(dataset)
    return [
        f"`{place}`: " + ", ".join(f"{title} ({', '.join(datasets)})" for title, datasets in own.items()) + "."
        for place, own in sorted(found.items())
    ]


def _table(lines: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _table_title(name: str) -> str:
    return f"Table {name}" if name.isdigit() else name


def _section_title(section: str) -> str:
    return f"Section {section}" if section[0].isdigit() else section[0].upper() + section[1:]


def _counts(lines: Sequence[_Line]) -> dict[str, dict[Verdict, int]]:
    """The number of claims for each verdict: measured on all test images, measured on others, and published."""
    verdicts: dict[str, list[Verdict]] = {"measured": []}
    for scope in reversed(Scope):
        if found := [line.measured.verdict for line in lines if line.measured.scope == scope]:
            verdicts[_of_scope("measured", scope)] = found
    verdicts["published"] = [line.published.verdict for line in lines]
    return {who: {verdict: given.count(verdict) for verdict in Verdict} for who, given in verdicts.items()}


def _findings(source: Source, lines: Sequence[_Line]) -> list[tuple[str, list[str]]]:
    """What a reader looks for first: titles, each with the claims on which text, tables and measurements disagree."""

    def name(line: _Line) -> str:
        return f"{line.claim.section}: {line.claim.title}"

    def differing(published: Verdict, measured: Verdict) -> list[str]:
        chosen = [line for line in lines if (line.published.verdict, line.measured.verdict) == (published, measured)]
        return [name(line) + (f" ({scope})" if (scope := line.measured.scope) else "") for line in chosen]

    holds, fails = Verdict.HOLDS, Verdict.FAILS
    return [
        ("Holds in the published tables, does not hold here", differing(holds, fails)),
        ("Does not hold in the published tables, holds here", differing(fails, holds)),
        (
            f"Statements of the {source.kind} that do not fit its own tables, read so",
            [name(line) for line in lines if line.published.verdict == fails],
        ),
        (
            "Statements that its printed numbers contradict, but within the sampling error",
            [name(line) for line in lines if (line.published.verdict, line.printed.verdict) == (Verdict.UNDECIDED, fails)],
        ),
    ]
