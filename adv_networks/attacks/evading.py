"""PGD that evades detectors: it first fools the classifier, then the detectors that refuse images (Bryniarski et al., 2022)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks import networks
from adv_networks.attacks.base import Attack, register, setting
from adv_networks.attacks.geometry import direction, moved_at_random, project, where_images
from adv_networks.attacks.inputs import as_images, as_labels
from adv_networks.attacks.losses import margins
from adv_networks.attacks.quantities import as_scalar, as_seed, check_epsilon, check_sizes
from adv_networks.experiments import CONVEX_NORMS, SCALES, AttackDefaults, choose
from adv_networks.lazy import keras, tf
from adv_networks.runtime import run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

_STEPS = 100


@register("evading_pgd", "PGD that then evades the detectors of a defence, step by step (Bryniarski et al., 2022)")
@dataclasses.dataclass(frozen=True, kw_only=True)
class EvadingPGD(Attack):
    """The attack `evading_pgd` as a column of tables; without detectors it is PGD that stops once it succeeds.

    Examples:
        >>> import keras, numpy as np
        >>> import adv_networks as an
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.full((2, 8, 8, 1), 0.5)
        >>> y = np.argmax(model(x), 1)
        >>> an.evaluate(model, x, y, [an.attacks.EvadingPGD(epsilon=0.5, steps=50)], epsilon=0.5)
        {'evading_pgd': 0.0, 'worst': 0.0}
    """

    kind: ClassVar[str] = "evading_pgd"
    evades: ClassVar[bool] = True

    steps: int = setting(_STEPS, "gradient steps", least=1)
    step_fraction: float = setting(0.05, "step size over ε", above=0)

    @classmethod
    def of_experiment(cls, spec: AttackDefaults, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The number of steps at the experiment's scale."""
        return dict(steps=max(1, _STEPS // SCALES[spec.scale].attack_divisor))

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`; a source with detectors returns their excess as a second output."""
        options = dict(norm=self.norm, steps=self.steps, seed=seed, training=training)
        return evading_pgd(source, x, y, self.epsilon, step_size=self.epsilon * self.step_fraction, **options)


def evading_pgd(
    model: keras.Model,
    x: Array,
    y: Array,
    epsilon: float,
    *,
    step_size: float,
    norm: str = "linf",
    steps: int = _STEPS,
    seed: Seed = 0,
    training: bool = False,
) -> tf.Tensor:
    """PGD that ascends the loss while an image is classified correctly, and otherwise descends the detectors' excess.

    So no weight has to balance the two. For each image, the last point that is misclassified and not refused is returned; if
    there is none, the last point. (Bryniarski, Hingun, Pachuca, Wang and Carlini, 2022, "Evading adversarial example detection
    defenses with orthogonal projected gradient descent", Section 4.)

    Args:
        model: maps images in [0,1] to logits [batch, classes] and to the detectors' excess [batch], which is at least 0 for a
            refused image; a classifier alone refuses none.
        x: images in [0,1] or uint8, [batch, height, width, channels].
        y: true labels, integers [batch].
        epsilon: radius of the ball around each image, on the [0,1] pixel scale.
        step_size: α.
        norm: norm of the ball and of the steps: linf, l2 or l1.
        steps: number of gradient steps.
        seed: seed of the random start.
        training: whether BN uses the batch's statistics.

    Raises:
        UsageError: invalid images, labels or ε, an unknown norm, or fewer than one step.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> images = keras.Input((8, 8, 1))
        >>> logits = keras.layers.Dense(2)(keras.layers.Flatten()(images))
        >>> too_bright = keras.ops.mean(images, (1, 2, 3)) - 0.7
        >>> model = keras.Model(images, [logits, too_bright])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> attacks.evading_pgd(model, x, y, 0.1, step_size=0.01, steps=10).shape
        TensorShape([2, 8, 8, 1])
    """
    check_sizes(step_size=step_size)
    check_epsilon(epsilon, norm, steps=steps)
    x, p = as_images(model, x), choose(CONVEX_NORMS, norm, "norm")
    y = as_labels(y, x, model)
    radius, size = as_scalar(epsilon, x.dtype), as_scalar(step_size, x.dtype)
    start = tf.clip_by_value(moved_at_random(x, radius, seed=as_seed(seed), p=p), 0, 1)
    return run_compiled(_evade, model, training, p, x, start, y, radius, size, tf.constant(steps))


def _evade(model, training, p, x, start, y, epsilon, step_size, steps):
    def evaluated(images):
        """Whether each image is misclassified and not refused, and the gradient of its current objective."""
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits, excess = logits_and_excess(model, images, training=training)
            fools = margins(logits, y) < 0
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            objective = networks.loss_scale(model) * tf.reduce_sum(tf.where(fools, -excess, loss))
        gradient = tape.gradient(objective, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return fools & (excess < 0), gradient

    def advance(step, current, best, found):
        evades, gradient = evaluated(current)
        best = where_images(evades | ~found, current, best)
        moved = project(x, current + step_size * direction(gradient, p), epsilon, p)
        return step + 1, where_images(evades, current, moved), best, found | evades

    found = tf.zeros_like(y, tf.bool)
    loop = (0, start, start, found)
    _, last, best, found = tf.while_loop(lambda step, *_: step < steps, advance, loop, parallel_iterations=1)
    evades, _ = evaluated(last)
    return where_images(evades | ~found, last, best)


def logits_and_excess(model: Any, images: tf.Tensor, *, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """The logits [batch, classes] and the detectors' excess [batch], which is -1 for a classifier alone."""
    found = networks.discarding_statistics(model, images, training=training)
    logits, *excess = (tf.cast(own, images.dtype) for own in (found if isinstance(found, (list, tuple)) else [found]))
    return logits, excess[0] if excess else -tf.ones_like(logits[:, 0])
