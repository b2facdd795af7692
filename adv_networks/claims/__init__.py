"""What the paper's text says about its tables, as predicates that are run on the measured cells and on the published ones.

One claim per comparative sentence of Sections 4.1-4.6 and of the CIFAR100 part of the appendix, in one line of our own words.
Where the grammar of a sentence allows two readings, or it says two things, there is a claim for each. How vague words are read
is ours, and one for all sections: `CLOSE`, `MUCH` and "most" below are not fitted to make any table agree with its text.

- "comparable", "similar", "close", "small", "keeps up", each with "very" in front or not: within `CLOSE` points, 3.
- "much", "considerable", "different": more than `MUCH` points, 10; an attack against which a model is "strong" or "works
  well", or that has "not much effect": fewer points are lost to it than that.
- "most", "usually", "tends to", "in general", "many": more than half of the cases.
- "except": all cases but those excepted.
- "effective" attack: one that leaves little accuracy (rather than one that takes much of it away).
- "white-box": the columns FGS and PGD; clean images have claims of their own.

A verdict has three values, and allows for the sampling error of the test images. A cell is a proportion p of n images with
standard deviation sqrt(p (1 - p) / n). A comparison is a weighted sum of cells, of which those added are taken as fully
correlated and those subtracted as independent of them: a > b is decided where |a - b| exceeds z sqrt(var a + var b), z = 1.96.
The cells share their test images, so their errors are positively correlated, and this is conservative: more is undecided than
need be. The error of a training (another seed gives another network) is not in it.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adv_networks import tables
from adv_networks.experiments import DATASETS, SCALES
from adv_networks.storage.csv_rows import csv_text
from adv_networks.storage.files import write_text

Z = 1.96
CLOSE = 3
MUCH = 10
FIELDS = ("section", "claim", "measured", "published", "published_as_printed", "not_measured_cells", "cells")
SECTIONS = {
    "4.1": "MNIST",
    "4.2": "SVHN",
    "4.3": "CIFAR10",
    "4.4": "ensemble adversarial training",
    "4.5": "generative networks",
    "4.6": "discussion",
    "appendix": "CIFAR100",
}

Key = tuple[str, str, str, str]  # (table, dataset, row, column), as in published/tables.csv


class Verdict(enum.StrEnum):
    """What the cells say of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    NOT_MEASURED = "not measured"


@dataclasses.dataclass(frozen=True)
class Number:
    """An accuracy in percent, on so many images."""

    percent: float
    images: int

    @property
    def deviation(self) -> float:
        """The standard deviation of the accuracy as a binomial proportion, in points."""
        return math.sqrt(self.percent * (100 - self.percent) / self.images)


Numbers = Mapping[Key, Number]


@dataclasses.dataclass(frozen=True)
class Between:
    """Σ weight · cell (a cell's accuracy, a difference, a mean, a drop; in points) is above `low` and below `high`."""

    terms: tuple[tuple[float, Key], ...]
    low: float = -math.inf
    high: float = math.inf

    def keys(self) -> Iterator[Key]:
        """The cells that the predicate rests on."""
        return (key for _, key in self.terms)

    def interval(self, numbers: Numbers, z: float) -> tuple[float, float]:
        """The sum minus and plus z standard deviations, by the module's rule for correlated cells."""
        value = sum(weight * numbers[key].percent for weight, key in self.terms)
        added = sum(weight * numbers[key].deviation for weight, key in self.terms if weight > 0)
        subtracted = sum(weight * numbers[key].deviation for weight, key in self.terms if weight < 0)
        error = z * math.hypot(added, subtracted)
        # The accuracies have two decimals: what shows in the ninth is rounding, and would break ties.
        return round(value - error, 9), round(value + error, 9)

    def verdict(self, numbers: Numbers, z: float) -> Verdict:
        """Decided where the whole interval is inside, or the whole of it outside; one that touches a bound is neither."""
        least, most = self.interval(numbers, z)
        if self.low < least and most < self.high:
            return Verdict.HOLDS
        return Verdict.FAILS if most < self.low or least > self.high else Verdict.UNDECIDED


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """At least `count` of the parts hold."""

    count: int
    parts: tuple[Predicate, ...]

    def keys(self) -> Iterator[Key]:
        """The cells that the predicate rests on."""
        return itertools.chain.from_iterable(part.keys() for part in self.parts)

    def verdict(self, numbers: Numbers, z: float) -> Verdict:
        """Decided where the undecided parts cannot change it."""
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
    """One part holds, or more."""
    return AtLeast(1, tuple(parts))


