"""Castro Ros, Ben Mansour and Bouskila, 2020, a report on CIFAR10: FGSM and PGD by ε, and three defences."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from adv_networks.claims import (
    CLOSE,
    MUCH,
    Between,
    Claim,
    Grid,
    Key,
    Source,
    above,
    all_of,
    below,
    close,
    greater,
    lowest,
    most_of,
)
from adv_networks.experiments import PROTOCOLS, Column, Protocol, Row, Table, declare_tables
from adv_networks.papers.published import published_numbers

# The report says that PGD starts at the image, but states no rate, no number of steps and no recipe. The 100 epochs are ours.
PROTOCOLS["report"] = Protocol(
    "report",
    "as the CIFAR10 report describes: its network, PGD without a random start",
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


_CHOSEN = ("0.05", "0.5")  # the values for which the text has numbers too
_STEP = 2 / 255


def _pgd(epsilon: str) -> str:
    """PGD with 10 steps of size 2/255; both are our choice, because the report states neither."""
    return f"pgd:steps=10:step_fraction={_STEP / float(epsilon):.6g}"


def _row(label: str, method: str = "standard") -> Row:
    return Row(label, method, protocol="report")


def _under(row: str, attack: str, epsilon: str, label: str, **further: Any) -> Column:
    """An attack at this ε on a row. A row with adversarial training is trained at the same ε."""
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


_MLP, _NOISY_MLP = "perceptron", "perceptron, noise between its layers"
_NOISE = {"convolution": "noise after the first convolution", "dense": "noise between the dense layers"}
_NOISE_TABLE, _CONTRASTIVE, _LATENT = (Grid(f"report-{part}", "cifar10") for part in ("noise", "contrastive", "latent"))


def _noise_rows() -> Iterator[Row]:
    """The base model, noise in both positions with one draw at test or ten, and noise in training only."""
    yield _row(_BASE_MODEL)
    for position, label in _NOISE.items():
        for draws, how in ((1, ""), (10, ", mean of 10 draws"), (0, ", not at test")):
            if draws or position == "convolution":
                settings = (("noise_draws", draws), ("noise_position", position))
                yield Row(label + how, "noise", settings, protocol="report")
    mlp = ("classifier", "mlp")
    yield Row(_MLP, "standard", (mlp,), protocol="report")
    yield Row(_NOISY_MLP, "noise", (mlp, ("noise_draws", 1), ("noise_position", "dense")), protocol="report")


def _noise_columns() -> Iterator[Column]:
    """FGSM by ε from the gradient of one draw; at 0.01 from the mean of ten too, and PGD from both."""
    yield Column("clean", "clean")
    at = (("epsilon", 0.01),)
    for epsilon in _EPSILONS:
        yield Column(f"FGSM {epsilon}", "fgs:draws=1", settings=(("epsilon", float(epsilon)),))
    yield Column("FGSM 0.01, mean gradient", "fgs", settings=at)
    yield Column("PGD 0.01", f"{_pgd('0.01')}:draws=1", settings=at)
    yield Column("PGD 0.01, mean gradient", _pgd("0.01"), settings=at)


_SOFTMAX, _NEAREST = "softmax", "1-NN"


def _head(loss: str, head: str) -> str:
    return f"{loss} the contrastive loss, {head}"


def _contrastive_rows() -> Iterator[Row]:
    for loss, weight in (("without", 0.0), ("with", 1.0)):
        for head, name in (("softmax", _SOFTMAX), ("nearest", _NEAREST)):
            own = ("contrastive_weight", weight)
            settings, softmax = (("contrastive_head", head), own), Row("", "contrastive", (own,), protocol="report")
            text = ("report-text", "contrastive loss, 1-NN") if (loss, head) == ("with", "nearest") else None
            yield Row(_head(loss, name), "contrastive", settings, None, "report", (softmax,), text)


def _contrastive_columns() -> Iterator[Column]:
    """Both heads attacked: the one that labels, and the softmax that the report attacked."""
    yield Column("clean", "clean")
    yield Column("clean", "clean", row=_head("with", _NEAREST), metric="accuracy (about)")
    at = (("epsilon", 0.01),)
    for label, attack in (("FGSM 0.01", "fgs"), ("PGD 0.01", _pgd("0.01"))):
        yield Column(label, attack, settings=at)
        yield Column(f"{label} from softmax", attack, "contrastive", same_seed=True, settings=at)


declare_tables(
    "cifar_report",
    Table("report-noise", "Gaussian noise between layers", ("cifar10",), tuple(_noise_rows()), tuple(_noise_columns())),
    Table("report-contrastive", "A contrastive latent space, labelled by softmax and by 1-NN", ("cifar10",),
          tuple(_contrastive_rows()), tuple(_contrastive_columns()), appendix="latent_spaces"),
)  # fmt: skip


def _kept(attack: str, epsilon: str) -> Key:
    """The cell of Table 1."""
    return _TABLE_1(attack, epsilon, _KEPT)


def _as_counted(attack: str, epsilon: str) -> Between:
    """The number of images in the text agrees with the table's percentage of the images that are correct at first."""
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


