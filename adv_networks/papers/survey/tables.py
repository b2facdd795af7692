"""The lecture's tables of attacks that we reproduce, and the suite of its attacks without a ball.

The lecture's networks A and B are Tramèr et al.'s; here A is the data set's own network, and B a multilayer perceptron. The
labels of rows say for how many epochs of MNIST a run trains.
"""

from __future__ import annotations

from adv_networks.experiments import SUITES, AttackSuite, Column, Row, Table, declare_tables

_ERROR, _CONFIDENCE, _SUCCESS = "error", "confidence", "attack success rate"

UNIVERSAL, ONE_PIXEL = "Universal", "One pixel"

# The settings of the authors' code take hours; these take minutes. They were chosen by the median norm on A of 250 training
# images: in l2 it is 1% above that of twice as many steps, in l0 the same, and in L∞ a quarter below that of half as many.
CW_L2, CW_LINF = "cw_l2:searches=5:steps=100:c=0.1:rate=0.1", "cw_linf:steps=100:rate=0.1:c=0.1:factor=10"
CW_L0 = "cw_l0:steps=50:rate=0.2:c=1:factor=100"
_NEAREST = (
    ("CW L2", CW_L2, "l2"),
    ("CW Linf", CW_LINF, "linf"),
    ("CW L0", CW_L0, "l0"),
    ("DeepFool L2", "deepfool", "l2"),
    ("DeepFool Linf", "deepfool:norm=linf", "linf"),
)


def shown(label: str, attack: str, norm: str) -> tuple[Column, Column]:
    """The two columns of an attack without a ball: its success rate, and the median norm of its successful perturbations."""
    return Column(label, attack, metric=_SUCCESS), Column(label, attack, metric=f"median {norm}")


SUITES["survey"] = AttackSuite(
    "survey",
    "also Carlini-Wagner and DeepFool, without a ball, by success rate and median norm, and a universal perturbation",
    (*(column for attack in _NEAREST for column in shown(*attack)), Column(UNIVERSAL, "universal")),
    images=1_000,
)
SUITES["survey_small"] = AttackSuite(
    "survey_small",
    "also slow attacks without a ball, on few images: L-BFGS, JSMA and one pixel, by success rate and median norm",
    (
        *shown("L-BFGS", "lbfgs:searches=5:steps=50", "l2"),
        *shown("JSMA", "jsma", "l0"),
        *shown(ONE_PIXEL, "one_pixel", "l0"),
    ),
    images=100,
)

_MLP = (("classifier", "mlp"),)
_B = Row("B", "standard", _MLP)
_EPSILON = "epsilon=0.3"
# In the lecture's FGSM adversarial training half of the loss is that of clean images. The networks of `survey-fgsm` and
# `survey-rand` learn from perturbed images alone; they were measured first.
FGSM_TRAINING = (("fgs_clean_weight", 0.5),)
_OWN_EXAMPLES = (("own_examples", True),)
_SIX_EPOCHS, _TWELVE_EPOCHS = (("steps", 5_625),), (("steps", 11_250),)


def _trained(label: str, method: str, settings: tuple[tuple[str, object], ...] = ()) -> Row:
    """A row with the surrogate B."""
    return Row(label, method, settings, sources=(_B,))


def _black_box(label: str, attack: str) -> Column:
    """A column of an attack crafted on B."""
    return Column(label, attack, source="standard", metric=_ERROR)


declare_tables(
    "survey",
    Table(
        "survey-fgsm",
        "FGSM: the error that it makes, and how sure of it networks are",
        ("mnist", "cifar10"),
        (
            Row("simple network", "standard"),
            Row("before FGSM adversarial training", "standard", datasets=("mnist",)),
            Row("FGSM adversarial training", "fgs", datasets=("mnist",)),
        ),
        (
            Column("FGSM 0.25", "fgs:epsilon=0.25", metric=_ERROR),
            Column("FGSM 0.25", "fgs:epsilon=0.25", metric=_CONFIDENCE),
            Column("FGSM 0.1", "fgs:epsilon=0.1", metric=_ERROR),
            Column("FGSM 0.1", "fgs:epsilon=0.1", metric=_CONFIDENCE),
        ),
    ),
    Table(
        "survey-rand",
        "a random step before FGSM's",
        ("mnist",),
        (Row("A", "standard"), Row("A_adv", "fgs"), _B),
        (
            Column("FGSM", f"fgs:{_EPSILON}", metric=_ERROR),
            Column("RAND+FGSM", f"r_fgs:{_EPSILON}", metric=_ERROR),
        ),
        transposed=True,
    ),
    Table(
        "survey-ensemble",
        "ensemble adversarial training under attacks crafted on another network, B",
        ("mnist",),
        (
            _trained("A", "standard"),
            _trained("A_adv (6 epochs)", "fgs", (*_SIX_EPOCHS, *FGSM_TRAINING)),
            _trained("A_adv-ens (6 epochs)", "ensemble", (*_SIX_EPOCHS, *_OWN_EXAMPLES)),
            _trained("A_adv (12 epochs)", "fgs", (*_TWELVE_EPOCHS, *FGSM_TRAINING)),
            _trained("A_adv-ens (12 epochs)", "ensemble", (*_TWELVE_EPOCHS, *_OWN_EXAMPLES)),
        ),
        (
            Column("clean", "clean", metric=_ERROR),
            Column("FGSM", f"fgs:{_EPSILON}", metric=_ERROR),
            _black_box("FGSM_B", f"fgs:{_EPSILON}"),
            _black_box("I-FGSM_B", f"iterative:{_EPSILON}"),
            _black_box("RAND+FGSM_B", f"r_fgs:{_EPSILON}"),
            _black_box("CW_B", CW_L2),
        ),
    ),
    Table(
        "survey-transfer",
        "Carlini-Wagner examples of growing confidence, crafted on A and on another run of A",
        ("mnist",),
        (Row("standard (A)", "standard"),),
        tuple(
            Column(f"κ {kappa}{where}", f"{CW_L2}:kappa={kappa}", source=source, metric=_SUCCESS)
            for where, source in ((" white-box", None), (" from A'", "standard"))
            for kappa in (0, 5, 10, 20, 40)
        ),
    ),
    Table(
        "survey-small",
        "One perturbation for all images, and a single pixel of each",
        ("mnist", "cifar10"),
        (Row("standard (A)", "standard"),),
        tuple(Column(label, attack, metric=_SUCCESS) for label, attack in ((UNIVERSAL, "universal"), (ONE_PIXEL, "one_pixel"))),
    ),
)
