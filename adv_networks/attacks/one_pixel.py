"""The one-pixel attack: differential evolution of the places and colours of a few pixels, without gradients."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from adv_networks.attacks.base import register, setting
from adv_networks.attacks.gradient import logits_of, predict
from adv_networks.attacks.inputs import as_images, as_labels, as_targets
from adv_networks.attacks.minimum_norm import Found, MinimumNormAttack
from adv_networks.attacks.pixels import as_seen, with_pixels
from adv_networks.attacks.quantities import as_seed
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# The weight of the difference in x_1 + F (x_2 − x_3).
_DIFFERENCE = 0.5
# An individual that fools the model is fitter than any that does not.
_FOOLED = 1e6
# An image is still standing while its lowest score is above this.
_STANDING = -_FOOLED / 2
# The number of perturbed images that are classified at once.
_IMAGES_AT_ONCE = 2_000
# The number of individuals that evolve together. Each one that the model has scored takes about 200 bytes of memory.
_INDIVIDUALS_AT_ONCE = 8_000


@register("one_pixel", "a few pixels of any colour, found by differential evolution without gradients")
@dataclasses.dataclass(frozen=True, kw_only=True)
class OnePixel(MinimumNormAttack):
    """The attack `one_pixel` as a column of tables.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.OnePixel(pixels=3, population=100).access  # it reads no gradients
        'scores'
    """

    kind: ClassVar[str] = "one_pixel"
    access: ClassVar[str] = "scores"
    norms: ClassVar[tuple[str, ...]] = ("l0", "l1", "l2", "linf")
    divided: ClassVar[str] = "generations"

    norm: str = "l0"
    pixels: int = setting(1, "number of pixels that may change", least=1)
    population: int = setting(400, "individuals per image", least=4)
    generations: int = setting(100, "generations after the first one", least=1)

    def search(self, source: keras.Model, x: tf.Tensor, y: tf.Tensor, *, seed: Seed = 0) -> Found:
        """See `MinimumNormAttack.search`."""
        how = dict(pixels=self.pixels, population=self.population, generations=self.generations)
        return search(source, x, y, seed=as_seed(seed), **how)


def _scores(model, x, y, individuals, targeted):
    """The score of one individual per image, [batch]: the log-probability of y, or minus that of a target; lower is fitter."""
    logits = logits_of(model, with_pixels(x, individuals[:, None]))
    # Logarithms still distinguish probabilities near 1.
    likelihood = -tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    is_label = tf.argmax(logits, 1, tf.int32) == y
    if targeted:
        return tf.where(is_label, -likelihood - _FOOLED, -likelihood)
    return tf.where(is_label, likelihood, likelihood - _FOOLED)


def distinct_triples(draws: tf.Tensor, count: int) -> tf.Tensor:
    """Three different numbers below `count` from three uniform draws, every triple equally likely: int32 [..., 3]."""
    sizes = tf.constant([count, count - 1, count - 2], draws.dtype)
    first, second, third = tf.unstack(tf.cast(draws * sizes, tf.int32), axis=-1)
    second += tf.cast(second >= first, tf.int32)
    third += tf.cast(third >= tf.minimum(first, second), tf.int32)
    third += tf.cast(third >= tf.maximum(first, second), tf.int32)
    return tf.stack([first, second, third], -1)


def _first_individuals(seeds, population, pixels, channels, dtype):
    """The first individuals: uniform places, and values from a normal distribution around middle grey."""

    def drawn(seed):
        of_places, of_values = tf.unstack(
            tf.random.experimental.stateless_split(tf.random.experimental.stateless_fold_in(seed, 0), 2)
        )
        places = tf.random.stateless_uniform([population, pixels, 2], of_places, dtype=dtype)
        values = tf.random.stateless_normal([population, pixels, channels], of_values, 0.5, 0.5, dtype)
        return tf.concat([places, tf.clip_by_value(values, 0, 1)], -1)

    return tf.map_fn(drawn, seeds, fn_output_signature=dtype)


@functools.cache
def _compiled_children(population: int, pixels: int, genes: int) -> Callable[..., tf.Tensor]:
    """A function from individuals, seeds and a generation's number to the children, one for each individual.

    A child is x_1 + F (x_2 − x_3) of three different individuals, clipped to [0,1]. Each population shape has its own function:
    a shared one would be retraced with unknown shapes, and the number of parents must be known.
    """

    def children(individuals, seeds, number):
        individuals = tf.ensure_shape(individuals, [None, population, pixels, genes])

        def drawn(seed):
            own = tf.random.experimental.stateless_fold_in(seed, number)
            return tf.random.stateless_uniform([population, 3], own, dtype=individuals.dtype)

        parents = distinct_triples(tf.map_fn(drawn, seeds, fn_output_signature=individuals.dtype), population)
        one, two, three = (tf.gather(individuals, parents[..., place], batch_dims=1) for place in range(3))
        return tf.clip_by_value(one + _DIFFERENCE * (two - three), 0, 1)

    return tf.function(children, autograph=False, reduce_retracing=True)


class _Asking:
    """Some images, and the scores of the individuals tried on each. The model is never asked about an individual twice.

    Once a population has converged to one place, or to black or white, most of its children have been scored before: three in
    four over 100 generations on MNIST.
    """

    def __init__(self, model: keras.Model, targeted: bool, x: np.ndarray, labels: np.ndarray):
        self.model, self.targeted, self.x, self.labels = model, targeted, x, labels
        self.answers: list[dict[bytes, float]] = [{} for _ in x]

    def scores(self, rows: np.ndarray, individuals: np.ndarray) -> np.ndarray:
        """The scores [rows, population] of the individuals [rows, population, pixels, 2 + channels] of some images."""
        seen = as_seen(self.x[rows], individuals).reshape(*individuals.shape[:2], -1)
        keys = [[one.tobytes() for one in own] for own in seen]
        # One entry for each individual not scored before, keyed by image and individual.
        new = {
            (row, key): (row, own, number)
            for own, row in enumerate(rows)
            for number, key in enumerate(keys[own])
            if key not in self.answers[row]
        }
        if new:
            images, own, numbers = np.array(list(new.values())).T
            for (row, key), score in zip(new, self._ask(images, individuals[own, numbers]), strict=True):
                self.answers[row][key] = score
        answers = [[self.answers[row][key] for key in keys[own]] for own, row in enumerate(rows)]
        return np.array(answers, individuals.dtype)

    def _ask(self, images: np.ndarray, individuals: np.ndarray) -> np.ndarray:
        """The scores of one individual for each of these images."""
        parts = []
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            own = slice(start, start + _IMAGES_AT_ONCE)
            given = (tf.constant(part) for part in (self.x[images[own]], self.labels[images[own]], individuals[own]))
            parts.append(run_compiled(_scores, self.model, *given, self.targeted).numpy())
        return np.concatenate(parts)

    @property
    def queries(self) -> np.ndarray:
        """The number of queries about each image."""
        return np.array([len(own) for own in self.answers])


def _evolution(
    model: keras.Model, targeted: bool, of_images: tuple[tf.Tensor, ...], pixels: int, population: int, generations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Evolves individuals for some images; a child replaces its parent if it is fitter.

    Args:
        model: classifier that returns logits.
        targeted: whether the labels are targets.
        of_images: the images, their labels and their seeds.
        pixels: number of pixels that may change.
        population: individuals per image.
        generations: number of generations after the first one.

    Returns:
        The images with the pixels of their fittest individual, unchanged if it does not fool the model; and the number of
        queries about each image.
    """
    x, labels, seeds = of_images
    asking = _Asking(model, targeted, x.numpy(), labels.numpy())
    individuals = _first_individuals(seeds, population, pixels, x.shape[-1], x.dtype).numpy()
    scores = asking.scores(np.arange(len(x)), individuals)
    for number in range(1, generations + 1):
        rows = np.flatnonzero(scores.min(1) > _STANDING)
        if not len(rows):
            break
        given = tf.constant(individuals[rows]), tf.gather(seeds, rows), tf.constant(number)
        children = _compiled_children(*individuals.shape[1:])(*given).numpy()
        found = asking.scores(rows, children)
        fitter = found < scores[rows]
        individuals[rows] = np.where(fitter[..., None, None], children, individuals[rows])
        scores[rows] = np.where(fitter, found, scores[rows])
    fittest = individuals[np.arange(len(x)), scores.argmin(1)]
    changed = with_pixels(x, tf.constant(fittest[:, None])).numpy()
    return np.where((scores.min(1) < _STANDING)[:, None, None, None], changed, x), asking.queries


