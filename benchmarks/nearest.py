"""Attacks that look for the nearest adversarial image, in this project and in other libraries, at equal settings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from benchmarks.processes import Task

_Call = tuple[str, dict[str, Any]]


class _Case(NamedTuple):
    """An attack with its names and options in this project and in the libraries that have it.

    `images` is the number of images on which it is timed. ART gets the label (true class + `labels`), which for a targeted
    attack is the target.
    """

    images: int
    ours: _Call
    foolbox: _Call | None = None
    art: _Call | None = None
    labels: int = 0


_DEEPFOOL = ("deepfool", dict(steps=50))
_CW_L2 = ("cw_l2", dict(searches=2, steps=50, c=1.0, rate=0.05))
# ART takes seconds per image, so its cases have few images.
_CASES = {
    "JSMA, θ = 1, Υ = 0.145": _Case(
        10,
        ("jsma", dict(target="next", theta=1.0, share=0.145)),
        art=("SaliencyMapMethod", dict(theta=1.0, gamma=0.145, batch_size=10)),
        labels=1,
    ),
    # ART's population is a multiple of an individual's three numbers, and it evolves one image after the other.
    "one pixel, 100 generations of 399": _Case(
        10, ("one_pixel", dict(population=399, generations=100)), art=("PixelAttack", dict(th=1, es=1, max_iter=100))
    ),
    "DeepFool L2": _Case(250, _DEEPFOOL, foolbox=("L2DeepFoolAttack", dict(steps=50))),
    "DeepFool L2 beside ART": _Case(20, _DEEPFOOL, art=("DeepFool", dict(max_iter=50, batch_size=20))),
    "C&W L2, 2 searches of 50 steps": _Case(
        250,
        _CW_L2,
        foolbox=("L2CarliniWagnerAttack", dict(binary_search_steps=2, steps=50, initial_const=1.0, stepsize=0.05)),
    ),
    "C&W L2 beside ART, 2 searches of 50 steps": _Case(
        5,
        _CW_L2,
        art=(
            "CarliniL2Method",
            dict(binary_search_steps=2, max_iter=50, initial_const=1.0, learning_rate=0.05, batch_size=5),
        ),
    ),
}


def contenders(libraries: Collection[str], most: int | None = None) -> dict[str, dict[str, Task]]:
    """The contenders by case: this project, and the chosen libraries.

    Args:
        libraries: foolbox, art, or both; a case that none of them has is left out.
        most: the largest number of images; None for the number of each case.
    """
    cases = {}
    for name, case in _CASES.items():
        images = min(case.images, most or case.images)
        own: dict[str, Task] = {
            "ours": Task("benchmarks.contenders", "minimum_norm", dict(name=case.ours[0], images=images, options=case.ours[1]))
        }
        if case.foolbox and "foolbox" in libraries:
            arguments: dict[str, Any] = dict(kind=case.foolbox[0], images=images, options=case.foolbox[1])
            own["foolbox (TensorFlow)"] = Task("benchmarks.tensorflow_libraries", "foolbox_minimum_norm", arguments)
        if case.art and "art" in libraries:
            arguments = dict(kind=case.art[0], images=images, options=case.art[1], labels=case.labels)
            own["art (TensorFlow)"] = Task("benchmarks.tensorflow_libraries", "art_minimum_norm", arguments)
        if len(own) > 1:
            cases[f"D1 {name}, {images} images"] = own
    return cases
