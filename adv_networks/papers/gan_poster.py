"""Xia and Liu, a poster: "Adversarial Examples Generation and Defense Based on Generative Adversarial Network"."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

from adv_networks.claims import MUCH, Claim, Grid, Source, all_of, below, close, greater, most_of
from adv_networks.experiments import PROTOCOLS, Protocol
from adv_networks.papers.published import published_numbers

# In the first unit an intensity of 1 is the standard deviation of MNIST's padded images, by which the authors' code normalises
# them; in the second it is all from black to white. The poster does not say which; only in the first does FGS leave about what
# it prints (docs/choices.md).
UNITS = {"normalised": 0.277, "pixel": 1.0}

# Its authors' public code: 70 epochs of D alone on minibatches of 10, 100 of the game on minibatches of 100. To train on images
# clipped to [0,1] is ours: they are what is evaluated.
_NETWORKS = dict(classifier="poster_d", generators=("poster_g",), weight_decay=0.0, momentum=0.0, learning_rate_drops=())
_G = dict(generator_optimizer="sgd", generator_learning_rate=0.01, generator_momentum=0.0, generator_steps=1)
PROTOCOLS["poster"] = Protocol(
    "poster",
    "as the poster's authors' code does: its networks, plain SGD",
    (
        (None, None, dict(_NETWORKS, learning_rate=0.05, batch_size=10, steps={"paper": 420_000, "cpu": 6_000})),
        (None, ("generator", "alternating"),
         dict(_G, learning_rate=0.01, batch_size=100, clip_perturbed=True, validations=50,
              steps={"paper": 60_000, "cpu": 900})),
    ),
)  # fmt: skip

_INTENSITIES = ("0.1", "0.3", "0.5", "0.7")
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
    undefended = Grid("1", "mnist")("standard (A)", "PGD")
    yield Claim(
        "introduction",
        f"Small changes make an undefended network wrong on nearly all images: under PGD A has less than {MUCH}%",
        below(undefended, MUCH),
        "8",
    )


SOURCE = Source(
    name="gan_poster",
    kind="poster",
    sections={"introduction": "what adversarial examples do", "results": "a generator against one gradient step"},
    claims=tuple(_claims()),
    published=functools.partial(published_numbers, "gan_poster"),
    readings=(
        'Xia and Liu, "Adversarial Examples Generation and Defense Based on Generative Adversarial Network". Claims whose '
        "numbers are missing rest on its figures.",
        "Its intensity is the largest perturbation of a pixel, in the units of its images, which it does not state.",
        "Most: more than half of the cases. Undecided: within the sampling error of the test images. The poster does not say "
        "which images its accuracies are of; they are taken to be all 10,000 test images, and are printed to two digits.",
    ),
    tables="`poster-1.md` and `table1.md`",
)
