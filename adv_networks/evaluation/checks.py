"""Checks against false security: signs that attacks fail although a classifier is not robust.

They follow Carlini et al., 2019, "On evaluating adversarial robustness", and Athalye, Carlini and Wagner, 2018, "Obfuscated
gradients give a false sense of security". Each passes, fails with the numbers, or is not applicable. A failure says that you
cannot trust the accuracies under attack, not what the right ones are.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from adv_networks import attacks
from adv_networks.attacks import FGS, Attack
from adv_networks.attacks.gradient import loss_gradient
from adv_networks.attacks.inputs import as_arrays, as_images, as_labels, classes_of
from adv_networks.evaluation.accuracy import correct_masks
from adv_networks.evaluation.defence_checks import of_defence
from adv_networks.evaluation.defended import Defended, Target, as_defended, crafted_on
from adv_networks.evaluation.outcomes import FAIL, NOT_APPLICABLE, PASS, WARNING, Check
from adv_networks.evaluation.random_classifiers import difference, drawn, is_random, worst_case
from adv_networks.experiments import NORMS
from adv_networks.lazy import keras, np, scipy
from adv_networks.runtime import bounding_operation, run_compiled

__all__ = [
    "FAIL", "NOT_APPLICABLE", "PASS", "WARNING", "Changed", "Check", "Measured", "black_box_is_not_stronger",
    "every_attack_changes_images", "of_classifier", "outputs_are_logits",
]  # fmt: skip

# In points: by how much an attack may leave more accuracy than a weaker one, how much accuracy more steps or restarts may take
# away, and how much an unbounded perturbation may leave.
_TOLERANCE, _SMALL_CHANGE, _ABOUT_ZERO = 1.0, 5.0, 5.0
# An attack counts as doing nothing if it changes less than this fraction of the images that are right at first.
_NEXT_TO_NONE = 0.01
# The fraction of images that may have a zero gradient.
_VANISHED_SHARE = 0.05
# When outputs of an unknown function count as bounded (see `outputs_are_logits`).
_BEYOND_ONE, _NEXT_TO, _SHARE_AT_AN_END, _FEWEST_AT_AN_END = 0.02, 0.01, 0.1, 4
_SWEEP = (0.25, 0.5, 1.0, 2.0)
_MORE_STEPS, _MORE_RESTARTS = 5, 5
_SINGLE_IMAGES = 4
_DETERMINISTIC, _ALONE = "inference is deterministic", "an image's prediction does not depend on its batch"


class Measured(NamedTuple):
    """An accuracy in percent under an attack; `knows` is false if the attack sees no gradients (transfer, queries)."""

    label: str
    percent: float
    knows: bool


class Changed(NamedTuple):
    """The percentages of images that an attack changed, and that were labelled correctly before; None if not known."""

    label: str
    percent: float | None
    right_before: float | None
    leaves_failures: bool = False


def of_classifier(
    model: Target,
    x: np.ndarray,
    y: np.ndarray,
    pgd: Attack,
    measured: Iterable[Measured],
    *,
    bn_evaluation: str = "moving",
    changed: Iterable[Changed] = (),
) -> list[Check]:
    """All checks of a classifier.

    Args:
        model: classifier under attack; its weights do not change. For a `Defended` one, the defence is checked too.
        x: a few images in [0,1] or uint8; the attacks here are run on them.
        y: their labels.
        pgd: the attack of the grid, of kind "pgd"; the checks vary its ε, steps and restarts.
        measured: the grid's accuracies, on all its images.
        bn_evaluation: as in `evaluation.accuracy`.
        changed: how many images each attack of the grid changed, including attacks of other libraries.
    """
    x, y = as_arrays(x, y)
    x = x / np.float32(255) if x.dtype == np.uint8 else x
    right = functools.cache(functools.partial(_right, model, x, y, bn_evaluation))
    tolerance = _TOLERANCE + 100 / len(x)  # One of a few images may always be the exception.
    network = as_defended(model).model
    return [
        _pgd_is_not_weaker_than_fgs(right, pgd, tolerance),
        _accuracy_falls_with_epsilon(right, pgd, math.prod(x.shape[1:]), tolerance),
        _more_steps_and_restarts_change_little(right, pgd),
        _scale_of_logits_changes_little(right, pgd, network, x),
        black_box_is_not_stronger(list(measured)),
        every_attack_changes_images(changed),
        _gradients_do_not_vanish(crafted_on(model, pgd), x, y, bn_evaluation),
        *_outputs_are_sound(network, x, bn_evaluation),
        *(of_defence(model, x, pgd, right) if isinstance(model, Defended) else []),
    ]


def _right(model, x, y, bn_evaluation, attack: Attack) -> np.ndarray:
    return correct_masks([model], x, y, attack, model, bn_evaluation)[0]


def _percent(right: np.ndarray) -> float:
    return 100 * float(right.mean())


def _pgd_is_not_weaker_than_fgs(right, pgd: Attack, tolerance: float) -> Check:
    by_fgs = _percent(right(FGS(epsilon=pgd.epsilon, norm=pgd.norm, gradient=pgd.gradient)))
    by_pgd = _percent(right(pgd))
    return Check.of("PGD is not weaker than FGS", by_pgd <= by_fgs + tolerance, f"FGS {by_fgs:.1f}%, PGD {by_pgd:.1f}%")


def _accuracy_falls_with_epsilon(right, pgd: Attack, pixels: int, tolerance: float) -> Check:
    unbounded = pixels ** (1 / NORMS[pgd.norm])
    sizes = [0.0, *(size for factor in _SWEEP if (size := factor * pgd.epsilon) < unbounded), unbounded]
    found = [_percent(right(dataclasses.replace(pgd, epsilon=size))) for size in sizes]
    falls = all(after <= before + tolerance for before, after in itertools.pairwise(found))
    detail = ", ".join(f"{size:g}: {percent:.1f}%" for size, percent in zip(sizes, found, strict=True))
    return Check.of("accuracy falls with ε, to about 0", falls and found[-1] <= _ABOUT_ZERO, f"PGD at ε {detail}")


def _more_steps_and_restarts_change_little(right, pgd: Attack) -> Check:
    own = _percent(right(pgd))
    longer = _percent(right(dataclasses.replace(pgd, steps=_MORE_STEPS * pgd.steps)))
    seeds = range(pgd.seed, pgd.seed + _MORE_RESTARTS)
    restarted = _percent(worst_case([right(dataclasses.replace(pgd, seed=seed)) for seed in seeds]))
    detail = f"PGD {own:.1f}%, {_MORE_STEPS} times the steps {longer:.1f}%, {_MORE_RESTARTS} restarts {restarted:.1f}%"
    return Check.of("more steps or restarts change little", own - min(longer, restarted) <= _SMALL_CHANGE, detail)


def _scale_of_logits_changes_little(right, pgd: Attack, model: keras.Model, x: np.ndarray) -> Check:
    """Whether PGD on a loss that ignores the logits' scale leaves no less; large logits make the cross-entropy flat."""
    loss = "dlr" if (classes_of(model, x) or math.inf) > 2 else "margin"
    own, scale_free = (_percent(right(attack)) for attack in (pgd, dataclasses.replace(pgd, loss=loss)))
    detail = f"PGD {own:.1f}%, on a loss that ignores the scale ({loss}) {scale_free:.1f}%"
    return Check.of("the logits' scale hides nothing", own - scale_free <= _SMALL_CHANGE, detail)


