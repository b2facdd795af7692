"""Wang, 2019, a lecture: "Security & robustness of deep learning", with the tables of the papers that it quotes."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

from adv_networks.claims import (
    CLOSE,
    MUCH,
    Between,
    Claim,
    Grid,
    Key,
    Predicate,
    Source,
    above,
    all_close,
    all_of,
    any_of,
    below,
    close,
    greater,
    not_highest,
)
from adv_networks.experiments import Column, Row, Table, declare_tables
from adv_networks.papers import photographs
from adv_networks.papers.published import all_test_images, published_numbers
from adv_networks.papers.survey.tables import CW_L2, ONE_PIXEL, UNIVERSAL

_FGSM = Grid("survey-fgsm", "mnist")
_FGSM_CIFAR10 = Grid("survey-fgsm", "cifar10")
_PHYSICAL = Grid("survey-physical", "imagenet")
_RANDOMISED = {"mnist": Grid("survey-rand", "mnist"), "imagenet": Grid("survey-rand", "imagenet")}
_ENSEMBLE = Grid("survey-ensemble", "mnist")
_TRANSFER = Grid("survey-transfer", "mnist")
_DISTILLATION = Grid("survey-distillation", "mnist")
_GRADIENTS = Grid("survey-distillation-gradients", "mnist")
_MAGNET = Grid("survey-magnet", "mnist")
_GREY = Grid("survey-magnet-grey", "mnist")
_STEPS = Grid("survey-defensegan-steps", "mnist")
_WHITE, _BLACK = Grid("survey-defensegan-white", "mnist"), Grid("survey-defensegan-black", "mnist")

_MODELS, _SUBSTITUTES = "ABCD", "BE"
_BLACK_ROWS = tuple(f"{model}/{substitute}" for model in _MODELS for substitute in _SUBSTITUTES)
_WHITE_ROWS = tuple(f"{attack} / model {model}" for attack in ("FGSM 0.3", "RAND+FGSM 0.3/0.05", "CW L2") for model in _MODELS)
_RECONSTRUCTED, _ORIGINAL = "Defense-GAN-Rec", "Defense-GAN-Orig"
_ADVERSARIAL, _ADVERSARIAL_HALF = "adversarial training 0.3", "adversarial training 0.15"
_MAGNET_ATTACKS = (
    "FGSM Linf 0.005", "FGSM Linf 0.010", "Iterative Linf 0.005", "Iterative Linf 0.010", "Iterative L2 0.5",
    "Iterative L2 1.0", "DeepFool Linf", "Carlini L2", "Carlini Linf", "Carlini L0",
)  # fmt: skip
_AUTOENCODERS = "ABCDEFGH"
_TRANSFERRED = ("FGSM_B", "I-FGSM_B", "RAND+FGSM_B", "CW_B")

# The number of photographs behind each row of the physical world's table: the smallest near 100 that fits its percentages.
_PHOTOGRAPHS = {"fast 16 of 255": 99, "fast 8 of 255": 102, "iter. basic 16 of 255": 96, "iter. basic 8 of 255": 102}

_Statement = tuple[str, str, Predicate]

_CRAFTING = Column("adversarial example crafting", "jsma:of=probabilities", metric="attack success rate")
declare_tables(
    "survey",
    Table(
        "survey-distillation", "Defensive distillation at T = 100, attacked at T = 1 and by losses that T does not change",
        ("mnist",), (Row("undefended", "standard"), Row("distilled", "distillation")),
        (Column("clean", "clean"), _CRAFTING, Column("FGS", "fgs"), Column("PGD", "pgd"),
         Column("PGD on logits / 100", "pgd:temperature=100"), Column("PGD on the margin", "pgd:loss=margin"),
         Column("JSMA on logits", "jsma", metric="attack success rate"),
         Column("C&W L2", CW_L2, metric="attack success rate")),
        appendix="vanishing_gradients",
    ),
)  # fmt: skip


def _fgsm() -> Iterator[_Statement]:
    sure = [
        grid("simple network", f"FGSM {epsilon}", "confidence") for grid, epsilon in ((_FGSM, "0.25"), (_FGSM_CIFAR10, "0.1"))
    ]
    yield (
        "1",
        "FGSM makes networks err with high confidence: above 90% on MNIST and CIFAR10",
        all_of(above(cell, 90) for cell in sure),
    )


def _physical(kind: str, attack: str, epsilon: int, top: int) -> Key:
    """The cell of the adversarial images, photographed or not."""
    return _PHYSICAL(f"{attack} {epsilon} of 255", f"{kind}, adversarial, top-{top}")


def _physical_world() -> Iterator[_Statement]:
    cases = tuple(itertools.product((16, 8), (1, 5)))
    photos = {attack: [_physical("photos", attack, *case) for case in cases] for attack in ("fast", "iter. basic")}
    sources = {attack: [_physical("source images", attack, *case) for case in cases] for attack in photos}
    yield (
        "3",
        "On photographs FGSM leaves less accuracy than the iterative attack (top-1 and top-5, ε 16 and 8)",
        all_of(itertools.starmap(greater, zip(photos["iter. basic"], photos["fast"], strict=True))),
    )
    yield (
        "4",
        "On the images themselves it is the reverse",
        all_of(itertools.starmap(greater, zip(sources["fast"], sources["iter. basic"], strict=True))),
    )
    yield (
        "5",
        "The camera undoes more of the iterative attack than of FGSM",
        all_of(
            Between(((1, iterated), (-1, iterated_source), (-1, fast), (1, fast_source)), 0)
            for iterated, iterated_source, fast, fast_source in zip(
                photos["iter. basic"], sources["iter. basic"], photos["fast"], sources["fast"], strict=True
            )
        ),
    )


def _training() -> Iterator[_Statement]:
    before, after = (_FGSM(f"{when}FGSM adversarial training", "FGSM 0.25", "error") for when in ("before ", ""))
    yield "6", f"Adversarial training lowers the error under FGSM by more than {MUCH} points", greater(before, after, MUCH)
    yield (
        "7",
        "The trained network errs more under another network's FGSM than under its own (6 and 12 epochs)",
        all_of(
            greater(_ENSEMBLE(row, "FGSM_B", "error"), _ENSEMBLE(row, "FGSM", "error"))
            for row in ("A_adv (6 epochs)", "A_adv (12 epochs)")
        ),
    )


def _randomised() -> Iterator[_Statement]:
    def errors(dataset: str, network: str) -> tuple[Key, Key]:
        return tuple(_RANDOMISED[dataset](attack, network, "error") for attack in ("RAND+FGSM", "FGSM"))

    # By data set, for each measure: the network with adversarial training, then the others.
    groups = {
        "mnist": [("A_adv", ("A", "B"))],
        "imagenet": [(f"v3_adv, top-{top}", (f"v3, top-{top}", f"v4, top-{top}")) for top in (1, 5)],
    }
    for dataset, networks in groups.items():
        yield (
            f"8 {dataset}",
            f"On {dataset} randomised FGSM makes every network err more than FGSM",
            all_of(greater(*errors(dataset, network)) for trained, others in networks for network in (trained, *others)),
        )
        yield (
            f"9 {dataset}",
            f"On {dataset} it gains most on the networks of adversarial training",
            all_of(
                Between(tuple(zip((1, -1, -1, 1), (*errors(dataset, trained), *errors(dataset, other)), strict=True)), 0)
                for trained, others in networks
                for other in others
            ),
        )


def _ensemble() -> Iterator[_Statement]:
    pairs = [tuple(f"A_adv{suffix} ({epochs} epochs)" for suffix in ("", "-ens")) for epochs in (6, 12)]
    yield (
        "10",
        "Ensemble adversarial training errs less than adversarial training under the four black-box attacks",
        all_of(
            greater(_ENSEMBLE(alone, column, "error"), _ENSEMBLE(ensemble, column, "error"))
            for alone, ensemble in pairs
            for column in _TRANSFERRED
        ),
    )
    yield (
        "11",
        "It errs more under white-box FGSM",
        all_of(greater(_ENSEMBLE(ensemble, "FGSM", "error"), _ENSEMBLE(alone, "FGSM", "error")) for alone, ensemble in pairs),
    )


def _distillation() -> Iterator[_Statement]:
    undefended, distilled = (
        _DISTILLATION(row, "adversarial example crafting", "attack success rate") for row in ("undefended", "distilled")
    )
    yield (
        "12",
        f"Distillation lowers the success of crafting by more than {MUCH} points, to less than 1%",
        all_of([greater(undefended, distilled, MUCH), below(distilled, 1)]),
    )
    gaps = [_GRADIENTS(row, "median gap of the two largest logits", "gap") for row in ("distilled", "undefended")]
    yield (
        "13",
        "The gaps between the distilled network's logits are over 10 times those of the undistilled one",
        Between(((1, gaps[0]), (-10, gaps[1])), 0),
    )
    yield (
        "14",
        "At T = 1 most of its gradients are zero, and Carlini and Wagner's attack succeeds on 99%",
        all_of(
            [
                above(_GRADIENTS("distilled", "zero gradients", "share"), 50),
                above(_DISTILLATION("distilled", "C&W L2", "attack success rate"), 99),
            ]
        ),
    )


def _confidence() -> Iterator[_Statement]:
    unsure, sure = (_TRANSFER("standard (A)", f"κ {kappa} from A'", "attack success rate") for kappa in (0, 20))
    yield (
        "15",
        f"Carlini and Wagner's examples transfer better the surer they are: κ = 20 by over {MUCH} points better than κ = 0",
        greater(sure, unsure, MUCH),
    )


def _small() -> Iterator[_Statement]:
    for dataset in ("cifar10", "mnist"):
        universal, pixel = (
            Grid("survey-small", dataset)("standard (A)", column, "attack success rate") for column in (UNIVERSAL, ONE_PIXEL)
        )
        yield (
            f"27 {dataset}",
            f"On {dataset} one perturbation for all images fools a network on most, and a single pixel on some",
            all_of([above(universal, 50), above(pixel, 0)]),
        )


def _magnet() -> Iterator[_Statement]:
    grid = {
        pair: _GREY(f"tested with {pair[0]}", f"attack trained on {pair[1]}")
        for pair in itertools.product(_AUTOENCODERS, repeat=2)
    }
    own, others = ([cell for (row, column), cell in grid.items() if (row == column) is same] for same in (True, False))
    yield (
        "16",
        "MagNet leaves more than 90% under every black-box attack, and more than no defence",
        all_of(
            part
            for attack in _MAGNET_ATTACKS
            for part in (
                above(_MAGNET(attack, "with defense"), 90),
                greater(_MAGNET(attack, "with defense"), _MAGNET(attack, "no defense")),
            )
        ),
    )
    yield (
        "17",
        f"It fails white-box: it leaves less than {MUCH}% when its own autoencoder is attacked, and less than 20% elsewhere",
        all_of([*(below(cell, MUCH) for cell in own), *(below(_WHITE(row, "MagNet"), 20) for row in _WHITE_ROWS)]),
    )
    yield (
        "18",
        "With another autoencoder than the attacked one it leaves more than 90%",
        all_of(above(cell, 90) for cell in others),
    )
    yield (
        "19",
        f"An autoencoder drawn at random leaves more than 80%, the mean over the eight within {CLOSE} points",
        all_of(itertools.chain.from_iterable(_drawn(column) for column in _AUTOENCODERS)),
    )


def _drawn(column: str) -> Iterator[Predicate]:
    """Under the attack on one autoencoder, a random one leaves more than 80%, and about the mean over all of them."""
    drawn = _GREY("tested with Random", f"attack trained on {column}")
    each = [(-1 / len(_AUTOENCODERS), _GREY(f"tested with {row}", f"attack trained on {column}")) for row in _AUTOENCODERS]
    yield above(drawn, 80)
    yield Between(((1, drawn), *each), -CLOSE, CLOSE)


def _defense_gan() -> Iterator[_Statement]:
    both, trained = (_RECONSTRUCTED, _ORIGINAL), (_ADVERSARIAL, _ADVERSARIAL_HALF)
    yield (
        "20",
        "Black-box, Defense-GAN is above MagNet and adversarial training on every model and substitute",
        all_of(
            all_of(greater(_BLACK(row, ours), _BLACK(row, other)) for ours in both for other in ("MagNet", *trained))
            for row in _BLACK_ROWS
        ),
    )
    yield (
        "21",
        "White-box, it is above MagNet and adversarial training on every model, under every attack",
        all_of(
            all_of(greater(_WHITE(row, "Defense-GAN"), _WHITE(row, other)) for other in ("MagNet", _ADVERSARIAL))
            for row in _WHITE_ROWS
        ),
    )
    yield (
        "22",
        f"White-box, it stays within {CLOSE} points of no attack",
        all_of(close(_WHITE(row, "Defense-GAN"), _WHITE(row, "no attack")) for row in _WHITE_ROWS),
    )
    yield (
        "23",
        f"Over models and substitutes adversarial training varies by more than {MUCH} points, Defense-GAN by fewer",
        all_of(
            [
                *(
                    any_of(
                        greater(_BLACK(row, column), _BLACK(other, column), MUCH)
                        for row in _BLACK_ROWS
                        for other in _BLACK_ROWS
                    )
                    for column in trained
                ),
                *(all_close((_BLACK(row, column) for row in _BLACK_ROWS), MUCH) for column in both),
            ]
        ),
    )
    yield (
        "24",
        f"Trained on reconstructed or on original images, it is the same within {CLOSE} points",
        all_of(close(_BLACK(row, _RECONSTRUCTED), _BLACK(row, _ORIGINAL)) for row in _BLACK_ROWS),
    )
    yield (
        "25",
        "Without a defence white-box FGSM leaves less than black-box FGSM, on every model and substitute",
        all_of(
            greater(_BLACK(f"{model}/{substitute}", "no defense"), _WHITE(f"FGSM 0.3 / model {model}", "no defense"))
            for model in _MODELS
            for substitute in _SUBSTITUTES
        ),
    )
    left = {steps: _STEPS(f"L = {steps}", "FGS of the classifier alone") for steps in (10, 25, 100, 400)}
    yield (
        "26",
        "From some number of its descent's steps on, more defend worse: 400 leave less than 10, 25 or 100",
        not_highest(left[400], left.values()),
    )


_SECTIONS = {
    "FGSM": ("the fast gradient sign method", _fgsm),
    "physical world": ("photographs of printed examples", _physical_world),
    "our photographs": ("the same on simulated photographs", photographs.statements),
    "adversarial training": ("training on FGSM", _training),
    "randomised FGSM": ("a random step before the gradient's", _randomised),
    "ensemble adversarial training": ("other networks' examples in training", _ensemble),
    "distillation": ("a network trained on another's soft labels", _distillation),
    "Carlini and Wagner": ("examples of growing confidence", _confidence),
    "small changes": ("one perturbation for all images, and a single pixel", _small),
    "MagNet": ("autoencoders that detect and reform", _magnet),
    "Defense-GAN": ("images projected on a generator's", _defense_gan),
}


def _images(key: Key) -> int:
    """The number of images behind a published number; those that trained Defense-GAN's substitutes were left out."""
    table, _, row, *_ = key
    if table == _PHYSICAL.table:
        return _PHOTOGRAPHS[row]
    return 9_850 if table == _BLACK.table else all_test_images(key)


