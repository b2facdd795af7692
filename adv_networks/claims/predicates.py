"""Predicates over the cells of tables, with three-valued verdicts that allow for the sampling error of the test images.

The reading of vague words is ours, and the same for all sources. `CLOSE`, `MUCH` and "most" are not fitted to make any table
agree with its text.

- "comparable", "similar", "close", "small", "keeps up", with or without "very": within `CLOSE` = 3 points.
- "much", "considerable", "different": more than `MUCH` = 10 points. A model is "strong" or "works well" against an attack, and
  an attack has "not much effect", if fewer points than that are lost to it.
- "most", "usually", "tends to", "in general", "many": more than half of the cases.
- "except": all cases but those excepted.
- "effective" attack: one that leaves little accuracy (rather than one that takes much of it away).
- "white-box": the columns FGS and PGD; clean images have claims of their own.

A cell is a proportion p of n images, with standard deviation sqrt(p (1 - p) / n). Two successes and two failures are added
first (Agresti and Coull), because otherwise 0 of 100 images would have no error at all. The standard
deviation of a mean of n values between 0 and 1, such as a confidence, is at most as large. A comparison is a weighted sum of
cells, each with the error of its own n. Cells that are added are taken as fully correlated with one another, and cells that are
subtracted as independent of these: a > b is decided if |a - b| exceeds z sqrt(var a + var b), z = 1.96. The cells share their
test images, so their errors are positively correlated, and the rule is conservative: it leaves more undecided than it must. It
does not cover the variation between trainings (another seed gives another network).
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

Z = 1.96
CLOSE = 3
MUCH = 10
# (table, dataset, row, column), followed by the metric unless it is accuracy.
Key = tuple[str, ...]


class Verdict(enum.StrEnum):
    """What the cells say about a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    NOT_MEASURED = "not measured"


class Scope(enum.StrEnum):
    """Which test images a number is of. A verdict has the first scope in this order that one of its numbers has."""

    SPLIT = "on another split"
    PART = "on a part of the images"
    ALL = ""


@dataclasses.dataclass(frozen=True)
class Number:
    """A percentage of images (accuracy, error, success), or a mean over images (confidence); without `images`, a count."""

    value: float
    images: int | None
    scope: Scope = Scope.ALL

    @property
    def deviation(self) -> float:
        """The standard deviation of a proportion of so many images, in points; 0 for a count. It is above 0 at 0 and 100%."""
        if self.images is None:
            return 0.0
        images = self.images + 4
        percent = (self.value * self.images + 200) / images
        return math.sqrt(percent * (100 - percent) / images)


Numbers = Mapping[Key, Number]


@dataclasses.dataclass(frozen=True)
class Between:
    """Σ weight · cell (a cell, a difference, a mean, a drop; in points) is above `low` and below `high`."""

    terms: tuple[tuple[float, Key], ...]
    low: float = -math.inf
    high: float = math.inf

    def cells(self) -> Iterator[Key]:
        """The cells that the predicate depends on."""
        return (key for _, key in self.terms)

    def interval(self, numbers: Numbers, z: float) -> tuple[float, float]:
        """The weighted sum minus and plus z standard deviations, by the module's rule for correlated cells."""
        value = sum(weight * numbers[key].value for weight, key in self.terms)
        added = sum(weight * numbers[key].deviation for weight, key in self.terms if weight > 0)
        subtracted = sum(weight * numbers[key].deviation for weight, key in self.terms if weight < 0)
        error = z * math.hypot(added, subtracted)
        # Accuracies have two decimals. A difference in the ninth is a rounding error, and must not break a tie.
        return round(value - error, 9), round(value + error, 9)

    def verdict(self, numbers: Numbers, z: float) -> Verdict:
        """Decided if the interval lies wholly inside or wholly outside the bounds; undecided if it touches one."""
        least, most = self.interval(numbers, z)
        if self.low < least and most < self.high:
            return Verdict.HOLDS
        return Verdict.FAILS if most < self.low or least > self.high else Verdict.UNDECIDED


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """At least `count` of the parts hold."""

    count: int
    parts: tuple[Predicate, ...]

    def cells(self) -> Iterator[Key]:
        """The cells that the predicate depends on."""
        return itertools.chain.from_iterable(part.cells() for part in self.parts)

    def verdict(self, numbers: Numbers, z: float) -> Verdict:
        """Decided if the undecided parts cannot change the verdict."""
        verdicts = [part.verdict(numbers, z) for part in self.parts]
        holding = verdicts.count(Verdict.HOLDS)
        if holding >= self.count:
            return Verdict.HOLDS
        return Verdict.FAILS if holding + verdicts.count(Verdict.UNDECIDED) < self.count else Verdict.UNDECIDED


Predicate = Between | AtLeast


def all_of(parts: Iterable[Predicate]) -> AtLeast:
    """Every part holds."""
    parts = tuple(parts)
    return AtLeast(len(parts), parts)


def any_of(parts: Iterable[Predicate]) -> AtLeast:
    """At least one part holds."""
    return AtLeast(1, tuple(parts))


def most_of(parts: Iterable[Predicate]) -> AtLeast:
    """More than half of the parts hold."""
    parts = tuple(parts)
    return AtLeast(len(parts) // 2 + 1, parts)


def above(cell: Key, percent: float) -> Between:
    """The cell is above `percent`."""
    return Between(((1, cell),), percent)


def below(cell: Key, percent: float) -> Between:
    """The cell is below `percent`."""
    return Between(((1, cell),), high=percent)


def greater(cell: Key, other: Key, by: float = 0) -> Between:
    """The cell is more than `by` points above the other; with a negative `by`, it may be up to that many points below."""
    return Between(((1, cell), (-1, other)), by)


def mean_greater(cells: Sequence[Key], others: Sequence[Key]) -> Between:
    """The mean of the cells is above the mean of the others."""
    means = [(sign / len(keys), key) for sign, keys in ((1, cells), (-1, others)) for key in keys]
    return Between(tuple(means), 0)


def close(cell: Key, other: Key, within: float = CLOSE) -> Between:
    """The cells are less than `within` points apart."""
    return Between(((1, cell), (-1, other)), -within, within)


def all_close(cells: Iterable[Key], within: float = CLOSE) -> AtLeast:
    """Any two of the cells are less than `within` points apart."""
    return all_of(close(*pair, within) for pair in itertools.combinations(cells, 2))


def highest(cell: Key, among: Iterable[Key]) -> AtLeast:
    """The cell is above each of the others."""
    return all_of(greater(cell, other) for other in among if other != cell)


def lowest(cell: Key, among: Iterable[Key]) -> AtLeast:
    """The cell is below each of the others."""
    return all_of(greater(other, cell) for other in among if other != cell)


def not_highest(cell: Key, among: Iterable[Key]) -> AtLeast:
    """At least one of the others is above the cell."""
    return any_of(greater(other, cell) for other in among if other != cell)