def black_box_is_not_stronger(measured: Sequence[Measured]) -> Check:
    """Whether no transfer and no query attack leaves less than the strongest white-box attack."""
    name = "no transfer and no query attack beats white-box"
    knowing, blind = ([one for one in measured if one.knows == knows] for knows in (True, False))
    if not knowing or not blind:
        return Check(name, NOT_APPLICABLE, "no black-box attack was run" if knowing else "no white-box attack was run")
    strongest, challenger = (min(some, key=lambda one: one.percent) for some in (knowing, blind))
    detail = f"{challenger.label} {challenger.percent:.1f}%, {strongest.label} {strongest.percent:.1f}%"
    return Check.of(name, challenger.percent >= strongest.percent - _TOLERANCE, detail)


def every_attack_changes_images(changed: Iterable[Changed]) -> Check:
    """Whether every attack changed more than a few of the images that it could have fooled the classifier on.

    Strong attacks do not touch images that are mislabelled at first. An attack that `leaves_failures` may rightly find nothing.
    """
    name = "every attack changes images"
    known = [one for one in changed if one.percent is not None and one.right_before is not None and not one.leaves_failures]
    if not known:
        return Check(name, NOT_APPLICABLE, "it is not known what the attacks changed")
    idle = [one for one in known if one.percent < _NEXT_TO_NONE * one.right_before]
    detail = ", ".join(f"{one.label} {one.percent:.1f}%" for one in idle or known)
    return Check.of(name, not idle, detail)


