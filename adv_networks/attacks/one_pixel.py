"""The one-pixel attack: differential evolution of a few pixels' places and colours, which reads no gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from adv_networks import networks
from adv_networks.attacks.base import register, setting
from adv_networks.attacks.gradient import predict
from adv_networks.attacks.inputs import as_images, as_labels, as_seed, as_targets
from adv_networks.attacks.minimum_norm import Found, MinimumNormAttack
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, tf
from adv_networks.runtime import run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# The weight of the difference in x_1 + F (x_2 − x_3).
_DIFFERENCE = 0.5
# An individual that fools the model is fitter than any that does not.
_FOOLED = 1e6
# An image stands as long as its fittest individual is not below this.
_STANDING = -_FOOLED / 2
# So many perturbed images are classified at once, or the population of one image; images that are done leave the batch every
# so many generations.
_IMAGES_AT_ONCE, _GENERATIONS_AT_ONCE = 2_000, 5


@register("one_pixel", "a few pixels of any colour, found by differential evolution, which reads no gradients")
@dataclasses.dataclass(frozen=True, kw_only=True)
class OnePixel(MinimumNormAttack):
    """The attack `one_pixel` as a column of tables."""

    kind: ClassVar[str] = "one_pixel"
    access: ClassVar[str] = "scores"
    norms: ClassVar[tuple[str, ...]] = ("l0", "l1", "l2", "linf")
    divided: ClassVar[str] = "generations"

    norm: str = "l0"
    pixels: int = setting(1, "how many pixels may change", least=1)
    population: int = setting(400, "individuals of each image", least=4)
    generations: int = setting(100, "generations after the first one", least=1)

    def search(self, source: keras.Model, x: tf.Tensor, y: tf.Tensor, *, seed: Seed = 0) -> Found:
        """See `MinimumNormAttack.search`."""
        how = dict(pixels=self.pixels, population=self.population, generations=self.generations)
        return search(source, x, y, seed=as_seed(seed), **how)


def with_pixels(x: tf.Tensor, individuals: tf.Tensor) -> tf.Tensor:
    """Images with some pixels replaced as each individual of their populations says.

    Args:
        x: images in [0,1], [batch, height, width, channels].
        individuals: [batch, population, pixels, 2 + channels], all in [0,1]: of each pixel its row and column, as shares of
            the image's height and width, and its value in each channel. Of pixels in one place the last counts.

    Returns:
        [batch · population, height, width, channels].
    """
    population, pixels = individuals.shape[1:3]
    height, width, channels = x.shape[1:]
    images = tf.reshape(tf.repeat(x, population, 0), [-1, height * width, channels])
    genes = tf.reshape(individuals, [-1, pixels, 2 + channels])
    rows, columns = (
        tf.minimum(tf.cast(genes[:, :, axis] * size, tf.int32), size - 1) for axis, size in enumerate((height, width))
    )
    for pixel in range(pixels):
        places = tf.stack([tf.range(tf.shape(images)[0]), rows[:, pixel] * width + columns[:, pixel]], 1)
        images = tf.tensor_scatter_nd_update(images, places, genes[:, pixel, 2:])
    return tf.reshape(images, [-1, height, width, channels])


def _scores(model, x, y, individuals, targeted):
    """The logarithm of the probability of y, which individuals lower, or of minus that of a target; less is fitter."""
    logits = networks.discarding_statistics(model, with_pixels(x, individuals), training=False)
    labels = tf.repeat(y, individuals.shape[1])
    # As logarithms probabilities near 1 can still be told apart.
    likelihood = -tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    is_label = tf.argmax(logits, 1, tf.int32) == labels
    score = (
        tf.where(is_label, -likelihood - _FOOLED, -likelihood)
        if targeted
        else tf.where(is_label, likelihood, likelihood - _FOOLED)
    )
    return tf.reshape(score, [-1, individuals.shape[1]])


def distinct_triples(draws: tf.Tensor, count: int) -> tf.Tensor:
    """Three different numbers below `count`, each triple as likely as any other, from three uniform draws: int32 [..., 3]."""
    sizes = tf.constant([count, count - 1, count - 2], draws.dtype)
    first, second, third = tf.unstack(tf.cast(draws * sizes, tf.int32), axis=-1)
    second += tf.cast(second >= first, tf.int32)
    third += tf.cast(third >= tf.minimum(first, second), tf.int32)
    third += tf.cast(third >= tf.maximum(first, second), tf.int32)
    return tf.stack([first, second, third], -1)


def _begin(model, targeted, x, y, seeds, population, pixels):
    """The first individuals, places uniform and values normal about the middle grey, and their scores."""
    channels = x.shape[-1]

    def drawn(seed):
        of_places, of_values = tf.unstack(
            tf.random.experimental.stateless_split(tf.random.experimental.stateless_fold_in(seed, 0), 2)
        )
        places = tf.random.stateless_uniform([population, pixels, 2], of_places, dtype=x.dtype)
        values = tf.random.stateless_normal([population, pixels, channels], of_values, 0.5, 0.5, x.dtype)
        return tf.concat([places, tf.clip_by_value(values, 0, 1)], -1)

    individuals = tf.map_fn(drawn, seeds, fn_output_signature=x.dtype)
    individuals = tf.ensure_shape(individuals, [None, population, pixels, 2 + channels])
    return individuals, _scores(model, x, y, individuals, targeted)


def _evolve(model, targeted, x, y, seeds, individuals, scores, queries, first, end):
    """The generations from number `first` to before `end`; a child replaces its parent where it is fitter.

    A child is x_1 + F (x_2 − x_3) of three different individuals, clipped to [0,1].
    """
    population = individuals.shape[1]

    def stands(scores):
        return tf.reduce_min(scores, 1) > _STANDING

    def advance(number, individuals, scores, queries):
        def drawn(seed):
            own = tf.random.experimental.stateless_fold_in(seed, number)
            return tf.random.stateless_uniform([population, 3], own, dtype=x.dtype)

        parents = distinct_triples(tf.map_fn(drawn, seeds, fn_output_signature=x.dtype), population)
        one, two, three = (tf.gather(individuals, parents[..., place], batch_dims=1) for place in range(3))
        children = tf.clip_by_value(one + _DIFFERENCE * (two - three), 0, 1)
        found, standing = _scores(model, x, y, children, targeted), stands(scores)
        replaces = (found < scores) & standing[:, None]
        individuals = tf.where(replaces[:, :, None, None], children, individuals)
        queries += population * tf.cast(standing, queries.dtype)
        return number + 1, individuals, tf.where(replaces, found, scores), queries

    def continues(number, individuals, scores, queries):
        return (number < end) & tf.reduce_any(stands(scores))

    return tf.while_loop(continues, advance, (first, individuals, scores, queries), parallel_iterations=1)[1:]


def _groups(rows: np.ndarray, population: int) -> Iterator[np.ndarray]:
    """The rows in parts whose populations are few enough images to be classified at once."""
    at_once = max(1, _IMAGES_AT_ONCE // population)
    return (rows[start : start + at_once] for start in range(0, len(rows), at_once))


def _evolution(
    model: keras.Model, targeted: bool, of_images: tuple[tf.Tensor, ...], pixels: int, population: int, generations: int
) -> tuple[np.ndarray, np.ndarray]:
    """The images with the pixels of their fittest individual, or as they were where that does not fool the model.

    Args:
        model: classifier that returns logits.
        targeted: whether the labels are targets.
        of_images: the images, their labels and their seeds.
        pixels: how many may change.
        population: individuals of each image.
        generations: after the first one.

    Returns:
        The images, and how often the model was asked about each.
    """
    x = of_images[0]
    individuals = np.empty((len(x), population, pixels, 2 + x.shape[-1]), x.dtype.as_numpy_dtype)
    scores, queries = np.empty(individuals.shape[:2], individuals.dtype), np.full(len(x), population)
    for rows in _groups(np.arange(len(x)), population):
        first = run_compiled(_begin, model, targeted, *(tf.gather(part, rows) for part in of_images), population, pixels)
        individuals[rows], scores[rows] = (part.numpy() for part in first)
    for number in range(1, generations + 1, _GENERATIONS_AT_ONCE):
        end = tf.constant(min(number + _GENERATIONS_AT_ONCE, generations + 1))
        for rows in _groups(np.flatnonzero(scores.min(1) > _STANDING), population):
            state = tf.constant(individuals[rows]), tf.constant(scores[rows]), tf.constant(queries[rows])
            own = (tf.gather(part, rows) for part in of_images)
            found = run_compiled(_evolve, model, targeted, *own, *state, tf.constant(number), end)
            individuals[rows], scores[rows], queries[rows] = (part.numpy() for part in found)
    fittest = individuals[np.arange(len(x)), scores.argmin(1)]
    changed = with_pixels(x, tf.constant(fittest[:, None])).numpy()
    return np.where((scores.min(1) < _STANDING)[:, None, None, None], changed, x), queries


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
    """The one-pixel attack: changes a few pixels, found by differential evolution, until the model's label changes.

    Su, Vargas and Sakurai, 2019, "One pixel attack for fooling deep neural networks", without crossover. Individuals that leave
    the image or its range of values are clipped to it, where the paper says nothing. It asks the model about an image at most
    `population · (1 + generations)` times, and reads the probability of the label, or of the target.

    Args:
        model: classifier that returns logits.
        x: images in [0,1], [batch, height, width, channels].
        y: true labels.
        pixels: how many pixels may change.
        target: the class that each image is to be taken for, integers [batch]; None for any but y.
        population: individuals, at least 4.
        generations: after the first one.
        seed: of all that is drawn.

    Returns:
        Images that differ from x in at most so many pixels. Without targets, images that the model mislabels come back as they
        are; so do all images that it was not fooled about.

    Raises:
        UsageError: too few individuals, no pixel or generation, a target that is the image's label or no class.
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
    """The attack on images, labels and targets that are known to be some."""
    goal = y if target is None else target
    is_goal = np.argmax(predict(model, x), 1) == goal.numpy()
    rows = np.flatnonzero(is_goal if target is None else ~is_goal)
    images, queries = x.numpy().copy(), np.ones(len(x), np.int64)
    if len(rows):
        seeds = tf.stack([tf.random.experimental.stateless_fold_in(seed, row) for row in rows])
        own = tf.gather(x, rows), tf.gather(goal, rows), seeds
        images[rows], asked = _evolution(model, target is not None, own, pixels, population, generations)
        queries[rows] += asked
    return Found(images, queries)
