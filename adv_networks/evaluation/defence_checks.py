"""Checks of input defences: whether the attacks took all of the defence into account."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from adv_networks.attacks import Attack, EvadingCarliniWagner, EvadingPGD
from adv_networks.evaluation.defended import Defended, rejected
from adv_networks.evaluation.outcomes import NOT_APPLICABLE, PASS, WARNING, Check
from adv_networks.lazy import np

# In points: how much less accuracy an attack that knows more may leave.
_SMALL_CHANGE = 5.0
_STEPS = 10  # Multiple of PGD's steps.


def of_defence(defended: Defended, x: np.ndarray, pgd: Attack, right: Callable[[Attack], np.ndarray]) -> list[Check]:
    """The checks of an input defence.

    Args:
        defended: the classifier behind the defence.
        x: a few images in [0,1].
        pgd: the attack whose accuracy is reported.
        right: returns which of the images count as right under an attack, booleans [images].
    """
    return [
        _gradient_is_its_own(defended, pgd),
        _no_gradient_is_better(defended, pgd, right),
        _refusals(defended, x, pgd, right),
    ]


def _percent(right: np.ndarray) -> float:
    return 100 * float(right.mean())


def _gradient_is_its_own(defended: Defended, pgd: Attack) -> Check:
    gradient = pgd.gradient or defended.gradient
    outcome = PASS if gradient == "exact" else WARNING
    detail = f"attacks follow this gradient: {gradient}"
    return Check("attacks follow the defence's own gradient", outcome, detail)


def _no_gradient_is_better(defended: Defended, pgd: Attack, right: Callable[[Attack], np.ndarray]) -> Check:
    """Passes if no other gradient makes PGD leave less accuracy than the gradient that attacks get."""
    name = "no other gradient of the defence makes PGD stronger"
    own = pgd.gradient or defended.gradient
    names = list(defended.offered)
    if names == [own]:
        return Check(name, NOT_APPLICABLE, f"attacks already get its only gradient: {own}")
    left = {gradient: _percent(right(dataclasses.replace(pgd, gradient=gradient))) for gradient in names}
    detail = ", ".join(f"{gradient} {percent:.1f}%" for gradient, percent in left.items())
    return Check.of(name, left[own] <= min(left.values()) + _SMALL_CHANGE, f"attacks get {own}; PGD by {detail}")


def _refusals(defended: Defended, x: np.ndarray, pgd: Attack, right: Callable[[Attack], np.ndarray]) -> Check:
    """Passes if an attack that evades the detectors leaves no less accuracy than PGD, which ignores them."""
    name = "an attack that evades the detectors is not stronger"
    refused = rejected(defended, x)
    if refused is None:
        return Check(name, NOT_APPLICABLE, "the defence refuses no image")
    clean = f"{_percent(refused):.1f}% of the clean images are refused"
    if defended.excess is None:
        return Check(name, WARNING, f"{clean}; no attack can follow the rule that refuses them")
    steps = _STEPS * getattr(pgd, "steps", 1)
    ball: dict[str, Any] = dict(epsilon=pgd.epsilon, seed=pgd.seed, steps=steps)
    evading: list[Attack] = [EvadingPGD(norm=pgd.norm, **ball)]
    if pgd.norm in EvadingCarliniWagner.norms:
        evading.append(EvadingCarliniWagner(**ball))
    plain, evaded = _percent(right(pgd)), min(_percent(right(attack)) for attack in evading)
    return Check.of(name, plain <= evaded + _SMALL_CHANGE, f"PGD {plain:.1f}%, evading {evaded:.1f}%; {clean}")