def _gradients_do_not_vanish(model, x, y, bn_evaluation) -> Check:
    training, images, labels = bn_evaluation == "batch", as_images(model, x), as_labels(y, x, model)
    gradients = run_compiled(loss_gradient, model, training, images, labels).numpy().reshape(len(x), -1)
    broken = 100 * np.mean(~np.isfinite(gradients).all(1))
    vanished = 100 * np.mean(np.isfinite(gradients).all(1) & ~gradients.any(1))
    detail = f"{vanished:.1f}% of the images have a gradient of zero, {broken:.1f}% one that is not finite"
    return Check.of("gradients do not vanish", broken == 0 and vanished <= 100 * _VANISHED_SHARE, detail)


def _outputs_are_sound(model, x, bn_evaluation) -> list[Check]:
    """The checks of what the model returns when it is called as its user calls it."""
    weights, training = model.get_weights(), bn_evaluation == "batch"

    def call(images):
        if training:
            return attacks.predict(model, images, training=True).numpy()
        return np.asarray(model(as_images(model, images), training=False))

    if is_random(model, x, training=training):
        return _random_outputs_are_sound(model, x, training)
    try:
        first, again = call(x), call(x)
        one_by_one = np.concatenate([call(x[number : number + 1]) for number in range(min(_SINGLE_IMAGES, len(x)))])
    finally:
        model.set_weights(weights)
    checks = [outputs_are_logits(model, first)]
    by, differs = difference(first, again)
    detail = f"two calls differ by {by:.3g}"
    if differs:  # The compiled calls that attacks make do not.
        detail += ", but not in a graph: draw its random numbers with keras.random"
    checks.append(Check.of(_DETERMINISTIC, not differs, detail))
    if differs:
        return [*checks, Check(_ALONE, NOT_APPLICABLE, "inference is not deterministic")]
    moved, differs = difference(one_by_one, first[: len(one_by_one)])
    return [*checks, Check.of(_ALONE, not differs, f"outputs alone and in a batch differ by {moved:.3g}")]


def _random_outputs_are_sound(model, x, training) -> list[Check]:
    """The same checks for a random classifier, whose outputs must repeat for the same seed."""
    first, again, other = (drawn(model, x, seed, training=training) for seed in (0, 0, 1))
    (repeated, differs), (moved, _) = difference(first, again), difference(first, other)
    detail = f"random; given the seed two calls differ by {repeated:.3g}, without it by {moved:.3g}"
    if differs:
        detail += ": draw its random numbers with keras.random"
    return [
        outputs_are_logits(model, first),
        Check.of(_DETERMINISTIC, not differs, detail),
        Check(_ALONE, NOT_APPLICABLE, "inference is random"),
    ]


def outputs_are_logits(model: keras.Model, outputs: np.ndarray) -> Check:
    """Whether outputs [images, classes] are not bounded: a softmax or sigmoid that is sure of a class has small gradients.

    Outputs count as bounded if an operation at the end of the model's graph bounds them (`runtime.bounding_operation`),
    however it is written, if they all lie in [0,1], or if many are at one end of their range. Sums do not count, because a
    softmax in half precision has sums that are only about 1. Not seen are bounds that the graph does not show, such as
    x / (1 + |x|), if no output comes near them. Gradients do not vanish there. Nearer to the bounds, the checks of gradients
    and of the logits' scale fail.
    """
    outputs = outputs.astype(np.float64)
    low, high = float(outputs.min()), float(outputs.max())
    sums = outputs.sum(1)
    numbers = f"outputs from {low:.3g} to {high:.3g}, their sums from {sums.min():.3g} to {sums.max():.3g}"
    bound = bounding_operation(model)
    bounded = (low >= 0 and high <= 1 + _BEYOND_ONE) or _share_an_end(outputs) or _share_an_end(-outputs)
    if bound:
        numbers += f"; the model ends in {bound}: let the classifier return the values before it"
    elif bounded:
        numbers += "; let the classifier return the values before its last activation"
    return Check.of("outputs are logits, not probabilities", not bounded and not bound, numbers)


def _share_an_end(outputs: np.ndarray) -> bool:
    """Whether a tenth of the outputs are next to the largest, compared with how outputs of a class vary between images.

    This holds for outputs of sigmoids, tanh or clipping, whatever they were multiplied by. The logarithms of probabilities
    have an end too, at 0, but they are logits: a softmax gives the probabilities back.
    """
    variation = float((outputs - outputs.mean(0)).std())
    if not variation or np.abs(scipy.special.logsumexp(outputs, 1)).max() < _BEYOND_ONE:
        return False
    shared = int((outputs >= outputs.max() - _NEXT_TO * variation).sum())
    return shared > max(_SHARE_AT_AN_END * outputs.size, _FEWEST_AT_AN_END)