def most_of(parts: Iterable[Predicate]) -> AtLeast:
    """More than half of the parts hold."""
    parts = tuple(parts)
    return AtLeast(len(parts) // 2 + 1, parts)


def above(cell: Key, percent: float) -> Between:
    """The cell's accuracy is above `percent`."""
    return Between(((1, cell),), percent)


def greater(cell: Key, other: Key, by: float = 0) -> Between:
    """The cell is more than `by` points above the other; a negative `by` lets it be less than so far below."""
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
    """One of the others is above the cell."""
    return any_of(greater(other, cell) for other in among if other != cell)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement of the paper: where it is, what it says in one line of our own words, and as a predicate."""

    section: str
    text: str
    predicate: Predicate

    @property
    def cells(self) -> tuple[Key, ...]:
        """The cells that it rests on, each once, in the order of the paper's tables."""
        return tuple(sorted(set(self.predicate.keys()), key=list(tables.published()).index))


@dataclasses.dataclass(frozen=True)
class _Grid:
    """One data set's part of a table; called with a row and a column, it is that cell's key."""

    table: str
    dataset: str

    def __call__(self, row: str, column: str) -> Key:
        return self.table, self.dataset, row, column

    def best(self, row: str, columns: Iterable[str]) -> AtLeast:
        """That row of A, B and C is the highest in each of the columns."""
        return all_of(highest(self(row, column), [self(other, column) for other in ABC]) for column in columns)

    def worst(self, row: str, columns: Iterable[str]) -> AtLeast:
        """That row of A, B and C is the lowest in each of the columns."""
        return all_of(lowest(self(row, column), [self(other, column) for other in ABC]) for column in columns)

    def ahead(self, row: str, other: str, columns: Iterable[str], by: float = 0) -> list[Between]:
        """For each column: the row is more than `by` points above the other."""
        return [greater(self(row, column), self(other, column), by) for column in columns]

    def own_kind_by_attack(self) -> list[AtLeast]:
        """For each black-box column: of the three models, the one trained like the surrogate is the lowest."""
        return [self.worst(row, [f"{attack}({letter}')"]) for letter, row in zip("ABC", ABC, strict=True) for attack in WHITE]

    def own_kind_by_model(self) -> list[AtLeast]:
        """For each model and attack: of the three surrogates, the one trained like the model leaves it lowest."""
        return [self.weakest_to(row, letter, attack) for letter, row in zip("ABC", ABC, strict=True) for attack in WHITE]

    def weakest_to(self, row: str, letter: str, attack: str) -> AtLeast:
        """Of the three surrogates, that one leaves the row the lowest."""
        return lowest(self(row, f"{attack}({letter}')"), [self(row, f"{attack}({other}')") for other in "ABC"])

    def smallest_drop(self, row: str, column: str) -> AtLeast:
        """Of A, B and C, that row loses the fewest points from clean images to the column's."""
        kept = ((1, self(row, column)), (-1, self(row, "No Noise")))
        return all_of(
            Between((*kept, (1, self(other, "No Noise")), (-1, self(other, column))), 0) for other in ABC if other != row
        )

    def losses(self, row: str, columns: Iterable[str], fewer_than: float = MUCH) -> list[Between]:
        """For each column: the row loses fewer than so many points from clean images to the column's."""
        return [greater(self(row, column), self(row, "No Noise"), -fewer_than) for column in columns]


A, B, C = ABC = ("standard (A)", "adversarial PGD (B)", "adversarial network (C)")
EAT = "ensemble adversarial training"
NARROW, WIDE, GAUSSIAN, LABEL = GENERATORS = ("autoencoder (8 filters)", "autoencoder (64 filters)", "random Gaussian", "label")
CLEAN = ("No Noise",)
WHITE = ("FGS", "PGD")
FROM_A, FROM_B, FROM_C = (("FGS(A')", "PGD(A')"), ("FGS(B')", "PGD(B')"), ("FGS(C')", "PGD(C')"))
BLACK = (*FROM_A, *FROM_B, *FROM_C)

MNIST, SVHN, CIFAR10, CIFAR100 = (_Grid("1", "mnist"), _Grid("2", "svhn"), _Grid("3", "cifar10"), _Grid("7", "cifar100"))
MAIN = (MNIST, SVHN, CIFAR10)  # the experiments that Section 4 discusses
ENSEMBLE = {name: _Grid("4", name) for name in ("mnist", "svhn", "cifar10")}
ATTACKERS = _Grid("5", "cifar10")  # rows: generators; columns: the models they attack
CO_TRAINED = _Grid("6", "cifar10")  # rows: generators; columns: attacks on the D trained with them
ON_A, ON_A2, ON_B, ON_C = ("Test Acc on Original (A)", "standard (A')", "adversarial PGD (B)", "adversarial network (C)")


def _mnist() -> Iterator[tuple[str, Predicate]]:
    """Section 4.1."""
    grid = MNIST
    yield "White-box, B has the highest accuracy under FGS and PGD", grid.best(B, WHITE)
    yield "B stays above 90% under white-box FGS and PGD", all_of(above(grid(B, column), 90) for column in WHITE)
    yield f"White-box, C is more than {MUCH} points above A under FGS and PGD", all_of(grid.ahead(C, A, WHITE, MUCH))
    yield "White-box, C remains below B under FGS and PGD", all_of(grid.ahead(B, C, WHITE))
    yield (
        f"On clean images B is below A and C, by fewer than {CLOSE} points",
        all_of([grid.worst(B, CLEAN), *(close(grid(row, "No Noise"), grid(B, "No Noise")) for row in (A, C))]),
    )
    yield (
        "By attack: in most black-box columns the lowest of A, B, C is the model trained like the surrogate",
        most_of(grid.own_kind_by_attack()),
    )
    yield (
        "By model: mostly the surrogate that leaves a model lowest is the one trained like it (A, B, C; FGS, PGD)",
        most_of(grid.own_kind_by_model()),
    )
    yield (
        f"Black-box, B and C are within {CLOSE} points of each other in every column",
        all_of(close(grid(B, column), grid(C, column)) for column in BLACK),
    )
    yield "B is above C under FGS and PGD from C'", all_of(grid.ahead(B, C, FROM_C))
    yield "C is above B under FGS and PGD from B'", all_of(grid.ahead(C, B, FROM_B))
    yield (
        f"B's lead over C under C' and C's lead over B under B' differ by fewer than {CLOSE} points",
        all_of(
            Between(((1, grid(B, of_c)), (-1, grid(C, of_c)), (1, grid(B, of_b)), (-1, grid(C, of_b))), -CLOSE, CLOSE)
            for of_b, of_c in zip(FROM_B, FROM_C, strict=True)
        ),
    )
    yield f"B' and C' transfer badly to A: it loses fewer than {MUCH} points", all_of(grid.losses(A, FROM_B + FROM_C))
    yield "A stays above 90% under B' and C'", all_of(above(grid(A, column), 90) for column in FROM_B + FROM_C)


def _svhn() -> Iterator[tuple[str, Predicate]]:
    """Section 4.2."""
    grid = SVHN
    yield "White-box, B has the highest accuracy under PGD", grid.best(B, ["PGD"])
    yield "B is the lowest on clean images and under white-box FGS", grid.worst(B, ["No Noise", "FGS"])
    yield "C is the highest on clean images and under white-box FGS", grid.best(C, ["No Noise", "FGS"])
    yield "White-box, C is above A under PGD", all_of(grid.ahead(C, A, ["PGD"]))
    yield "Black-box, C is the highest in every column but PGD(C')", grid.best(C, BLACK[:-1])
    yield "C is not the highest under PGD(C')", not_highest(grid(C, "PGD(C')"), [grid(row, "PGD(C')") for row in ABC])
    yield (
        "Of the surrogates B' leaves every model lowest, under FGS and under PGD",
        all_of(grid.weakest_to(row, "B", attack) for row in ABC for attack in WHITE),
    )
    others = (MNIST, CIFAR10)
    yield (
        "By attack, on MNIST and CIFAR10: in most black-box columns the lowest is the model trained like the surrogate",
        most_of(part for other in others for part in other.own_kind_by_attack()),
    )
    yield (
        "By model, on MNIST and CIFAR10: mostly the surrogate that leaves a model lowest is the one trained like it",
        most_of(part for other in others for part in other.own_kind_by_model()),
    )


def _cifar10() -> Iterator[tuple[str, Predicate]]:
    """Section 4.3."""
    grid = CIFAR10
    yield "White-box, B has the highest accuracy under PGD", grid.best(B, ["PGD"])
    yield (
        f"B is more than {MUCH} points below A and C on clean images and under white-box FGS",
        all_of(part for row in (A, C) for part in grid.ahead(row, B, ["No Noise", "FGS"], MUCH)),
    )
    yield f"On clean images C is within {CLOSE} points of A", close(grid(C, "No Noise"), grid(A, "No Noise"))
    yield "White-box, C is above A under FGS and PGD", all_of(grid.ahead(C, A, WHITE))
    yield "Black-box, C is the highest in every column but PGD(C')", grid.best(C, BLACK[:-1])
    yield "C is not the highest under PGD(C')", not_highest(grid(C, "PGD(C')"), [grid(row, "PGD(C')") for row in ABC])
    yield (
        f"B loses fewer than {MUCH} points to A' and C', and more to B'",
        all_of(
            [
                *grid.losses(B, FROM_A + FROM_C),
                *(greater(grid(B, "No Noise"), grid(B, column), MUCH) for column in FROM_B),
            ]
        ),
    )
    yield (
        "Black-box, B loses the fewest points of A, B, C in most columns",
        most_of(grid.smallest_drop(B, column) for column in BLACK),
    )
    yield (
        "B's mean black-box accuracy is below C's, and its clean accuracy below A's and C's",
        all_of(
            [
                mean_greater([grid(C, column) for column in BLACK], [grid(B, column) for column in BLACK]),
                grid.worst(B, CLEAN),
            ]
        ),
    )
    yield (
        "CIFAR100 is like CIFAR10: for most pairs of A, B, C and columns the same model is ahead",
        most_of(
            any_of(
                all_of([*CIFAR10.ahead(row, other, [column]), *CIFAR100.ahead(row, other, [column])])
                for row, other in (pair, pair[::-1])
            )
            for column in CLEAN + WHITE + BLACK
            for pair in itertools.combinations(ABC, 2)
        ),
    )


def _ensemble() -> Iterator[tuple[str, Predicate]]:
    """Section 4.4."""
    mnist, svhn, cifar10 = ENSEMBLE.values()
    every = ENSEMBLE.values()
    yield "MNIST: white-box, EAT is above C under FGS and PGD", all_of(mnist.ahead(EAT, C, WHITE))
    yield "MNIST: black-box, C is above EAT in every column", all_of(mnist.ahead(C, EAT, BLACK))
    yield "SVHN is the reverse: white-box, C is above EAT under FGS and PGD", all_of(svhn.ahead(C, EAT, WHITE))
    yield "SVHN is the reverse: black-box, EAT is above C in every column", all_of(svhn.ahead(EAT, C, BLACK))
    yield (
        f"SVHN: EAT is strong under every black-box attack: it loses fewer than {MUCH} points",
        all_of(svhn.losses(EAT, BLACK)),
    )
    yield "CIFAR10: white-box, C is above EAT under FGS and PGD", all_of(cifar10.ahead(C, EAT, WHITE))
    yield (
        "CIFAR10: black-box, C is ahead in some columns and EAT in others",
        all_of([any_of(cifar10.ahead(C, EAT, BLACK)), any_of(cifar10.ahead(EAT, C, BLACK))]),
    )
    yield (
        "White-box, C is above EAT in most cases (three data sets; FGS, PGD)",
        most_of(part for grid in every for part in grid.ahead(C, EAT, WHITE)),
    )
    yield (
        "Black-box, which of C and EAT is ahead depends on the data set (for some attack)",
        any_of(
            all_of([any_of(part for grid in every for part in grid.ahead(*pair, [column])) for pair in ((C, EAT), (EAT, C))])
            for column in BLACK
        ),
    )
    yield (
        "Black-box, which of C and EAT is ahead depends on the attack (on some data set)",
        any_of(all_of([any_of(grid.ahead(C, EAT, BLACK)), any_of(grid.ahead(EAT, C, BLACK))]) for grid in every),
    )
    means = [tuple([grid(row, column) for column in BLACK] for row in (C, EAT)) for grid in every]
    yield (
        "By mean black-box accuracy neither of C and EAT is ahead on all three data sets",
        all_of([any_of(mean_greater(c, eat) for c, eat in means), any_of(mean_greater(eat, c) for c, eat in means)]),
    )


def _attackers() -> Iterator[tuple[str, Predicate]]:
    """Section 4.5, on generators trained against a fixed A (Table 5)."""
    grid, undefended = ATTACKERS, (ON_A, ON_A2)
    yield (
        "The wide autoencoder leaves the undefended A and A' lower than the narrow one",
        all_of(greater(grid(NARROW, column), grid(WIDE, column)) for column in undefended),
    )
    yield (
        "The wide autoencoder leaves every model (A, A', B, C) lower than the narrow one",
        all_of(greater(grid(NARROW, column), grid(WIDE, column)) for column in (*undefended, ON_B, ON_C)),
    )
    yield f"On A the wide autoencoder is within {CLOSE} points of white-box PGD", close(grid(WIDE, ON_A), CIFAR10(A, "PGD"))
    yield (
        "Black-box on the undefended model, the wide autoencoder leaves less than PGD does",
        greater(CIFAR10(A, "PGD(A')"), grid(WIDE, ON_A2)),
    )
    defended = ((ON_B, CIFAR10(B, "No Noise")), (ON_C, CIFAR10(C, "No Noise")))
    yield (
        f"The generators take fewer than {MUCH} points from the defended B and C",
        all_of(greater(grid(row, column), clean, -MUCH) for column, clean in defended for row in GENERATORS),
    )
    yield (
        f"The generators take fewer than {CLOSE} points from B",
        all_of(greater(grid(row, ON_B), CIFAR10(B, "No Noise"), -CLOSE) for row in GENERATORS),
    )
    yield "Every generator takes less from B than from C", all_of(_takes_less_from_b(row) for row in GENERATORS)
    yield (
        "G(z) and G(y) take more than 30 points from A and A' (of A's clean accuracy)",
        all_of(greater(CIFAR10(A, "No Noise"), grid(row, on), 30) for row in (GAUSSIAN, LABEL) for on in undefended),
    )
    for width, autoencoders in (
        ("the autoencoder of the same width does", [WIDE]),
        ("either autoencoder does", [NARROW, WIDE]),
    ):
        yield (
            f"G(z) and G(y) leave A and A' more accuracy than {width}",
            all_of(
                greater(grid(row, on), grid(other, on))
                for row in (GAUSSIAN, LABEL)
                for other in autoencoders
                for on in undefended
            ),
        )
    yield (
        f"As attackers of A and A' the four generators differ: two of them by more than {MUCH} points",
        all_of(
            any_of(greater(grid(row, on), grid(other, on), MUCH) for row, other in itertools.permutations(GENERATORS, 2))
            for on in undefended
        ),
    )


def _takes_less_from_b(row: str) -> Between:
    """The generator's attack takes fewer points from B than from C."""
    b, c = (CIFAR10(model, "No Noise") for model in (B, C))
    return Between(((1, ATTACKERS(row, ON_B)), (-1, b), (1, c), (-1, ATTACKERS(row, ON_C))), 0)


def _co_trained() -> Iterator[tuple[str, Predicate]]:
    """Section 4.5, on generators trained together with D (Table 6)."""
    yield (
        f"Co-trained with any of the four generators, D is within {CLOSE} points of the others, white-box and black-box",
        all_of(all_close(CO_TRAINED(row, column) for row in GENERATORS) for column in WHITE + FROM_A + FROM_B),
    )


def _discussion() -> Iterator[tuple[str, Predicate]]:
    """Section 4.6, on Tables 1-4 and 6."""
    yield (
        "White-box, B has the highest accuracy in most cases (Tables 1-3; FGS, PGD)",
        most_of(grid.best(B, [column]) for grid in MAIN for column in WHITE),
    )
    yield (
        "Clean accuracy is traded for robustness: B is the highest under PGD and the lowest on clean images (Tables 1-3)",
        all_of(part for grid in MAIN for part in (grid.best(B, ["PGD"]), grid.worst(B, CLEAN))),
    )
    yield (
        "PGD examples are hard to train against: even B is lower under PGD than under FGS (Tables 1-3)",
        all_of(greater(grid(B, "FGS"), grid(B, "PGD")) for grid in MAIN),
    )
    yield (
        "Black-box, B is below C in most cases (Tables 1-3)",
        most_of(part for grid in MAIN for part in grid.ahead(C, B, BLACK)),
    )
    yield (
        "Black-box, B is below EAT in most cases (Tables 1-4)",
        most_of(greater(ENSEMBLE[grid.dataset](EAT, column), grid(B, column)) for grid in MAIN for column in BLACK),
    )
    yield (
        f"G's architecture has no big effect: co-trained with any of four, D is within {MUCH} points of the others",
        all_of(all_close((CO_TRAINED(row, column) for row in GENERATORS), MUCH) for column in CLEAN + WHITE + FROM_A + FROM_B),
    )


def _cifar100() -> Iterator[tuple[str, Predicate]]:
    """The appendix."""
    grid = CIFAR100
    yield "White-box, B has the highest accuracy under PGD", grid.best(B, ["PGD"])
    yield "B is the lowest on clean images and under white-box FGS", grid.worst(B, ["No Noise", "FGS"])
    yield f"On clean images C is within {CLOSE} points of A", close(grid(C, "No Noise"), grid(A, "No Noise"))
    yield "White-box, C is above A under FGS and PGD", all_of(grid.ahead(C, A, WHITE))
    yield "Black-box, C is the highest in every column but those of C'", grid.best(C, FROM_A + FROM_B)
    yield (
        "C is the highest neither under FGS(C') nor under PGD(C')",
        all_of(not_highest(grid(C, column), [grid(row, column) for row in ABC]) for column in FROM_C),
    )


CLAIMS: tuple[Claim, ...] = tuple(
    Claim(section, text, predicate)
    for section, statements in (
        ("4.1", _mnist),
        ("4.2", _svhn),
        ("4.3", _cifar10),
        ("4.4", _ensemble),
        ("4.5", _attackers),
        ("4.5", _co_trained),
        ("4.6", _discussion),
        ("appendix", _cifar100),
    )
    for text, predicate in statements()
)

NOT_IN_THE_TABLES = (
    (
        "4.2, 4.3, 4.6",
        "that limited capacity is why B loses clean accuracy, and that larger networks would help: one D per data set",
    ),
    ("4.4", "that C's white-box lead over EAT comes from its changing adversary: the two trainings differ in more than that"),
    ("4.5", "that the generators' like decoders are why they end alike: all four share the decoder"),
    ("4.6", "that the trade-off grows with ε: one ε per data set"),
    ("4.6", "that step sizes and numbers of iterations matter more than G's architecture: neither is varied"),
)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A claim, its verdict, and the cells that it rests on with their numbers; None where a cell is not measured in full."""

    claim: Claim
    verdict: Verdict
    cells: tuple[tuple[Key, Number | None], ...]

    @property
    def missing(self) -> tuple[Key, ...]:
        """The cells that are not measured, or on a part of the data set only."""
        return tuple(key for key, number in self.cells if number is None)


def judge(rows: Iterable[Mapping[str, Any]], *, z: float = Z) -> list[Judgement]:
    """The claims' verdicts on measured cells.

    Args:
        rows: of `tables.make_table`, of any tables; those with `data` other than "complete" count as not measured.
        z: how many standard deviations a difference must exceed to be decided; 0 takes the numbers as they are printed.

    Returns:
        One judgement per claim, in the order of `CLAIMS`; a claim with a cell that is not measured is not measured.
    """
    numbers = {
        (row["table"], row["dataset"], row["row"], row["column"]): Number(row["measured_percent"], row["images"])
        for row in rows
        if row["measured_percent"] is not None and row.get("data", "complete") == "complete"
    }
    return [_judge(claim, numbers, z) for claim in CLAIMS]


def judge_published(*, z: float = Z) -> list[Judgement]:
    """The same for the paper's own numbers, each taken to be of all the data set's test images."""
    numbers = {key: Number(percent, DATASETS[key[1]].test_images) for key, percent in tables.published().items()}
    return [_judge(claim, numbers, z) for claim in CLAIMS]


def _judge(claim: Claim, numbers: Numbers, z: float) -> Judgement:
    cells = tuple((key, numbers.get(key)) for key in claim.cells)
    measured = all(number is not None for _, number in cells)
    return Judgement(claim, claim.predicate.verdict(numbers, z) if measured else Verdict.NOT_MEASURED, cells)


@dataclasses.dataclass(frozen=True)
class _Line:
    """A claim's judgements: measured, published, and published without allowance for the sampling error."""

    measured: Judgement
    published: Judgement
    printed: Judgement

    @property
    def claim(self) -> Claim:
        return self.measured.claim

    def evidence(self) -> str:
        """The cells by table and row, each measured (published); a dash where it is not measured in full."""
        grouped: dict[tuple[str, str], dict[str, list[str]]] = {}
        for (key, own), (_, papers) in zip(self.measured.cells, self.published.cells, strict=True):
            table, dataset, row, column = key
            number = "–" if own is None else f"{own.percent:.2f}"
            cells = grouped.setdefault((table, dataset), {}).setdefault(row, [])
            cells.append(f"{column} {number} ({papers.percent:.2f})")
        return ". ".join(
            f"Table {table}, {dataset}: " + "; ".join(f"{row} {', '.join(cells)}" for row, cells in rows.items())
            for (table, dataset), rows in grouped.items()
        )


def _lines(rows: Iterable[Mapping[str, Any]]) -> list[_Line]:
    return [_Line(*judgements) for judgements in zip(judge(rows), judge_published(), judge_published(z=0), strict=True)]


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """One line per claim, with the names of the cells that are not measured and the numbers of all."""
    lines = []
    for line in _lines(rows):
        missing = "; ".join("/".join(key) for key in line.measured.missing)
        verdicts = (judgement.verdict.value for judgement in (line.measured, line.published, line.printed))
        values = (line.claim.section, line.claim.text, *verdicts, missing, line.evidence())
        lines.append(dict(zip(FIELDS, values, strict=True)))
    return csv_text(FIELDS, lines)


def as_markdown(rows: Iterable[Mapping[str, Any]], *, scale: str) -> str:
    """Counts, readings, where the paper's text, its tables and the measured numbers disagree, then the claims by section."""
    lines = _lines(rows)
    counts = [[f"{len(lines)} claims", *Verdict], ["---", *["---:"] * len(Verdict)]]
    counts += [[who, *map(str, found.values())] for who, found in _counts(lines).items()]
    parts = [
        "# The paper's statements about its tables",
        f"Scale `{scale}`: {SCALES[scale].title}. How the numbers came about is said in `table<N>.md` beside this file.",
        _table(counts),
    ]
    parts += ["\n".join(f"- {reading}" for reading in _READINGS)]
    for title, notes in _findings(lines):
        parts += [f"## {title}", "\n".join(f"- {note}" for note in notes) or "None."]
    for section, subject in SECTIONS.items():
        body = [["claim", "measured", "published", "cells: measured (published), in %"], ["---"] * 4]
        body += [
            [line.claim.text, line.measured.verdict.value, line.published.verdict.value, line.evidence()]
            for line in lines
            if line.claim.section == section
        ]
        parts += [f"## {_title(section)}: {subject}", _table(body)]
    parts += [
        "## What the text says and no table can show",
        "\n".join(f"- {where}: {what}." for where, what in NOT_IN_THE_TABLES),
    ]
    return "\n\n".join(parts) + "\n"


def as_text(rows: Iterable[Mapping[str, Any]], *, scale: str) -> str:
    """The same for a terminal: each claim's verdicts, measured (published), then its cells."""
    lines = _lines(rows)
    text = [f"The paper's statements about its tables, scale {scale}; verdict measured (published)"]
    text += [f"{who}: {', '.join(f'{verdict} {n}' for verdict, n in found.items())}" for who, found in _counts(lines).items()]
    for section, subject in SECTIONS.items():
        text += ["", f"{_title(section)}: {subject}"]
        for line in lines:
            if line.claim.section == section:
                text.append(f"  {line.measured.verdict} ({line.published.verdict}): {line.claim.text}")
                text += textwrap.wrap(line.evidence(), 124, initial_indent=" " * 6, subsequent_indent=" " * 6)
    for title, notes in _findings(lines):
        text += ["", title, *(f"  {note}" for note in notes or ["None."])]
    return "\n".join(text)


def write(rows: Sequence[Mapping[str, Any]], directory: Path, *, scale: str) -> None:
    """Writes `claims.csv` and `claims.md` into `directory`."""
    write_text(directory / "claims.csv", as_csv(rows))
    write_text(directory / "claims.md", as_markdown(rows, scale=scale))


_READINGS = (
    "A, B, C: the standard, the PGD-trained and the adversarial-network model; EAT: the one of ensemble adversarial training. "
    "A', B', C' are trained like A, B, C with another seed; attacks crafted on them are black-box. White-box: FGS and PGD.",
    "Vague words are read alike throughout, and the reading is ours. Comparable, similar, close, small (very or not): within "
    f"{CLOSE} points; much, different: more than {MUCH} points; strong, works well, not much effect: fewer than {MUCH} lost; "
    "most, usually, tends to, in general, many: more than half of the cases; except: all others. A sentence that can be read "
    "in two ways has a claim for each (by attack and by model; against the wide autoencoder and against either).",
    f"Undecided: within the sampling error of the test images. A difference counts beyond {Z} standard deviations, its two "
    "sides taken as independent; they share their test images, so this is conservative. The published numbers are taken to be "
    "of all test images.",
    "One network stands for each model; how far another seed's would be from it is not in that error.",
    "Not measured: a cell is missing, or of a part of the data set only. A dash stands for it.",
)


def _table(lines: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _title(section: str) -> str:
    return f"Section {section}" if section[0].isdigit() else section.capitalize()


def _counts(lines: Sequence[_Line]) -> dict[str, dict[Verdict, int]]:
    """How many claims have which verdict, for the measured and for the published numbers."""
    verdicts = {who: [getattr(line, who).verdict for line in lines] for who in ("measured", "published")}
    return {who: {verdict: given.count(verdict) for verdict in Verdict} for who, given in verdicts.items()}


def _findings(lines: Sequence[_Line]) -> list[tuple[str, list[str]]]:
    """What a reader looks for first, as titles and lines: who disagrees with whom."""

    def named(chosen: Iterable[_Line]) -> list[str]:
        return [f"{line.claim.section}: {line.claim.text}" for line in chosen]

    holds, fails = Verdict.HOLDS, Verdict.FAILS
    return [
        (
            "Holds in the published tables, does not hold here",
            named(line for line in lines if (line.published.verdict, line.measured.verdict) == (holds, fails)),
        ),
        (
            "Does not hold in the published tables, holds here",
            named(line for line in lines if (line.published.verdict, line.measured.verdict) == (fails, holds)),
        ),
        (
            "Statements of the paper that do not fit its own tables, read so",
            named(line for line in lines if line.published.verdict == fails),
        ),
        (
            "Statements that its printed numbers contradict, but within the sampling error",
            named(line for line in lines if line.published.verdict == Verdict.UNDECIDED and line.printed.verdict == fails),
        ),
    ]
