"""The share of images that a classifier labels correctly, as they are or under an attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adv_networks.attacks import Attack, Clean, named, predict
from adv_networks.attacks.crafting import batch_size, batches_of, craft, on_devices
from adv_networks.attacks.inputs import classes_of
from adv_networks.errors import UserError
from adv_networks.evaluation.random_classifiers import DRAWS, drawn, is_random, worst_case
from adv_networks.experiments import BATCH_STATISTICS_SIZE
from adv_networks.lazy import keras, tf

# The first number of the seeds that random targets answer by.
_SCORING = 1


def accuracy(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    *,
    attack: Attack | None = None,
    source: keras.Model | None = None,
    bn_evaluation: str = "moving",
) -> float:
    """The fraction of images in [0,1] that the model labels correctly, clean or under an attack.

    Args:
        model: classifier that returns logits.
        x: images, uint8 or floats in [0,1], [N, H, W, C].
        y: labels [N].
        attack: None for the images as they are.
        source: the model that the attack is crafted on; None for `model` itself.
        bn_evaluation: "moving" averages, or "batch" statistics of 64 images (a partial batch after full ones is then left out).

    Raises:
        UsageError: images or labels of another kind.
        UserError: logits that are not finite.
    """
    return float(correct_masks([model], x, y, attack or Clean(), source or model, bn_evaluation)[0].mean())


def evaluate(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    attacks: Sequence[str | Attack] = ("clean", "fgs", "pgd"),
    *,
    epsilon: float,
    norm: str = "linf",
) -> dict[str, float]:
    """The fraction of images that a classifier labels correctly under each of several white-box attacks, and under the worst.

    Args:
        model: classifier from images in [0,1] to logits [batch, classes].
        x: images, uint8 or floats in [0,1], [N, H, W, C].
        y: labels, integers [N].
        attacks: texts of the grammar (`attacks.named`), or attacks.
        epsilon: radius of the ball, on the [0,1] pixel scale, of attacks that have none of their own.
        norm: of that ball: linf, l2 or l1.

    Returns:
        Accuracies by the attacks' names; "worst" is the fraction that is labelled correctly under all of them. Those of a
        random classifier are means over draws (`random_classifiers`), and gradients too (`runtime.mean_over_draws`).

    Raises:
        UsageError: no such attack, or images or labels of another kind.
        UserError: logits that are not finite.

    Example:
        >>> import keras, numpy as np
        >>> from adv_networks import evaluation
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> x, y = np.zeros((5, 8, 8, 1), np.uint8), np.zeros(5, int)
        >>> sorted(evaluation.evaluate(model, x, y, ["clean", "pgd:steps=3"], epsilon=0.1))
        ['clean', 'pgd:steps=3', 'worst']
    """
    chosen = [named(attack, epsilon, norm=norm) if isinstance(attack, str) else attack for attack in attacks]
    masks = {attack.name: correct_masks([model], x, y, attack, model)[0] for attack in chosen}
    worst = worst_case(list(masks.values()))
    return {name: float(mask.mean()) for name, mask in masks.items()} | {"worst": float(worst.mean())}


def correct_masks(
    targets: Sequence[keras.Model],
    images: np.ndarray,
    labels: np.ndarray,
    attack: Attack,
    source: keras.Model | None,
    bn_evaluation: str = "moving",
    state: Any = None,
) -> list[np.ndarray]:
    """Of every target, which adversarial images, each crafted once, it labels correctly: booleans [images].

    A random target labels them several times: booleans [draws, images] (`random_classifiers`). With BN on batch statistics a
    last partial batch is left out. `state` is what an attack that learns first has learned.

    Raises:
        UsageError: images or labels of another kind.
        UserError: a target's logits are not finite, so that it labels nothing.
    """
    training = bn_evaluation == "batch"

    def labelled(number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        adversarial = craft(attack, source, x, y, seed=(attack.seed, number), training=training, state=state)
        draws = [DRAWS if random else 0 for random in are_random]
        return [_labels_of(*pair, adversarial, number, training) == y for pair in zip(targets, draws, strict=True)]

    if attack.learns and state is None:
        raise ValueError(f"attack {attack.name}: expected what it has learned, received nothing")
    are_random = [is_random(target, images, training=training) for target in targets]
    batches = batches_of(images, labels, batch_size(bn_evaluation), classes=classes_of(targets[0]))
    if training:
        batches = (batch for batch in batches if batch[0] == 0 or len(batch[1]) == BATCH_STATISTICS_SIZE)
    return [np.concatenate(parts, -1) for parts in zip(*on_devices(labelled, batches), strict=True)]


def _labels_of(target: keras.Model, draws: int, images: tf.Tensor, number: int, training: bool) -> np.ndarray:
    """The labels [batch] that a target gives the images of the batch of that number; [draws, batch] where there are draws."""
    if not draws:
        return _label(target, predict(target, images, training=training).numpy())
    # Apart from the seeds that attacks draw by, which have two numbers.
    answers = [drawn(target, images, _SCORING, number, draw, training=training) for draw in range(draws)]
    return np.stack([_label(target, logits) for logits in answers])


def _label(target: keras.Model, logits: np.ndarray) -> np.ndarray:
    if not np.isfinite(logits).all():
        unsound = int((~np.isfinite(logits)).any(1).sum())
        raise UserError(f"{target.name}: expected finite logits, found others for {unsound} of {len(logits)} images")
    return logits.argmax(1)
