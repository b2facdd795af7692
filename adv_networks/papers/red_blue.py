"""Limaye, Tirupari and Rangan, a report: "Adversarial Machine Learning: The Attacks and the Defenses"."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator

from adv_networks.claims import (
    MUCH,
    AtLeast,
    Claim,
    Grid,
    Key,
    Source,
    all_of,
    close,
    greater,
    highest,
)
from adv_networks.experiments import PROTOCOLS, Column, Protocol, Row, Table, declare_tables
from adv_networks.papers.published import published_numbers

# The report states a hidden layer and two penalties; the rest is taken from the tutorial that it follows (`networks.mlp`).
PROTOCOLS["redblue"] = Protocol(
    "redblue",
    "as the red and blue report does: a perceptron with dropout by RMSProp",
    (
        (None, None, dict(classifier="mlp", optimizer="rmsprop", learning_rate=1e-3, learning_rate_drops=(), momentum=0.9,
                          batch_size=128, weight_decay=0.0, augment_pad=0, steps={"paper": 46_900, "cpu": 1_500})),
    ),
)  # fmt: skip

_NONE, _CELLS, _SMALL = (Grid(f"redblue-{number}", "mnist") for number in (1, 2, 3))
_UNREGULARISED = "no regularisation"
_PENALTIES = tuple(
    f"l1={l1} l2={l2}"
    for l1, l2 in itertools.product(("0", "0.0001", "1e-05"), ("0", "0.0001", "1e-05"))
    if (l1, l2) != ("0", "0")
)
_CHOSEN, _OTHER_BEST = "l1=0.0001 l2=0.0001", "l1=0.0001 l2=0"
_EPSILONS = ("0.1", "0.25")
_ASCENDING = ("0.05", "0.075", "0.1", "0.25")
_MEASURES = ("accuracy", "confidence")


def _row(label: str, l1: str, l2: str) -> Row:
    """A perceptron with these weights of Σ|w| and Σw²; the project's weight decay is twice the latter."""
    penalties = (("weight_l1", float(l1)), ("weight_decay", 2 * float(l2)))
    return Row(label, "standard", penalties, protocol="redblue")


def _columns(*epsilons: str, metrics: tuple[str, ...] = _MEASURES) -> tuple[Column, ...]:
    attacks = {epsilon: f"fgs:epsilon={epsilon}" if epsilon != "clean" else "clean" for epsilon in epsilons}
    return tuple(Column(label, text, metric=metric) for label, text in attacks.items() for metric in metrics)


def _penalties(label: str) -> tuple[str, str]:
    """λ1 and λ2 of a row's label."""
    l1, l2 = (part.partition("=")[2] for part in label.split())
    return l1, l2


_WRONG = "confidence of the mislabelled"
_ON_FGS = Row("trained on FGS of ε 0.25 (ours)", "fgs", (("epsilon", 0.25),), protocol="redblue")
declare_tables(
    "red_blue",
    Table(
        "redblue-1", "A perceptron without regularisation under FGS", ("mnist",), (_row(_UNREGULARISED, "0", "0"),),
        _columns("clean", *_EPSILONS), bundle="redblue",
    ),
    Table(
        "redblue-2", "Eight regularisations of the perceptron under FGS: λ1 of Σ|w|, λ2 of Σw²", ("mnist",),
        tuple(_row(label, *_penalties(label)) for label in _PENALTIES), _columns("clean", *_EPSILONS), bundle="redblue",
    ),
    Table(
        "redblue-3", "The chosen regularisation, λ1 = λ2 = 1e-4, under FGS of small ε", ("mnist",),
        (_row("with regularisation", *_penalties(_CHOSEN)), _row("without regularisation", "0", "0")),
        _columns("0.05", "0.075"), bundle="redblue",
    ),
    Table(
        "redblue-further", "The perceptron beside training on FGS, and its confidence where it is wrong (ours)", ("mnist",),
        (_row(_UNREGULARISED, "0", "0"), _row(_CHOSEN, *_penalties(_CHOSEN)), _ON_FGS),
        _columns("clean", *_ASCENDING, metrics=(*_MEASURES, _WRONG)), bundle="redblue", appendix="digit_by_epsilon",
    ),
)  # fmt: skip


def _unregularised(column: str, metric: str) -> Key:
    """The cell of the network without regularisation, in whichever table it is."""
    return (
        _SMALL("without regularisation", column, metric) if column.startswith("0.0") else _NONE(_UNREGULARISED, column, metric)
    )


def _chosen(column: str, metric: str) -> Key:
    """The cell of the network with the chosen regularisation, in whichever table it is."""
    return _SMALL("with regularisation", column, metric) if column.startswith("0.0") else _CELLS(_CHOSEN, column, metric)


