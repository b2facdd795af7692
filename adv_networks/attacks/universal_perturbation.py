"""The universal perturbation: one perturbation for all images, learned from training images."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks.attacks.base import Attack, register, setting
from adv_networks.attacks.deepfool import deepfool
from adv_networks.attacks.gradient import expected_outputs, predict
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.quantities import as_scalar, check_counts, check_epsilon
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# The maximum number of DeepFool's steps towards the boundary.
_STEPS = 10
# How many images DeepFool attacks at once, and how many are labelled at once.
_TOGETHER, _LABELLED_AT_ONCE = 10, 250


@register("universal", "one perturbation for all images, learned from training images")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Universal(Attack):
    """The attack `universal` as a column of tables.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> y = np.argmax(model(x), 1)
        >>> attack = attacks.Universal(epsilon=0.5)
        >>> adversarial = attack.craft(model, x, y, state=attack.fit(model, x, y))
        >>> np.argmax(model(adversarial), 1) != y
        array([ True,  True])
    """

    kind: ClassVar[str] = "universal"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    learns: ClassVar[bool] = True

    images: int = setting(500, "training images to learn from", least=1)
    passes: int = setting(10, "maximum number of passes over these images", least=1)
    rate: float = setting(0.8, "fraction of these images whose label must change for it to stop", above=0, most=1)

    @property
    def learning_images(self) -> int:
        """See `Attack.learning_images`."""
        return self.images

    def fit(self, source: keras.Model, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The perturbation, [height, width, channels]; see `universal_perturbation`."""
        how = dict(norm=self.norm, passes=self.passes, rate=self.rate, seed=self.seed)
        return universal_perturbation(source, images, self.epsilon, **how).numpy()

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """The images plus the perturbation that `fit` found, clipped to [0,1].

        Raises:
            UsageError: `fit` was not called, or it was called on images of another shape.
        """
        x = as_images(source, x)
        as_labels(y, x, source)
        if state is None or state.shape != x.shape[1:]:
            found = "nothing" if state is None else f"a perturbation {list(state.shape)}"
            shape = list(x.shape[1:])
            raise UsageError(f"attack {self.name}: expected what `fit` learned from images {shape}, received {found}")
        return tf.clip_by_value(x + tf.cast(state, x.dtype), 0, 1)


def universal_perturbation(
    model: keras.Model,
    x: Array,
    epsilon: float,
    *,
    norm: str = "linf",
    passes: int = 10,
    rate: float = 0.8,
    seed: int = 0,
) -> tf.Tensor:
    """One perturbation v that changes the labels of most images: the sum of their shortest ways out of their class.

    Moosavi-Dezfooli, Fawzi, Fawzi and Frossard, 2017, "Universal adversarial perturbations" (Algorithm 1). The images come in
    random order. For an image whose label v does not change yet, DeepFool finds the way from x + v over the boundary. This is
    added to v, and v is projected onto the ball. DeepFool runs on ten images at once, while the paper takes one at a time; an
    image whose label v changes by the time its turn comes is skipped.

    Args:
        model: classifier that returns logits.
        x: images to learn from, uint8 or floats in [0,1], [batch, height, width, channels]. The model provides their labels.
        epsilon: radius of the ball that v stays in.
        norm: linf or l2.
        passes: maximum number of passes over the images.
        rate: the fraction of the images whose label v must change for it to stop.
        seed: seed of the order.

    Returns:
        The best v after any pass, the one that changes the most labels, [height, width, channels].

    Raises:
        UsageError: an unknown norm, an ε below 0, no pass, a rate out of range, or invalid images.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> attacks.universal_perturbation(model, np.zeros((3, 2, 2, 1)), 0.1).shape
        TensorShape([2, 2, 1])
    """
    check_epsilon(epsilon, norm)
    check_counts(passes=passes)
    if norm not in Universal.norms:
        raise UsageError(f"norm: expected {' or '.join(Universal.norms)} for attack universal, received {norm}")
    if not 0 < rate <= 1:
        raise UsageError(f"rate: expected a value above 0 and of at most 1, received {rate}")
    x = as_images(model, x).numpy()
    if not len(x):
        raise UsageError("images: expected at least one, received none")
    labels, rng = _labels(model, x), np.random.default_rng(seed)
    found = best = np.zeros(x.shape[1:], x.dtype)
    most = 0.0
    for _ in range(passes):
        order = rng.permutation(len(x))
        for start in range(0, len(x), _TOGETHER):
            rows = order[start : start + _TOGETHER]
            found = _moved_on(model, x[rows], labels[rows], found, epsilon, norm)
        fooled = float(np.mean(_labels(model, np.clip(x + found, 0, 1)) != labels))
        best, most = (found, fooled) if fooled > most else (best, most)
        if most >= rate:
            break
    return tf.constant(best)


def _moved_on(
    model: keras.Model, x: np.ndarray, labels: np.ndarray, found: np.ndarray, epsilon: float, norm: str
) -> np.ndarray:
    """The perturbation after these images: each image whose label it does not change yet adds the way out of its class."""
    points = np.clip(x + found, 0, 1)
    ways = deepfool(model, points, labels, steps=_STEPS).numpy() - points
    rows = np.flatnonzero(ways.any((1, 2, 3)))  # Zero if DeepFool failed or had nothing to do.
    if not len(rows):
        return found
    of_images = (tf.constant(part[rows]) for part in (x, labels, ways))
    return run_compiled(_follow, model, *of_images, tf.constant(found[None]), as_scalar(epsilon, x.dtype), norm)[0].numpy()


def _follow(model, x, labels, ways, found, epsilon, norm):
    """`found` [1, height, width, channels] after adding, one by one, the ways of the images whose label it does not change."""

    def advance(row, found):
        image = tf.clip_by_value(x[row][None] + found, 0, 1)
        label = tf.argmax(expected_outputs(model, False, image), 1, tf.int32)[0]
        moved = found + ways[row]
        if norm == "linf":
            moved = tf.clip_by_value(moved, -epsilon, epsilon)
        else:
            moved *= tf.minimum(tf.math.divide_no_nan(epsilon, tf.norm(moved)), 1)
        return row + 1, tf.where(label == labels[row], moved, found)

    return tf.while_loop(lambda row, _: row < tf.shape(x)[0], advance, (0, found), parallel_iterations=1)[1]


def _labels(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The model's labels, int32 [images]."""
    parts = (x[start : start + _LABELLED_AT_ONCE] for start in range(0, len(x), _LABELLED_AT_ONCE))
    return np.concatenate([np.argmax(predict(model, part), 1) for part in parts]).astype(np.int32)
