"""Writes the claims of a source and their verdicts as lines of a CSV file, as Markdown and as text."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from adv_networks.claims.predicates import Number, Numbers, Verdict
from adv_networks.claims.sources import Claim, Judgement, Source

FIELDS = ("section", "claim", "measured", "published", "published_as_printed", "not_measured_cells", "cells")


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
        return self.measured.verdict.value + ", on another split" * self.measured.own_split

    @property
    def published_verdict(self) -> str:
        return _of_published(self.published.verdict)

    def evidence(self) -> str:
        """The cells by table and row, each as measured (published), with a dash for a number that does not exist.

        A number of too few test images, or only of the first, does not count.
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


def as_markdown(source: Source, numbers: Numbers, *, scale: str) -> str:
    """A page of Markdown: counts, readings, disagreements between text, tables and measurements, then all claims by section.

    `scale` describes, in Markdown, the scale of the measured numbers.
    """
    lines = _lines(source, numbers)
    counts = [[f"{len(lines)} claims", *Verdict], ["---", *["---:"] * len(Verdict)]]
    counts += [[who, *map(str, found.values())] for who, found in _counts(lines).items()]
    parts = [
        f"# The {source.kind}'s statements about its tables",
        f"Scale {scale}. How the numbers came about is said in {source.tables} beside this file.",
        _table(counts),
    ]
    parts += ["\n".join(f"- {reading}" for reading in source.readings)]
    for title, notes in _findings(source, lines):
        parts += [f"## {title}", "\n".join(f"- {note}" for note in notes) or "None."]
    for section, subject in source.sections.items():
        body = [["claim", "measured", "published", "cells: measured (published), in %"], ["---"] * 4]
        body += [
            [line.claim.title, line.measured_verdict, line.published_verdict, line.evidence()]
            for line in lines
            if line.claim.section == section
        ]
        parts += [f"## {_section_title(section)}: {subject}", _table(body)]
    if source.not_in_tables:
        notes = [f"- {where}: {what}." for where, what in source.not_in_tables]
        parts += ["## What the text says and no table can show", "\n".join(notes)]
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
    return f"{number.value:g}" if number.images is None else f"{number.value:.2f}"


def _of_published(verdict: Verdict) -> str:
    """The verdict on published cells; "not published" if a cell has no published number."""
    return "not published" if verdict == Verdict.NOT_MEASURED else verdict.value


def _table(lines: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _table_title(name: str) -> str:
    return f"Table {name}" if name.isdigit() else name


def _section_title(section: str) -> str:
    return f"Section {section}" if section[0].isdigit() else section[0].upper() + section[1:]


def _counts(lines: Sequence[_Line]) -> dict[str, dict[Verdict, int]]:
    """The number of claims for each verdict: measured, measured on another split than the official one, and published."""
    measured: dict[bool, list[Verdict]] = {False: [], True: []}
    for line in lines:
        measured[line.measured.own_split].append(line.measured.verdict)
    verdicts = {"measured": measured[False], "published": [line.published.verdict for line in lines]}
    if measured[True]:
        verdicts = {"measured": measured[False], "measured, on another split": measured[True], **verdicts}
    return {who: {verdict: given.count(verdict) for verdict in Verdict} for who, given in verdicts.items()}


def _findings(source: Source, lines: Sequence[_Line]) -> list[tuple[str, list[str]]]:
    """What a reader looks for first: titles, each with the claims on which text, tables and measurements disagree."""

    def name(line: _Line) -> str:
        return f"{line.claim.section}: {line.claim.title}"

    def differing(published: Verdict, measured: Verdict) -> list[str]:
        chosen = [line for line in lines if (line.published.verdict, line.measured.verdict) == (published, measured)]
        return [name(line) + " (on another split)" * line.measured.own_split for line in chosen]

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
