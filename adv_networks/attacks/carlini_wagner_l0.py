"""Carlini and Wagner's attack in l0: their attack in l2 on ever fewer pixels."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from adv_networks.attacks.base import register, setting
from adv_networks.attacks.carlini_wagner import Aim, CarliniWagner, Descent, Problem, Rounds, prepared, standing
from adv_networks.attacks.distances import CHANGED
from adv_networks.attacks.minimum_norm import Found
from adv_networks.attacks.quantities import check_counts, check_factor, check_sizes, check_weight
from adv_networks.lazy import keras, np, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

_LARGEST_C = 2e6
_MARGIN = 0.01
# After each success the least important pixels are frozen, up to and including the first whose importance exceeds _MATTERS,
# but at most _AT_A_TIME · √(pixels changed) at a time.
_MATTERS, _AT_A_TIME = 0.01, 0.3


@register("cw_l0", "Carlini and Wagner in l0: their attack in l2 on ever fewer pixels")
@dataclasses.dataclass(frozen=True, kw_only=True)
class CarliniWagnerL0(CarliniWagner):
    """The attack `cw_l0` as a column of tables, with the numbers of the authors' code.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.CarliniWagnerL0(epsilon=5, steps=100).title  # at most five pixels
        'cw_l0 (l0 ≤ 5)'
    """

    kind: ClassVar[str] = "cw_l0"
    norms: ClassVar[tuple[str, ...]] = ("l0",)

    norm: str = "l0"
    steps: int = setting(1_000, "maximum number of Adam steps for each set of pixels and c", least=1)
    rate: float = setting(0.01, "Adam's learning rate", above=0)
    c: float = setting(1e-3, "first weight of the margin, multiplied by `factor` after each failure up to 2e6", above=0)
    factor: float = setting(2.0, "what c is multiplied by after each failure", above=1, omitted=True)

    def search(self, source: keras.Model, x: tf.Tensor, y: tf.Tensor, *, seed: Seed = 0) -> Found:
        """See `MinimumNormAttack.search`."""
        how = dict(steps=self.steps, rate=self.rate, c=self.c, factor=self.factor)
        return search(source, x, self.aim(source, x, y), **how)


def cw_l0(
    model: keras.Model,
    x: Array,
    y: Array,
    *,
    targeted: bool = False,
    kappa: float = 0.0,
    steps: int = 1_000,
    rate: float = 0.01,
    c: float = 1e-3,
    factor: float = 2.0,
) -> tf.Tensor:
    """Carlini and Wagner in l0: the last adversarial image found for each image, or the image itself if none was found.

    After each success, the pixels i with the smallest |δ_i| |∂loss/∂x_i|, summed over channels, are frozen.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: labels to move away from, or to reach if `targeted`.
        targeted: whether y are targets.
        kappa: confidence κ: by how much the wanted logit must exceed the others.
        steps: maximum number of Adam steps for each set of pixels and c.
        rate: Adam's learning rate.
        c: first weight of the margin.
        factor: what c is multiplied by after each failure of an image, up to 2e6; above 1.

    Raises:
        UsageError: a number out of range, or invalid images or labels.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> y = np.argmax(model(x), 1)
        >>> adversarial = attacks.cw_l0(model, x, y, steps=50, rate=0.1)
        >>> pixels = attacks.distances(x, adversarial, "l0")
        >>> bool(((pixels > 0) & (pixels < 32)).all())
        True
    """
    check_counts(steps=steps)
    check_sizes(rate=rate)
    check_weight(c)
    check_factor(factor)
    x, aim = prepared(model, x, y, targeted=targeted, kappa=kappa)
    return tf.constant(search(model, x, aim, steps=steps, rate=rate, c=c, factor=factor).images)


def search(model: keras.Model, x: tf.Tensor, aim: Aim, *, steps: int, rate: float, c: float, factor: float) -> Found:
    """Runs rounds on all images that are not done, each with its own set of pixels and its own c."""
    problem, rows = Problem.of(x, aim), standing(model, x, aim)
    # c is in double precision, so that every c above 0 grows.
    images, weight = problem.originals.copy(), np.full(len(x), float(c))
    rounds = Rounds(model, problem, Descent("l2", rate, _MARGIN, "margin"), steps)
    rounds.start(rows, images[rows], weight[rows])
    for ended in rounds.ended():
        won, lost = rounds.split(ended)
        images[won] = rounds.images[won]
        weight[lost] *= factor
        for row in won:
            # The gap counts in full here: cut off at −κ, its slope would be 0 at every success.
            change = images[row] - problem.originals[row]
            matters = (np.abs(change) * np.abs(2 * change + weight[row] * rounds.slopes[row])).sum(-1)
            _freeze(problem.allowed[row, ..., 0], matters, int((np.abs(change).max(-1) > CHANGED).sum()))
        again = np.concatenate([won[problem.allowed[won].any((1, 2, 3))], lost[weight[lost] <= _LARGEST_C]])
        rounds.start(again, images[again], weight[again])
    return Found(images.astype(x.dtype.as_numpy_dtype), 1 + rounds.queries)


def _freeze(allowed: np.ndarray, matters: np.ndarray, changed: int) -> None:
    """Freezes the pixels that matter least: clears them, in place, in the mask `allowed` [height, width]."""
    places = np.flatnonzero(allowed)
    order = places[np.argsort(matters.ravel()[places], kind="stable")]
    small = int((matters.ravel()[order] <= _MATTERS).sum())
    allowed.flat[order[: max(1, min(small + 1, int(np.ceil(_AT_A_TIME * np.sqrt(changed)))))]] = False