def _noise() -> Iterator[Claim]:
    """Section "Gaussian noise"."""
    first, second = _NOISE.values()

    def at_every_epsilon(row: str, other: str) -> Iterator[Between]:
        return (close(_NOISE_TABLE(row, f"FGSM {epsilon}"), _NOISE_TABLE(other, f"FGSM {epsilon}")) for epsilon in _EPSILONS)

    yield Claim(
        "noise",
        f"Under FGSM noise after the first convolution leaves about what the base model has (within {CLOSE}), at every ε",
        all_of(at_every_epsilon(first, _BASE_MODEL)),
        "10",
    )
    yield Claim(
        "noise",
        f"Noise between the dense layers leaves about the same as after the convolution (within {CLOSE}), at every ε",
        all_of(at_every_epsilon(second, first)),
        "11",
    )
    yield Claim(
        "noise",
        "Noise helps a perceptron: under FGSM it leaves more than without, at most ε",
        most_of(
            greater(_NOISE_TABLE(_NOISY_MLP, f"FGSM {epsilon}"), _NOISE_TABLE(_MLP, f"FGSM {epsilon}")) for epsilon in _EPSILONS
        ),
        "12",
    )


def _contrast() -> Iterator[Claim]:
    """Section "contrastive loss"."""
    nearest, undefended = _head("with", _NEAREST), _head("without", _SOFTMAX)
    clean, attacked = _CONTRASTIVE(nearest, "clean"), ("FGSM 0.01 from softmax", "PGD 0.01 from softmax")
    yield Claim(
        "contrastive",
        f"1-NN labels about 80% correctly (within {CLOSE}), and under attack as many as no defence (within {CLOSE})",
        all_of(
            [
                above(clean, 80 - CLOSE),
                below(clean, 80 + CLOSE),
                *(close(_CONTRASTIVE(nearest, column), _CONTRASTIVE(undefended, column)) for column in attacked),
            ]
        ),
        "13",
    )
    with_loss, without = "with the contrastive loss", "without the contrastive loss"
    distances = [_LATENT(with_loss, f"distance to the nearest reference, {what}", "distance") for what in ("clean", "PGD")]
    yield Claim(
        "contrastive", "Attacked images lie nearer to their nearest reference than clean ones", greater(*distances), "14"
    )
    ratios = [_LATENT(row, "between over within classes", "ratio") for row in (with_loss, without)]
    yield Claim(
        "contrastive", "The loss makes clusters: distances between classes over those within grow", greater(*ratios), "15"
    )
    yield Claim(
        "contrastive",
        "At ε 0.01 most images that PGD fools lie inside another class's cluster",
        above(_LATENT(with_loss, "fooled inside another cluster, PGD", "share"), 50),
        "16",
    )


def _images(key: Key) -> int:
    """The number of images behind a published number."""
    return _CORRECT if _KEPT in key else 10_000


SOURCE = Source(
    name="cifar_report",
    kind="CIFAR10 report",
    sections={
        "2.3": "the attacks by ε",
        "3.1": "adversarial training",
        "noise": "Gaussian noise between layers",
        "contrastive": "a contrastive latent space",
    },
    claims=(*_sweeps(), *_adversarial_training(), *_noise(), *_contrast()),
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
