"""Xia and Liu, a poster: "Adversarial Examples Generation and Defense Based on Generative Adversarial Network"."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

from adv_networks.claims import MUCH, Claim, Grid, Key, Source, above, all_of, below, close, greater, most_of
from adv_networks.experiments import PROTOCOLS, Column, Protocol, Row, Table, declare_tables
from adv_networks.papers.published import published_numbers

# In the first unit, an intensity of 1 is the standard deviation of MNIST's padded images, by which the authors' code normalises
# them; in the second, it is the whole range from black to white. The poster does not say which it uses. Only in the first does
# FGS leave about the accuracy that it prints (docs/choices.md).
UNITS = {"normalised": 0.277, "pixel": 1.0}

# From the authors' public code: 70 epochs of D alone with minibatches of 10, and 100 epochs of the game with minibatches of
# 100. Training on images clipped to [0,1] is our choice, because clipped images are evaluated.
_NETWORKS = dict(classifier="poster_d", generators=("poster_g",), weight_decay=0.0, momentum=0.0, learning_rate_drops=())
_G = dict(generator_optimizer="sgd", generator_learning_rate=0.01, generator_momentum=0.0, generator_steps=1)
PROTOCOLS["poster"] = Protocol(
    "poster",
    "as the poster's authors' code does: its networks, plain SGD",
    (
        (None, None, dict(_NETWORKS, learning_rate=0.05, batch_size=10, steps={"paper": 420_000, "cpu": 3_000})),
        (None, ("generator", "alternating"),
         dict(_G, learning_rate=0.01, batch_size=100, clip_perturbed=True, validations=50,
              steps={"paper": 60_000, "cpu": 600})),
    ),
)  # fmt: skip

_INTENSITIES = ("0.1", "0.3", "0.5", "0.7")
_TOLD = "0.3"  # the intensity for which the poster's text has numbers
_FAST_GRAD, _GAN = "FastGrad", "GAN"
_D, _FROZEN, _ALTERNATING, _OTHER_D, _MLP = "D, 70 epochs", "D frozen", "D alternating", "D' (another seed)", "MLP"


def _classifier(label: str) -> Row:
    return Row(label, "standard", protocol="poster")


def _at(intensity: str, unit: str = "normalised") -> tuple[tuple[str, Any], ...]:
    """The settings of an intensity in this unit."""
    epsilon = round(float(intensity) * UNITS[unit], 6)
    return (("epsilon", epsilon), ("intensity_unit", unit)) if unit == "pixel" else (("epsilon", epsilon),)


def _fast_grad(row: str, intensity: str, label: str = "", **further: Any) -> Column:
    return Column(label or intensity, "fgs", row=row, settings=_at(intensity, **further))


def _g_against(row: str, intensity: str, label: str = "", *, same_seed: bool = True, **further: Any) -> Column:
    """A generator trained against the row's frozen classifier; with another seed's classifier, it is a transfer attack."""
    how = dict(source="generator", fresh=True, same_seed=same_seed)
    return Column(label or intensity, "generator", row=row, settings=_at(intensity, **further), **how)


def _one_step(name: str, title: str, unit: str) -> Table:
    columns = [make(row, intensity, unit=unit) for row, make in ((_FAST_GRAD, _fast_grad), (_GAN, _g_against))
               for intensity in _INTENSITIES]  # fmt: skip
    return Table(name, title, ("mnist",), (_classifier(_FAST_GRAD), _classifier(_GAN)), tuple(columns), bundle="poster")


def _game() -> Iterator[Column]:
    """Accuracy under G of the original D, of the D that alternates with G, and of two classifiers that G never saw."""
    for row in (_FROZEN, _ALTERNATING, _OTHER_D, _MLP):
        yield Column("clean", "clean", row=row, settings=_at(_TOLD) if row == _ALTERNATING else ())
    for intensity in _INTENSITIES:
        label = f"G {intensity}"
        yield _g_against(_FROZEN, intensity, label)
        yield Column(label, "generator", row=_ALTERNATING, settings=_at(intensity))
        yield _g_against(_OTHER_D, intensity, label, same_seed=False)
        yield Column(label, "generator", "generator", row=_MLP, same_seed=True, settings=_at(intensity))
    for intensity in _INTENSITIES:
        for row in (_FROZEN, _ALTERNATING):
            yield _fast_grad(row, intensity, f"FastGrad {intensity}")


declare_tables(
    "gan_poster",
    _one_step("poster-1", "A generator and FGS against D, intensity in standard deviations of the images", "normalised"),
    Table(
        "poster-text", "D before and after, at intensity 0.3", ("mnist",),
        (_classifier(_D), _classifier("D after 200 epochs of G")),
        (Column("clean", "clean", row=_D), _fast_grad(_D, _TOLD, "FastGrad, one step"),
         _g_against("D after 200 epochs of G", _TOLD, _GAN)), bundle="poster",
    ),
    _one_step("poster-pixel", "The same with intensities in pixels (ours)", "pixel"),
    Table(
        "poster-game", "G against D as it is and against D that learns too, and G's transfer (ours)", ("mnist",),
        (_classifier(_FROZEN), Row(_ALTERNATING, "alternating", protocol="poster"), _classifier(_OTHER_D),
         Row(_MLP, "standard", protocol="redblue", sources=(Row("", "generator", protocol="poster"),))),
        tuple(_game()), bundle="poster", appendix="generator_curves",
    ),
)  # fmt: skip

_CURVES = Grid("poster-curves", "mnist")  # validation accuracy under G during the runs of poster-game
_ONE_STEP = Grid("poster-1", "mnist")  # rows: attacks; columns: intensities, the largest perturbation
_TEXT = Grid("poster-text", "mnist")


def _claims() -> Iterator[Claim]:
    yield Claim(
        "results",
        "In one step G leaves less accuracy than FastGrad at most intensities",
        most_of(greater(_ONE_STEP("FastGrad", intensity), _ONE_STEP("GAN", intensity)) for intensity in _INTENSITIES),
        "1",
    )
    yield Claim(
        "results",
        "The larger the intensity, the less accuracy G leaves, and so FastGrad",
        all_of(
            greater(_ONE_STEP(attack, smaller), _ONE_STEP(attack, larger))
            for attack in ("GAN", "FastGrad")
            for smaller, larger in itertools.pairwise(_INTENSITIES)
        ),
        "2",
    )
    clean = _TEXT("D, 70 epochs", "clean")
    told = {"GAN": _TEXT("D after 200 epochs of G", "GAN"), "FastGrad": _TEXT("D, 70 epochs", "FastGrad, one step")}
    yield Claim(
        "results",
        f"G and FastGrad take more than {MUCH} points from D, and leave what the table has at intensity 0.3",
        all_of(
            part
            for attack, cell in told.items()
            for part in (greater(clean, cell, MUCH), close(cell, _ONE_STEP(attack, "0.3")))
        ),
        "3",
    )
    yield from _curves()
    undefended = Grid("1", "mnist")("standard (A)", "PGD")
    yield Claim(
        "introduction",
        f"Small changes make an undefended network wrong on nearly all images: under PGD A has less than {MUCH}%",
        below(undefended, MUCH),
        "8",
    )


def _curves() -> Iterator[Claim]:
    """The claims about the poster's figures."""

    def of(what: str, metric: str = "accuracy") -> dict[str, dict[str, Key]]:
        """A number of a curve, by the kind of D and the intensity."""
        kinds = {"frozen": _FROZEN, "alternating": _ALTERNATING}
        return {
            kind: {intensity: _CURVES(f"{row}, {intensity}", what, metric) for intensity in _INTENSITIES}
            for kind, row in kinds.items()
        }

    epochs = of("epochs to convergence", "epochs")["frozen"]
    yield Claim(
        "training",
        "With D frozen, the larger the intensity the fewer epochs G takes to converge",
        all_of(greater(epochs[smaller], epochs[larger]) for smaller, larger in itertools.pairwise(_INTENSITIES)),
        "4",
    )
    least, last = of("least after the first tenth"), of("last tenth")
    yield Claim(
        "training",
        "A D that learns too stays near 100%: above 97% after the first tenth of the epochs, at every intensity",
        all_of(above(cell, 97) for cell in least["alternating"].values()),
        "5",
    )
    yield Claim(
        "training",
        f"In the end a D that learns has over {MUCH} points more under its G than one that is frozen, at every intensity",
        all_of(greater(last["alternating"][intensity], last["frozen"][intensity], MUCH) for intensity in _INTENSITIES),
        "6",
    )
    rank, cosine = of("effective rank", "rank"), of("mean |cosine|", "cosine")
    yield Claim(
        "results",
        "G's patterns are more complex when D learns too: of higher effective rank and less alike, at every intensity",
        all_of(
            part
            for intensity in _INTENSITIES
            for part in (
                greater(rank["alternating"][intensity], rank["frozen"][intensity]),
                greater(cosine["frozen"][intensity], cosine["alternating"][intensity]),
            )
        ),
        "7",
    )
    game = Grid("poster-game", "mnist")
    yield Claim(
        "training",
        f"At 0.7 G takes over {MUCH} points from a D of another seed and from a perceptron too (the poster asks whether)",
        all_of(greater(game(row, "clean"), game(row, "G 0.7"), MUCH) for row in (_OTHER_D, _MLP)),
        "9",
    )


SOURCE = Source(
    name="gan_poster",
    kind="poster",
    sections={
        "introduction": "what adversarial examples do",
        "results": "a generator against one gradient step",
        "training": "D frozen, and D and G in turn",
    },
    claims=tuple(_claims()),
    published=functools.partial(published_numbers, "gan_poster"),
    readings=(
        'Xia and Liu, "Adversarial Examples Generation and Defense Based on Generative Adversarial Network". Claims whose '
        "numbers are missing rest on its figures.",
        "Its intensity is the largest perturbation of a pixel, in the units of its images, which it does not state: here the "
        "standard deviation of MNIST's padded images, 0.277, by which its authors' code divides; `poster-pixel.md` has pixels.",
        "Its accuracies may be of the images that G is trained on; ours are of test images, those of the curves of 500 images "
        "held out. G has converged from the epoch on from which accuracy stays within 2 points of the mean of its last tenth.",
        "Most: more than half of the cases. Undecided: within the sampling error of the test images. The poster does not say "
        "which images its accuracies are of; they are taken to be all 10,000 test images, and are printed to two digits.",
    ),
    tables="`poster-*.md` and `table1.md`",
)
