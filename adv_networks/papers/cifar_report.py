"""Castro Ros, Ben Mansour and Bouskila, 2020, a report on CIFAR10: FGSM and PGD by ε, and three defences."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from adv_networks.claims import CLOSE, MUCH, Between, Claim, Grid, Key, Source, all_of, below, close, greater, lowest
from adv_networks.experiments import PROTOCOLS, Column, Protocol, Row, Table, declare_tables
from adv_networks.papers.published import published_numbers

# The report says PGD from the image itself, without a rate or a number of steps, and no recipe: 100 epochs are ours.
PROTOCOLS["report"] = Protocol(
    "report",
    "as the CIFAR10 report does, so far as it says: its network, PGD without a random start",
    (
        (None, None, dict(classifier="report_cnn", learning_rate=0.01, learning_rate_drops=(0.5, 0.75), momentum=0.9,
                          batch_size=128, weight_decay=0.0, pgd_random_start=False, steps={"paper": 39_100})),
        (("cifar10", "cifar100"), None, dict(augment_pad=4)),
    ),
)  # fmt: skip

_EPSILONS = ("0.001", "0.01", "0.05", "0.1", "0.3", "0.5")
_KEPT = "accuracy of those correct at first"
_CORRECT = 8805  # of the 10,000 test images, before an attack
_TABLE_1, _TABLE_2, _TEXT = (Grid(f"report-{part}", "cifar10") for part in ("1", "2", "text"))
_BASE, _ON_FGSM, _ON_PGD = "without defense", "adversarial training vs FGSM", "adversarial training vs PGD"
_BOTH = ("0.01", "0.05")


_CHOSEN = ("0.05", "0.5")  # of which the text has numbers too
_STEP = 2 / 255


def _pgd(epsilon: str) -> str:
    """PGD with steps of 2/255: the report states neither their size nor their number, for which 10 is ours."""
    return f"pgd:steps=10:step_fraction={_STEP / float(epsilon):.6g}"


def _row(label: str, method: str = "standard") -> Row:
    return Row(label, method, protocol="report")


def _under(row: str, attack: str, epsilon: str, label: str, **further: Any) -> Column:
    """An attack of that ε on a row, which is trained on that ε where it is trained on any."""
    text = {"FGSM": "fgs", "PGD": _pgd(epsilon), _OWN_PGD: "pgd:steps=10"}[attack]
    return Column(label, text, row=row, settings=(("epsilon", float(epsilon)),), **further)


_OWN_PGD = "PGD, steps of ε/4 (ours)"
_ATTACKS = ("FGSM", "PGD", _OWN_PGD)
_WRONG = "confidence of the mislabelled"
_TRAINED = {_BASE: "standard", _ON_FGSM: "fgs", _ON_PGD: "pgd"}
_BASE_MODEL = "base model"


def _text_columns() -> Iterator[Column]:
    yield Column("clean", "clean", row=_BASE_MODEL)
    yield Column("correctly classified of 10,000 test images", "clean", row=_BASE_MODEL, metric="images")
    for attack, epsilon in (("FGSM", "0.05"), ("FGSM", "0.5"), ("PGD", "0.05")):
        for metric in (_KEPT, "images still correct")[: 1 if (attack, epsilon) == ("FGSM", "0.05") else 2]:
            yield _under(_BASE_MODEL, attack, epsilon, f"{attack} {epsilon}", metric=metric)
    for attack in ("FGSM", "PGD"):
        yield _under(_BASE_MODEL, attack, "0.01", f"{attack} 0.01", metric=_WRONG)


declare_tables(
    "cifar_report",
    Table(
        "report-1", "FGSM and PGD by ε, on the images that the base model labels correctly at first", ("cifar10",),
        tuple(map(_row, _ATTACKS)),
        tuple(_under(attack, attack, epsilon, epsilon, metric=_KEPT) for attack in _ATTACKS for epsilon in _EPSILONS),
        bundle="report", appendix="panels_by_epsilon",
    ),
    Table(
        "report-2", "Adversarial training on FGSM and on PGD, each at its ε, on all images", ("cifar10",),
        tuple(_row(label, method) for label, method in _TRAINED.items()),
        tuple(_under(row, attack, epsilon, f"{attack} {epsilon}")
              for row in _TRAINED for attack in _ATTACKS for epsilon in _BOTH),
        bundle="report",
    ),
    Table("report-text", "The base model, as the report's text has it", ("cifar10",), (_row(_BASE_MODEL),),
          tuple(_text_columns()), bundle="report"),
)  # fmt: skip


def _kept(attack: str, epsilon: str) -> Key:
    """The cell of Table 1."""
    return _TABLE_1(attack, epsilon, _KEPT)


def _as_counted(attack: str, epsilon: str) -> Between:
    """The images that the text counts are the share that the table has of those correct at first."""
    counted = _TEXT("base model", f"{attack} {epsilon}", "images still correct")
    return Between(((100 / _CORRECT, counted), (-1, _kept(attack, epsilon))), -CLOSE, CLOSE)


def _sweeps() -> Iterator[Claim]:
    """Section 2.3."""
    yield Claim(
        "2.3",
        "PGD leaves less accuracy than FGSM at every ε",
        all_of(greater(_kept("FGSM", epsilon), _kept("PGD", epsilon)) for epsilon in _EPSILONS),
        "1",
    )
    yield Claim(
        "2.3",
        "FGSM leaves the least at the largest ε",
        lowest(_kept("FGSM", "0.5"), [_kept("FGSM", epsilon) for epsilon in _EPSILONS]),
        "2",
    )
    yield Claim("2.3", "At ε 0.05 FGSM leaves less than 25%", below(_kept("FGSM", "0.05"), 25), "3")
    yield Claim(
        "2.3",
        "PGD is low at a smaller ε: at 0.01 it leaves less than FGSM at any",
        all_of(greater(_kept("FGSM", epsilon), _kept("PGD", "0.01")) for epsilon in _EPSILONS),
        "4",
    )
    yield Claim(
        "2.3",
        f"The text has the numbers of the table: FGSM at ε 0.05 and 0.5, PGD at 0.05, within {CLOSE} points",
        all_of(
            [
                *(
                    close(_TEXT("base model", f"{attack} {epsilon}", _KEPT), _kept(attack, epsilon))
                    for attack, epsilon in (("FGSM", "0.05"), ("FGSM", "0.5"), ("PGD", "0.05"))
                ),
                _as_counted("FGSM", "0.5"),
                _as_counted("PGD", "0.05"),
            ]
        ),
        "5",
    )


def _adversarial_training() -> Iterator[Claim]:
    """Section 3.1."""
    trained = (_ON_FGSM, _ON_PGD)
    yield Claim(
        "3.1",
        "Adversarial training on either attack raises accuracy under both attacks, at ε 0.01 and 0.05",
        all_of(
            greater(_TABLE_2(row, f"{attack} {epsilon}"), _TABLE_2(_BASE, f"{attack} {epsilon}"))
            for row in trained
            for attack in ("FGSM", "PGD")
            for epsilon in _BOTH
        ),
        "6",
    )
    yield Claim(
        "3.1",
        f"Against FGSM the defended networks have more than {MUCH} points more than against PGD, at ε 0.01 and 0.05",
        all_of(
            greater(_TABLE_2(row, f"FGSM {epsilon}"), _TABLE_2(row, f"PGD {epsilon}"), MUCH)
            for row in trained
            for epsilon in _BOTH
        ),
        "7",
    )
    yield Claim(
        "3.1",
        "What PGD makes wrong is wrong with more confidence than what FGSM does, at ε 0.01",
        greater(*(_TEXT(_BASE_MODEL, f"{attack} 0.01", _WRONG) for attack in ("PGD", "FGSM"))),
        "17",
    )
    yield Claim(
        "3.1",
        f"PGD is much stronger than FGSM: it leaves the undefended network more than {MUCH} points less, at ε 0.01 and 0.05",
        all_of(greater(_TABLE_2(_BASE, f"FGSM {epsilon}"), _TABLE_2(_BASE, f"PGD {epsilon}"), MUCH) for epsilon in _BOTH),
        "8",
    )
    yield Claim(
        "3.1",
        "Under PGD, training on PGD is better than training on FGSM, at ε 0.01 and 0.05",
        all_of(greater(_TABLE_2(_ON_PGD, f"PGD {epsilon}"), _TABLE_2(_ON_FGSM, f"PGD {epsilon}")) for epsilon in _BOTH),
        "9",
    )


def _images(key: Key) -> int:
    """How many images a published number is of."""
    return _CORRECT if _KEPT in key else 10_000


SOURCE = Source(
    name="cifar_report",
    kind="CIFAR10 report",
    sections={"2.3": "the attacks by ε", "3.1": "adversarial training"},
    claims=(*_sweeps(), *_adversarial_training()),
    published=functools.partial(published_numbers, "cifar_report", _images),
    readings=(
        "Castro Ros, Ben Mansour and Bouskila, 2020, a report on attacks and defences on CIFAR10. Claims whose numbers are "
        "missing rest on its figures.",
        f"Table 1 is of the {_CORRECT:,} test images that the base model labels correctly; Table 2 is taken to be of all "
        "10,000. The two disagree on the base model at ε 0.01 (FGSM 54.05 and 47.95, PGD 12.47 and 57.99).",
        f"Much: more than {MUCH} points. Undecided: within the sampling error of the images.",
    ),
    tables="`report-<N>.md`",
)
