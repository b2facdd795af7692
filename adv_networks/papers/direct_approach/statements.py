"""The paper's statements about its tables: one claim for each comparative sentence of Sections 4.1-4.6 and the appendix."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator

from adv_networks.claims import (
    CLOSE,
    MUCH,
    AtLeast,
    Between,
    Claim,
    Grid,
    Predicate,
    Source,
    Z,
    above,
    all_close,
    all_of,
    any_of,
    close,
    greater,
    highest,
    lowest,
    mean_greater,
    most_of,
    not_highest,
)
from adv_networks.papers.published import published_numbers

_SECTIONS = {
    "4.1": "MNIST",
    "4.2": "SVHN",
    "4.3": "CIFAR10",
    "4.4": "ensemble adversarial training",
    "4.5": "generative networks",
    "4.6": "discussion",
    "appendix": "CIFAR100",
}


class _Grid(Grid):
    """A grid whose rows are A, B and C, or some of them."""

    def best(self, row: str, columns: Iterable[str]) -> AtLeast:
        """In each of the columns, this row is the highest of A, B and C."""
        return all_of(highest(self(row, column), [self(other, column) for other in ABC]) for column in columns)

    def worst(self, row: str, columns: Iterable[str]) -> AtLeast:
        """In each of the columns, this row is the lowest of A, B and C."""
        return all_of(lowest(self(row, column), [self(other, column) for other in ABC]) for column in columns)

    def ahead(self, row: str, other: str, columns: Iterable[str], by: float = 0) -> list[Between]:
        """In each column, the row is more than `by` points above the other."""
        return [greater(self(row, column), self(other, column), by) for column in columns]

    def own_kind_by_attack(self) -> list[AtLeast]:
        """In each black-box column, the model trained like the surrogate is the lowest of the three."""
        return [self.worst(row, [f"{attack}({letter}')"]) for letter, row in zip("ABC", ABC, strict=True) for attack in WHITE]

    def own_kind_by_model(self) -> list[AtLeast]:
        """For each model and attack, the surrogate trained like the model leaves the least accuracy of the three."""
        return [self.weakest_to(row, letter, attack) for letter, row in zip("ABC", ABC, strict=True) for attack in WHITE]

    def weakest_to(self, row: str, letter: str, attack: str) -> AtLeast:
        """This surrogate leaves the row the least accuracy of the three."""
        return lowest(self(row, f"{attack}({letter}')"), [self(row, f"{attack}({other}')") for other in "ABC"])

    def smallest_drop(self, row: str, column: str) -> AtLeast:
        """Of A, B and C, this row loses the fewest points from clean images to those of the column."""
        kept = ((1, self(row, column)), (-1, self(row, "No Noise")))
        return all_of(
            Between((*kept, (1, self(other, "No Noise")), (-1, self(other, column))), 0) for other in ABC if other != row
        )

    def losses(self, row: str, columns: Iterable[str], fewer_than: float = MUCH) -> list[Between]:
        """In each column, the row loses fewer than this many points from clean images to those of the column."""
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


_CLAIMS = tuple(
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

_NOT_IN_THE_TABLES = (
    (
        "4.2, 4.3, 4.6",
        "that limited capacity is why B loses clean accuracy, and that larger networks would help: one D per data set",
    ),
    ("4.4", "that C's white-box lead over EAT comes from its changing adversary: the two trainings differ in more than that"),
    ("4.5", "that the generators' like decoders are why they end alike: all four share the decoder"),
    ("4.6", "that the trade-off grows with ε: one ε per data set"),
    ("4.6", "that step sizes and numbers of iterations matter more than G's architecture: neither is varied"),
)

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
    "Not measured: a cell is missing, or of too few test images. A dash stands for it. A number of all test images counts even "
    "if the training images were not complete, which the table says.",
)

SOURCE = Source(
    name="direct_approach",
    kind="paper",
    sections=_SECTIONS,
    claims=_CLAIMS,
    published=functools.partial(published_numbers, "direct_approach"),
    readings=_READINGS,
    not_in_tables=_NOT_IN_THE_TABLES,
    tables="`table<N>.md`",
    file="claims",
)
