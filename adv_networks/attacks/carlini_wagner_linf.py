"""Carlini and Wagner's attack in L∞."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from adv_networks.attacks.base import register, setting
from adv_networks.attacks.carlini_wagner import Aim, CarliniWagner, Descent, Problem, Rounds, prepared, standing
from adv_networks.attacks.minimum_norm import Found
from adv_networks.attacks.quantities import check_counts, check_factor, check_sizes, check_weight
from adv_networks.lazy import keras, np, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# The search ends below the first threshold, less than one level of an 8-bit image; the second is the factor after a success.
_SMALLEST, _SHRINKS = 1 / 256, 0.9
_LARGEST_C = 20.0


@register("cw_linf", "Carlini and Wagner in L∞: penalises changes above a threshold, which shrinks at each success")
@dataclasses.dataclass(frozen=True, kw_only=True)
class CarliniWagnerLinf(CarliniWagner):
    """The attack `cw_linf` as a column of tables, with the numbers of the authors' code.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.CarliniWagnerLinf(epsilon=0.1, kappa=2.0, steps=100).title
        'cw_linf (linf ≤ 0.1)'
    """

    kind: ClassVar[str] = "cw_linf"
    norms: ClassVar[tuple[str, ...]] = ("linf",)

    norm: str = "linf"
    steps: int = setting(1_000, "maximum number of Adam steps for each threshold and c", least=1)
    rate: float = setting(5e-3, "Adam's learning rate", above=0)
    c: float = setting(1e-5, "first weight of the margin, multiplied by `factor` after each failure while below 20", above=0)
    factor: float = setting(2.0, "what c is multiplied by after each failure", above=1, omitted=True)

    def search(self, source: keras.Model, x: tf.Tensor, y: tf.Tensor, *, seed: Seed = 0) -> Found:
        """See `MinimumNormAttack.search`."""
        how = dict(steps=self.steps, rate=self.rate, c=self.c, factor=self.factor)
        return search(source, x, self.aim(source, x, y), **how)


def cw_linf(
    model: keras.Model,
    x: Array,
    y: Array,
    *,
    targeted: bool = False,
    kappa: float = 0.0,
    steps: int = 1_000,
    rate: float = 5e-3,
    c: float = 1e-5,
    factor: float = 2.0,
) -> tf.Tensor:
    """Carlini and Wagner in L∞: the last adversarial image found for each image, or the image itself if none was found.

    The loss is c f + Σ max(0, |δ| − τ). τ starts at 1. After each success it becomes 0.9 min(τ, ‖δ‖∞), and the next round
    starts from the image found. After each failure c is multiplied by `factor`.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: labels to move away from, or to reach if `targeted`.
        targeted: whether y are targets.
        kappa: confidence κ: by how much the wanted logit must exceed the others.
        steps: maximum number of Adam steps for each τ and c.
        rate: Adam's learning rate.
        c: first weight of the margin.
        factor: what c is multiplied by after each failure of an image, while below 20; above 1.

    Raises:
        UsageError: a number out of range, or invalid images or labels.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> y = np.argmax(model(x), 1)
        >>> adversarial = attacks.cw_linf(model, x, y, steps=50, rate=0.1)
        >>> np.argmax(model(adversarial), 1) != y
        array([ True,  True])
    """
    check_counts(steps=steps)
    check_sizes(rate=rate)
    check_weight(c)
    check_factor(factor)
    x, aim = prepared(model, x, y, targeted=targeted, kappa=kappa)
    return tf.constant(search(model, x, aim, steps=steps, rate=rate, c=c, factor=factor).images)


def search(model: keras.Model, x: tf.Tensor, aim: Aim, *, steps: int, rate: float, c: float, factor: float) -> Found:
    """Runs rounds on all images that are not done, each with its own threshold and c."""
    problem, rows = Problem.of(x, aim), standing(model, x, aim)
    images, threshold = problem.originals.copy(), problem.threshold
    # In double precision, so that every c above 0 grows.
    weight = np.full(len(x), float(c))
    rounds = Rounds(model, problem, Descent("linf", rate, 0.0, "loss"), steps)
    rounds.start(rows, images[rows], weight[rows])
    for ended in rounds.ended():
        won, lost = rounds.split(ended)
        images[won] = rounds.images[won]
        largest = np.abs(images[won] - problem.originals[won]).max((1, 2, 3), initial=0)
        threshold[won] = _SHRINKS * np.minimum(threshold[won], largest)
        weight[lost] *= factor
        again = np.concatenate([won[threshold[won] >= _SMALLEST], lost[weight[lost] < _LARGEST_C]])
        rounds.start(again, images[again], weight[again])
    return Found(images.astype(x.dtype.as_numpy_dtype), 1 + rounds.queries)
