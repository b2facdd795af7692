"""The box-constrained L-BFGS attack of Szegedy et al., 2014 (Eq. 2 of the paper), with SciPy's L-BFGS-B."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from adv_networks import networks
from adv_networks.attacks.base import register, setting
from adv_networks.attacks.geometry import finite
from adv_networks.attacks.gradient import losses_and_logits, predict
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.minimum_norm import Found, MinimumNormAttack
from adv_networks.attacks.quantities import check_counts
from adv_networks.attacks.side_by_side import side_by_side
from adv_networks.attacks.targets import TARGETS, targets_of
from adv_networks.lazy import keras, np, scipy, tf
from adv_networks.runtime import mean_over_draws, run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# The first weight of ‖r‖², so large that nothing moves, and the factor by which it shrinks until a search succeeds.
_FIRST_C, _SMALLER = 10.0, 0.1


@register("lbfgs", "box-constrained L-BFGS, Eq. 2, with a search of its own for each image: for small samples")
@dataclasses.dataclass(frozen=True, kw_only=True)
class LBFGS(MinimumNormAttack):
    """The attack `lbfgs` as a column of tables.

    Examples:
        >>> from adv_networks import attacks
        >>> attacks.LBFGS(epsilon=1.5, searches=5, target="least_likely").title
        'lbfgs (l2 ≤ 1.5)'
    """

    kind: ClassVar[str] = "lbfgs"
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    searches: int = setting(10, "values of c that are tried", least=1)
    steps: int = setting(100, "maximum number of iterations for each", least=1)
    target: str = setting("runner_up", "class to reach, never the true one", choices=TARGETS)

    def search(self, source: keras.Model, x: tf.Tensor, y: tf.Tensor, *, seed: Seed = 0) -> Found:
        """See `MinimumNormAttack.search`."""
        targets = targets_of(source, x, y, self.target).numpy()
        rows = np.flatnonzero(predict(source, x).numpy().argmax(1) == y.numpy())
        return search(source, x, targets, rows, searches=self.searches, steps=self.steps)


def lbfgs(model: keras.Model, x: Array, target: Array, *, searches: int = 10, steps: int = 100) -> tf.Tensor:
    """Box-constrained L-BFGS: minimises c‖r‖² + ℓ(D(x + r), t) with x + r in [0,1], for the largest c at which it reaches t.

    Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow and Fergus, 2014, "Intriguing properties of neural networks". Each
    image has a search of its own; what the searches ask the classifier at the same time goes through it as one batch.

    Args:
        model: classifier that returns logits.
        x: images in [0,1].
        target: the class that each image should reach, integers [batch].
        searches: how many values of c are tried. Each is a tenth of the last until one succeeds; bisection follows.
        steps: maximum number of iterations for each.

    Returns:
        For each image, the nearest image found that has the target class. An image comes back unchanged if it already has that
        class, or if none is found.

    Raises:
        UsageError: invalid images or targets, or fewer than one search or step.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> adversarial = attacks.lbfgs(model, x, np.array([0, 1]), searches=6, steps=20)
        >>> np.argmax(model(adversarial), 1)
        array([0, 1])
    """
    check_counts(searches=searches, steps=steps)
    x = as_images(model, x)
    targets = as_labels(target, x, model).numpy()
    rows = np.flatnonzero(predict(model, x).numpy().argmax(1) != targets)
    return tf.constant(search(model, x, targets, rows, searches=searches, steps=steps).images)


def search(model: keras.Model, x: tf.Tensor, targets: np.ndarray, rows: np.ndarray, *, searches: int, steps: int) -> Found:
    """Searches for some rows of a batch, side by side."""
    images, queries = x.numpy().copy(), np.ones(len(x), np.int64)
    y = tf.constant(targets[rows], tf.int32)

    def answer(points: Sequence[np.ndarray]) -> Sequence[tuple[float, np.ndarray, int]]:
        answers = run_compiled(_loss, model, tf.constant(np.stack(points)), y)
        return list(zip(*(values.numpy() for values in answers), strict=True))

    of_image = functools.partial(_search_one, searches=searches, steps=steps)
    of_rows = [functools.partial(of_image, x=images[row].copy(), target=targets[row]) for row in rows]
    for row, (found, asked) in zip(rows, side_by_side(of_rows, answer), strict=True):
        images[row] = found
        queries[row] += asked
    return Found(images, queries)


def _search_one(
    ask: Callable[[np.ndarray], tuple[float, np.ndarray, int]], *, x: np.ndarray, target: int, searches: int, steps: int
) -> tuple[np.ndarray, int]:
    """The nearest image found that has the target class, and the number of queries."""
    best, nearest, asked = x, np.inf, 0
    c, failed, worked = _FIRST_C, np.inf, 0.0

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal asked, best, nearest
        asked += 1
        point = flat.reshape(x.shape).astype(x.dtype)
        value, slope, label = ask(point)
        away = np.float64(point) - x
        size = float((away**2).sum())
        if label == target and size < nearest:
            best, nearest = point, size
        return c * size + float(value), (2 * c * away + slope).ravel()

    for _ in range(searches):
        found = scipy.optimize.minimize(
            loss, np.float64(x).ravel(), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * x.size, options={"maxiter": steps}
        )
        # Success is judged at the minimum: a line search may pass through the target class far from it.
        succeeded = ask(found.x.reshape(x.shape).astype(x.dtype))[2] == target
        asked += 1
        worked, failed = (max(worked, c), failed) if succeeded else (worked, min(failed, c))
        c = _SMALLER * c if not worked else 2 * c if np.isinf(failed) else (worked + failed) / 2
    return best, asked


def _loss(model, x, y):
    """Cross-entropy of the target, its gradient with respect to the image, and the predicted class."""

    def slopes(one):
        with tf.GradientTape() as tape:
            tape.watch(x)
            losses, logits = losses_and_logits(one, x, y, False)
            total = networks.loss_scale(model) * tf.reduce_sum(losses)
        gradient = tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO) / networks.loss_scale(model)
        return losses, finite(gradient), logits

    losses, gradient, logits = mean_over_draws(model, slopes)
    return losses, gradient, tf.argmax(logits, 1, tf.int32)
