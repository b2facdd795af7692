"""What a source says of its tables: its claims, its published numbers, and the verdicts on them and on measured ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from adv_networks.claims.predicates import Key, Number, Numbers, Predicate, Verdict, Z


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement of a source: where it is, what it says in one line of our own words, and as a predicate.

    `number` tells the claims of a source apart; a source that does without has only the sections.
    """

    section: str
    text: str
    predicate: Predicate
    number: str = ""

    @property
    def title(self) -> str:
        """The text, after the number where there is one."""
        return f"{self.number}. {self.text}" if self.number else self.text


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A claim, its verdict, and the cells that it rests on with their numbers; None where a cell has no number."""

    claim: Claim
    verdict: Verdict
    cells: tuple[tuple[Key, Number | None], ...]

    @property
    def missing(self) -> tuple[Key, ...]:
        """The cells that are not measured, or on a part of the data set only."""
        return tuple(key for key, number in self.cells if number is None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """What a source says of its tables.

    Attributes:
        name: what its files are called after.
        kind: what it is: paper, poster, report.
        sections: the subject of each section that has claims, in their order.
        claims: its statements.
        published: returns its own numbers by cell, in the order of its tables.
        readings: how its words and numbers are taken, a paragraph each.
        not_in_tables: pairs of a section and a statement of it that no table can show, with the reason.
        tables: the Markdown files that say how the measured numbers came about.
        file: the name of the claims' files without their suffix; "" for one that is made of `name`.
    """

    name: str
    kind: str
    sections: Mapping[str, str]
    claims: tuple[Claim, ...]
    published: Callable[[], Numbers]
    readings: tuple[str, ...]
    not_in_tables: tuple[tuple[str, str], ...] = ()
    tables: str
    file: str = ""

    @property
    def stem(self) -> str:
        """The name of the claims' files without their suffix."""
        return self.file or f"claims-{self.name}"

    def judge(self, numbers: Numbers, *, z: float = Z) -> list[Judgement]:
        """The claims' verdicts on numbers, measured ones for instance.

        Args:
            numbers: by cell; one that a claim rests on and that is not among them leaves the claim not measured.
            z: how many standard deviations a difference must exceed to be decided; 0 takes the numbers as they are printed.

        Returns:
            One judgement per claim, in the order of `claims`.
        """
        order = {key: position for position, key in enumerate(self.published())}
        return [_judge(claim, numbers, z, order) for claim in self.claims]

    def judge_published(self, *, z: float = Z) -> list[Judgement]:
        """The same on the source's own numbers."""
        return self.judge(self.published(), z=z)


def _judge(claim: Claim, numbers: Numbers, z: float, order: Mapping[Key, int]) -> Judgement:
    """The cells are each once, in the order of the source's tables; those that it has no number for come last."""
    keys = sorted(dict.fromkeys(claim.predicate.cells()), key=lambda key: order.get(key, len(order)))
    cells = tuple((key, numbers.get(key)) for key in keys)
    known = all(number is not None for _, number in cells)
    return Judgement(claim, claim.predicate.verdict(numbers, z) if known else Verdict.NOT_MEASURED, cells)


def measured(rows: Iterable[Mapping[str, Any]]) -> dict[Key, Number]:
    """The numbers by cell of the rows of tables (`tables.make_table`), those on complete data sets alone.

    A row has table, dataset, row, column, `measured_percent` and images. It may have a metric, which is accuracy without,
    `data`, without which it is "complete", and `interval_low`, which is None where the number is no share of images.
    """
    return {
        cell_key(row["table"], row["dataset"], row["row"], row["column"], row.get("metric", "accuracy")): Number(
            row["measured_percent"], None if row.get("interval_low", 0) is None else row["images"]
        )
        for row in rows
        if row["measured_percent"] is not None and row.get("data", "complete") == "complete"
    }


def cell_key(table: str, dataset: str, row: str, column: str, metric: str = "accuracy") -> Key:
    """The key of a cell; accuracy goes without saying."""
    return (table, dataset, row, column) if metric == "accuracy" else (table, dataset, row, column, metric)


@dataclasses.dataclass(frozen=True)
class Grid:
    """One data set's part of a table; called with a row and a column, it is the key of that cell, of accuracy or a metric."""

    table: str
    dataset: str

    def __call__(self, row: str, column: str, metric: str = "accuracy") -> Key:
        """The cell's key."""
        return cell_key(self.table, self.dataset, row, column, metric)


# By name, in the order in which they are shown.
SOURCES: dict[str, Source] = {}


def register(source: Source) -> None:
    """Makes a source's claims known."""
    SOURCES[source.name] = source