def one_pixel(
    model: keras.Model,
    x: Array,
    y: Array,
    *,
    pixels: int = 1,
    target: Array | None = None,
    population: int = 400,
    generations: int = 100,
    seed: Seed = 0,
) -> tf.Tensor:
    """The one-pixel attack: evolves a change of a few pixels until the model's label changes.

    Su, Vargas and Sakurai, 2019, "One pixel attack for fooling deep neural networks": differential evolution without crossover.
    Individuals that leave the image or the pixel range are clipped; the paper does not say what to do with them. The attack
    never asks the model about the same perturbed image twice, and makes at most `population · (1 + generations)` queries about
    each image. It reads only the probability of the label, or of the target.

    Args:
        model: classifier that returns logits.
        x: images in [0,1], [batch, height, width, channels].
        y: true labels.
        pixels: number of pixels that may change.
        target: the class that each image should reach, integers [batch]; None for any class but y.
        population: individuals per image, at least 4.
        generations: number of generations after the first one.
        seed: seed of all random draws.

    Returns:
        Images that differ from x in at most `pixels` pixels. An image is returned unchanged if the attack fails on it or,
        without targets, if the model misclassifies it from the start.

    Raises:
        UsageError: too few individuals, no pixel or generation, or a target that is the image's label or no class.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> adversarial = attacks.one_pixel(model, x, y, population=20, generations=5)
        >>> bool((attacks.distances(x, adversarial, "l0") <= 1).all())
        True
    """
    for name, count, least in (("pixels", pixels, 1), ("population", population, 4), ("generations", generations, 1)):
        if count < least:
            raise UsageError(f"{name}: expected at least {least}, received {count}")
    x = as_images(model, x)
    y = as_labels(y, x, model)
    goal = None if target is None else as_targets(target, x, y, model)
    how = dict(pixels=pixels, population=population, generations=generations)
    return tf.constant(search(model, x, y, goal, seed=as_seed(seed), **how).images)


def search(
    model: keras.Model,
    x: tf.Tensor,
    y: tf.Tensor,
    target: tf.Tensor | None = None,
    *,
    seed: tf.Tensor,
    pixels: int,
    population: int,
    generations: int,
) -> Found:
    """The attack on valid images, labels and targets."""
    goal = y if target is None else target
    is_goal = np.argmax(predict(model, x), 1) == goal.numpy()
    rows = np.flatnonzero(is_goal if target is None else ~is_goal)
    images, queries = x.numpy().copy(), np.ones(len(x), np.int64)
    at_once = max(1, _INDIVIDUALS_AT_ONCE // population)
    for some in (rows[start : start + at_once] for start in range(0, len(rows), at_once)):
        seeds = tf.stack([tf.random.experimental.stateless_fold_in(seed, row) for row in some])
        own = tf.gather(x, some), tf.gather(goal, some), seeds
        images[some], asked = _evolution(model, target is not None, own, pixels, population, generations)
        queries[some] += asked
    return Found(images, queries)
