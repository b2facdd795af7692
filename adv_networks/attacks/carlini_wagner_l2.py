"""Carlini and Wagner's attack in l2."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import Crafted, are_changed, register, setting
from adv_networks.attacks.carlini_wagner import Aim, CarliniWagner, Descent, Problem, Rounds, prepared, standing
from adv_networks.attacks.geometry import where_images
from adv_networks.attacks.inputs import as_images
from adv_networks.attacks.minimum_norm import Found
from adv_networks.attacks.quantities import check_counts, check_sizes, check_weight
from adv_networks.attacks.targets import TARGETS
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, np, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# The images that may be perturbed: the given one, or an empty one.
STARTS = ("image", "black", "white")


@register("cw_l2", "Carlini and Wagner in l2: Adam on ‖δ‖² + c f, c by bisection")
@dataclasses.dataclass(frozen=True, kw_only=True)
class CarliniWagnerL2(CarliniWagner):
    """The attack `cw_l2` as a column of tables, with the numbers of the authors' code.

    `start="black"` or `"white"` draws on an empty image what the classifier takes for the target class of each image.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> crafted = attacks.CarliniWagnerL2(searches=2, steps=20).crafted(model, x, y)
        >>> crafted.images.shape, crafted.queries.shape
        (TensorShape([2, 8, 8, 1]), (2,))
    """

    kind: ClassVar[str] = "cw_l2"
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    searches: int = setting(9, "values of c that are tried", least=1)
    steps: int = setting(10_000, "maximum number of Adam steps for each", least=1)
    rate: float = setting(0.01, "Adam's learning rate", above=0)
    c: float = setting(1e-3, "first weight of the margin, multiplied by 10 until it succeeds, then bisected", above=0)
    start: str = setting("image", "what is perturbed: the image, or black or white with a target", choices=STARTS, omitted=True)

    def __post_init__(self) -> None:
        """Also refuses a start without a target: an empty image has no label to move away from."""
        super().__post_init__()
        if self.start != "image" and self.target == "none":
            raise UsageError(f"target: expected one of {', '.join(TARGETS)} with start {self.start}, received none")

    def crafted(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> Crafted:
        """See `Attack.crafted`. From black or white, targets and distances are those of the black or white image.

        The given image is returned where nothing was drawn: no image of the target class is found, or the start has that class.
        """
        how = dict(seed=seed, training=training, state=state)
        if self.start == "image":
            return super().crafted(source, x, y, **how)
        x = as_images(source, x)
        start = tf.fill(tf.shape(x), tf.constant(float(self.start == "white"), x.dtype))
        found = super().crafted(source, start, y, **how)
        drawn = are_changed(start, found.images)
        return found._replace(images=where_images(drawn, found.images, x), started_from=start)

    def search(self, source: keras.Model, x: tf.Tensor, y: tf.Tensor, *, seed: Seed = 0) -> Found:
        """See `MinimumNormAttack.search`."""
        how = dict(searches=self.searches, steps=self.steps, rate=self.rate, c=self.c)
        return search(source, x, self.aim(source, x, y), **how)


def cw_l2(
    model: keras.Model,
    x: Array,
    y: Array,
    *,
    targeted: bool = False,
    kappa: float = 0.0,
    searches: int = 9,
    steps: int = 10_000,
    rate: float = 0.01,
    c: float = 1e-3,
) -> tf.Tensor:
    """Carlini and Wagner in l2: the nearest adversarial image found for each image, or the image itself if none was found.

    It can start from any images. From an all-black or all-white image towards each class, it draws what the classifier takes
    for that class.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        y: labels to move away from, or to reach if `targeted`.
        targeted: whether y are targets.
        kappa: confidence κ: by how much the wanted logit must exceed the others.
        searches: how many values of c are tried.
        steps: maximum number of Adam steps for each; an image whose loss falls by less than 0.01% in a tenth of them stops.
        rate: Adam's learning rate.
        c: first weight of the margin.

    Raises:
        UsageError: a number out of range, or invalid images or labels.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> black, digits = np.zeros((10, 8, 8, 1), np.float32), np.arange(10)
        >>> attacks.cw_l2(model, black, digits, targeted=True, searches=2, steps=20).shape
        TensorShape([10, 8, 8, 1])
    """
    check_counts(searches=searches, steps=steps)
    check_sizes(rate=rate)
    check_weight(c)
    x, aim = prepared(model, x, y, targeted=targeted, kappa=kappa)
    return tf.constant(search(model, x, aim, searches=searches, steps=steps, rate=rate, c=c).images)


def search(model: keras.Model, x: tf.Tensor, aim: Aim, *, searches: int, steps: int, rate: float, c: float) -> Found:
    """Bisects c, separately for each image."""
    problem, rows = Problem.of(x, aim), standing(model, x, aim)
    originals, count = problem.originals, len(x)
    images, sizes, left = originals.copy(), np.full(count, np.inf), np.full(count, searches)
    weight, failed, worked = np.full(count, float(c)), np.zeros(count), np.full(count, np.inf)
    rounds = Rounds(model, problem, Descent("l2", rate, 0.0, "best"), steps)
    rounds.start(rows, originals[rows], weight[rows])
    for ended in rounds.ended():
        better = ended[rounds.sizes[ended] < sizes[ended]]
        images[better], sizes[better] = rounds.images[better], rounds.sizes[better]
        won, lost = rounds.split(ended)
        worked[won], failed[lost] = np.minimum(worked[won], weight[won]), np.maximum(failed[lost], weight[lost])
        weight[ended] = np.where(np.isfinite(worked), (failed + worked) / 2, 10 * weight)[ended]
        left[ended] -= 1
        again = ended[left[ended] > 0]
        rounds.start(again, originals[again], weight[again])
    return Found(images.astype(x.dtype.as_numpy_dtype), 1 + rounds.queries)
