"""What a source says about its tables: its claims, and their verdicts on published and on measured numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from adv_networks.claims.predicates import Key, Number, Numbers, Predicate, Scope, Verdict, Z

# How complete a number's data can be, least complete first (`tables.completeness`). Claims rest on those that have a scope.
COMPLETENESS = ("subset", "split", "limited", "part", "complete")
_SCOPES = {"split": Scope.SPLIT, "limited": Scope.PART, "part": Scope.ALL, "complete": Scope.ALL}


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement of a source: its section, one line in our own words, and a predicate.

    `number` tells the claims of a source apart; a source without numbers has only the sections.
    """

    section: str
    text: str
    predicate: Predicate
    number: str = ""

    @property
    def title(self) -> str:
        """The text, after the number if there is one."""
        return f"{self.number}. {self.text}" if self.number else self.text


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A claim, its verdict, and the cells that it depends on with their numbers; None for a cell without a number."""

    claim: Claim
    verdict: Verdict
    cells: tuple[tuple[Key, Number | None], ...]

    @property
    def missing(self) -> tuple[Key, ...]:
        """The cells that are not measured."""
        return tuple(key for key, number in self.cells if number is None)

    @property
    def scope(self) -> Scope:
        """The test images that the verdict is of."""
        if self.verdict == Verdict.NOT_MEASURED:
            return Scope.ALL
        found = {number.scope for _, number in self.cells if number}
        return next(scope for scope in Scope if scope in found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """What a source says about its tables.

    Attributes:
        name: the name after which its files are called.
        kind: paper, poster or report.
        sections: the subject of each section that has claims, in order.
        claims: its statements.
        published: returns its published numbers by cell, in the order of its tables.
        readings: how we read its words and numbers, one paragraph each.
        not_in_tables: pairs of a section and a statement that no table can show, with the reason.
        tables: the Markdown files that say how the numbers were measured.
        file: the name of the claims' files without their suffix; "" for one made from `name`.
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
        """The verdicts of the claims on some numbers, such as measured ones.

        Args:
            numbers: numbers by cell; a claim with a cell that is missing here counts as not measured.
            z: how many standard deviations a difference must exceed to be decided; 0 ignores the sampling error.

        Returns:
            One judgement per claim, in the order of `claims`.
        """
        order = {key: position for position, key in enumerate(self.published())}
        return [_judge(claim, numbers, z, order) for claim in self.claims]

    def judge_published(self, *, z: float = Z) -> list[Judgement]:
        """The verdicts on the source's published numbers."""
        return self.judge(self.published(), z=z)


def _judge(claim: Claim, numbers: Numbers, z: float, order: Mapping[Key, int]) -> Judgement:
    """Judges a claim. Its cells are listed once each, in the order of the source's tables; unpublished cells come last."""
    keys = sorted(dict.fromkeys(claim.predicate.cells()), key=lambda key: order.get(key, len(order)))
    cells = tuple((key, numbers.get(key)) for key in keys)
    known = all(number is not None for _, number in cells)
    return Judgement(claim, claim.predicate.verdict(numbers, z) if known else Verdict.NOT_MEASURED, cells)


def measured(rows: Iterable[Mapping[str, Any]]) -> dict[Key, Number]:
    """The numbers of table rows (`tables.make_table`) by cell, without those of too few test images to measure anything.

    A row has table, dataset, row, column, `measured_percent` and images. Optional are `metric` (default: accuracy), `data`
    (`COMPLETENESS`; default: "complete"), and `interval_low`, which is None if the number is not a proportion of images.
    """
    return {
        cell_key(row["table"], row["dataset"], row["row"], row["column"], row.get("metric", "accuracy")): Number(
            row["measured_percent"],
            None if row.get("interval_low", 0) is None else row["images"],
            _SCOPES[row.get("data", "complete")],
        )
        for row in rows
        if row["measured_percent"] is not None and row.get("data", "complete") in _SCOPES
    }


def cell_key(table: str, dataset: str, row: str, column: str, metric: str = "accuracy") -> Key:
    """The key of a cell, which names the metric unless it is accuracy."""
    return (table, dataset, row, column) if metric == "accuracy" else (table, dataset, row, column, metric)


@dataclasses.dataclass(frozen=True)
class Grid:
    """The part of a table for one data set. Calling it with a row, a column and a metric returns the key of that cell."""

    table: str
    dataset: str

    def __call__(self, row: str, column: str, metric: str = "accuracy") -> Key:
        """The key of the cell."""
        return cell_key(self.table, self.dataset, row, column, metric)


# Sources by name, in the order in which they are shown.
SOURCES: dict[str, Source] = {}


def register(source: Source) -> None:
    """Registers a source and its claims."""
    SOURCES[source.name] = source
