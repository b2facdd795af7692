"""Attacks without a ball, which look for the nearest adversarial image, of this project and of libraries at equal steps."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from benchmarks.side_by_side import Contender

# By case: ours, Foolbox's and ART's, each by its name there and with its options.
_CASES: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "DeepFool L2": (
        ("deepfool", dict(steps=50)),
        ("L2DeepFoolAttack", dict(steps=50)),
        ("DeepFool", dict(max_iter=50)),
    ),
    "C&W L2, 2 searches of 50 steps": (
        ("cw_l2", dict(searches=2, steps=50, c=1.0, rate=0.05)),
        ("L2CarliniWagnerAttack", dict(binary_search_steps=2, steps=50, initial_const=1.0, stepsize=0.05)),
        ("CarliniL2Method", dict(binary_search_steps=2, max_iter=50, initial_const=1.0, learning_rate=0.05)),
    ),
}


def contenders(images: int, libraries: Collection[str]) -> dict[str, dict[str, Contender]]:
    """By case the contenders on so many images: this project, and those of foolbox and art that are asked for."""
    cases = {}
    for case, (ours, foolbox, art) in _CASES.items():
        own: dict[str, Contender] = {
            "ours": ("benchmarks.contenders", "minimum_norm", dict(name=ours[0], images=images, options=ours[1]))
        }
        for library, (kind, options) in (("foolbox", foolbox), ("art", art)):
            if library in libraries:
                arguments = dict(kind=kind, images=images, options=options)
                own[f"{library} (TensorFlow)"] = ("benchmarks.tensorflow_libraries", f"{library}_minimum_norm", arguments)
        cases[f"D1 {case}, {images} images"] = own
    return cases