SOURCE = Source(
    name="survey",
    kind="lecture",
    sections={section: subject for section, (subject, _) in _SECTIONS.items()},
    claims=tuple(
        Claim(section, text, predicate, number)
        for section, (_, statements) in _SECTIONS.items()
        for number, text, predicate in statements()
    ),
    published=functools.partial(published_numbers, "survey", _images),
    readings=(
        'Wang, 2019, "Security & robustness of deep learning", a lecture with the tables of the papers that it quotes. Claims '
        "whose numbers are missing rest on its figures.",
        "Errors, confidences and success rates are in % like accuracies. A mean l2 is of the changes that fool the network, "
        "and has no sampling error here.",
        f"Most: more than half of the cases; much: more than {MUCH} points; close: within {CLOSE}.",
        "Undecided: within the sampling error of the images. Photographs are about 100 a row, as the percentages tell; the "
        "other numbers are taken to be of all test images (of ImageNet all validation images), less the 150 of Defense-GAN's "
        "substitutes. The table of MagNet's autoencoders does not say its data set; it stands beside ours of MNIST, and 10,000 "
        "images are taken.",
        "Steps of Defense-GAN's descent: under FGSM by the gradient of the classifier alone, as the original measured it.",
    ),
    tables="`survey-<name>.md`",
)