def _nine(column: str, metric: str = "accuracy") -> dict[str, Key]:
    """The cells of the nine pairs of λ1 and λ2, by their rows."""
    cells = {row: _CELLS(row, column, metric) for row in _PENALTIES}
    return {_UNREGULARISED: _NONE(_UNREGULARISED, column, metric)} | cells


def _two_best(columns: Iterable[str], metric: str) -> AtLeast:
    """The two cells that the text names are above all seven others."""
    best = (_CHOSEN, _OTHER_BEST)
    return all_of(
        greater(cells[row], cell)
        for cells in (_nine(column, metric) for column in columns)
        for row in best
        for other, cell in cells.items()
        if other not in best
    )


def _training() -> Iterator[Claim]:
    """Section 2.1, which chooses a regularisation."""
    yield Claim(
        "2.1",
        "Without regularisation accuracy and confidence are lower on adversarial images than on clean ones",
        all_of(
            greater(_NONE(_UNREGULARISED, "clean", metric), _NONE(_UNREGULARISED, column, metric))
            for column in _EPSILONS
            for metric in _MEASURES
        ),
        "1",
    )
    named = "λ1 = λ2 = 1e-4 and λ1 = 1e-4, λ2 = 0 are the two best of nine in adversarial"
    for letter, what, columns, metric in (
        ("a", "accuracy at ε 0.10", ("0.1",), "accuracy"),
        ("b", "accuracy at ε 0.25", ("0.25",), "accuracy"),
        ("c", "confidence at ε 0.10 and 0.25", _EPSILONS, "confidence"),
    ):
        yield Claim("2.1", f"{named} {what}", _two_best(columns, metric), f"3{letter}")
    yield Claim(
        "2.1",
        "λ1 = λ2 = 1e-4 has the highest adversarial accuracy at ε 0.10",
        highest(_CELLS(_CHOSEN, "0.1"), _nine("0.1").values()),
        "4",
    )
    yield Claim(
        "2.1",
        "Accuracy on clean images stays close to that without regularisation, with each of the eight",
        all_of(close(_CELLS(row, "clean"), _NONE(_UNREGULARISED, "clean")) for row in _PENALTIES),
        "9",
    )


def _attacks() -> Iterator[Claim]:
    """Sections 2.2 and 3, the conclusion and the abstract."""
    yield Claim(
        "2.2",
        "The larger ε (0.05, 0.075, 0.10, 0.25), the lower are accuracy and confidence, with and without regularisation",
        all_of(
            greater(cell(smaller, metric), cell(larger, metric))
            for cell in (_unregularised, _chosen)
            for metric in _MEASURES
            for smaller, larger in itertools.pairwise(_ASCENDING)
        ),
        "2",
    )
    for letter, metric in zip("ab", _MEASURES, strict=True):
        yield Claim(
            "3",
            f"At ε 0.05 and 0.075 {metric} is higher with regularisation than without",
            all_of(greater(_chosen(column, metric), _unregularised(column, metric)) for column in _ASCENDING[:2]),
            f"5{letter}",
        )
    yield Claim(
        "conclusion",
        "The chosen regularisation raises adversarial accuracy and confidence, at ε 0.10 and 0.25",
        all_of(
            greater(_chosen(column, metric), _unregularised(column, metric)) for column in _EPSILONS for metric in _MEASURES
        ),
        "6",
    )
    yield Claim(
        "conclusion",
        "Each of the eight regularisations raises adversarial accuracy, at ε 0.10 and 0.25",
        all_of(greater(_CELLS(row, column), _NONE(_UNREGULARISED, column)) for row in _PENALTIES for column in _EPSILONS),
        "7",
    )
    yield Claim(
        "abstract",
        f"After it the attack fails: fewer than {MUCH} points of accuracy are lost, at ε 0.10 and 0.25",
        all_of(greater(_chosen(column, "accuracy"), _chosen("clean", "accuracy"), -MUCH) for column in _EPSILONS),
        "8",
    )


SOURCE = Source(
    name="red_blue",
    kind="red and blue report",
    sections={
        "2.1": "training and regularisation",
        "2.2": "the attack",
        "3": "small perturbations",
        "conclusion": "what regularisation gains",
        "abstract": "who wins",
    },
    claims=(*_training(), *_attacks()),
    published=functools.partial(published_numbers, "red_blue"),
    readings=(
        'Limaye, Tirupari and Rangan, "Adversarial Machine Learning: The Attacks and the Defenses". A network without '
        "regularisation (Table 1) and eight with weights λ1, λ2 of the sums of |w| and w² (Table 2) under FGS; Table 3 has the "
        "chosen one, λ1 = λ2 = 1e-4, at smaller ε.",
        f"Close: within 3 points; the attack fails: fewer than {MUCH} lost. Confidence is the mean of the largest probability.",
        "Undecided: within the sampling error of the 10,000 test images. That of a confidence is taken as large as that of an "
        "accuracy of the same value, which it does not exceed.",
    ),
    tables="`redblue-<N>.md`",
)
