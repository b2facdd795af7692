"""The fraction of images that a classifier labels correctly, clean or under an attack."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import Any

from adv_networks.attacks import Attack, Clean, named
from adv_networks.attacks.base import checked_attack
from adv_networks.attacks.inputs import as_arrays
from adv_networks.errors import UsageError
from adv_networks.evaluation.defended import Target
from adv_networks.evaluation.learning import Training, learn, lesson_of
from adv_networks.evaluation.measures import measure
from adv_networks.evaluation.random_classifiers import worst_case
from adv_networks.experiments import quoted
from adv_networks.lazy import np


def accuracy(
    model: Target,
    x: np.ndarray,
    y: np.ndarray,
    *,
    attack: Attack | None = None,
    source: Target | None = None,
    bn_evaluation: str = "moving",
    training: tuple[np.ndarray, np.ndarray] | None = None,
) -> float:
    """The fraction of images in [0,1] that the model labels correctly, clean or under an attack.

    Args:
        model: classifier that returns logits, or a `Defended` one, whose refusals count as `counted_as_right` says.
        x: images, uint8 or floats in [0,1], [N, H, W, C].
        y: labels [N].
        attack: None for the clean images.
        source: the model that the attack is crafted on; None for `model` itself.
        bn_evaluation: "moving" averages, or "batch" statistics of 64 images (a partial batch after full ones is then left out).
        training: other images and labels, from which an attack may learn first (`attacks.Universal`).

    Raises:
        UsageError: invalid images or labels.
        UserError: the logits are not finite.

    Examples:
        >>> import numpy as np, keras
        >>> from adv_networks import evaluation
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> x = np.zeros((4, 8, 8, 1), np.uint8)
        >>> evaluation.accuracy(model, x, np.argmax(model(x), 1))
        1.0
    """
    attack, source = Clean() if attack is None else attack, model if source is None else source
    state = learn(attack, source, lesson_of(attack, _all_of(training)))
    return float(correct_masks([model], x, y, attack, source, bn_evaluation, state)[0].mean())


def evaluate(
    model: Target,
    x: np.ndarray,
    y: np.ndarray,
    attacks: Sequence[str | Attack] = ("clean", "fgs", "pgd"),
    *,
    epsilon: float,
    norm: str = "linf",
    training: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, float]:
    """The fraction of images that a classifier labels correctly under each of several white-box attacks, and under the worst.

    Args:
        model: classifier from images in [0,1] to logits [batch, classes], or a `Defended` one.
        x: images, uint8 or floats in [0,1], [N, H, W, C].
        y: labels, integers [N].
        attacks: texts of the grammar (`attacks.named`), or attacks.
        epsilon: radius of the ball, on the [0,1] pixel scale, for attacks that do not set their own.
        norm: of that ball: linf, l2 or l1.
        training: other images and labels, from which some attacks learn first.

    Returns:
        Accuracies by the attacks' names, or by their titles if several have the same name; "worst" is the fraction that is
        labelled correctly under all attacks. For a random classifier, accuracies are means over draws (`random_classifiers`),
        and so are gradients (`runtime.mean_over_draws`).

    Raises:
        UsageError: no attack, no such attack, or invalid images or labels.
        UserError: the logits are not finite.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import evaluation
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> x, y = np.zeros((5, 8, 8, 1), np.uint8), np.zeros(5, int)
        >>> sorted(evaluation.evaluate(model, x, y, ["clean", "pgd:steps=3"], epsilon=0.1))
        ['clean', 'pgd:steps=3', 'worst']
    """
    chosen = _by_name(attacks, epsilon, norm)
    masks = {}
    for name, attack in chosen.items():
        state = learn(attack, model, lesson_of(attack, _all_of(training)))
        masks[name] = correct_masks([model], x, y, attack, model, state=state)[0]
    worst = worst_case(list(masks.values()))
    return {name: float(mask.mean()) for name, mask in masks.items()} | {"worst": float(worst.mean())}


def _by_name(attacks: Sequence[str | Attack], epsilon: float, norm: str) -> dict[str, Attack]:
    """The different ones of these attacks by their names, or by their titles where attacks share a name.

    Raises:
        UsageError: there is none, one is not an attack, or two that differ have the same title.
    """
    if isinstance(attacks, (str, Attack)) or not isinstance(attacks, Iterable):
        raise UsageError(f"attacks: expected a list of attacks, received {quoted(attacks)}")
    given = [named(attack, epsilon, norm=norm) if isinstance(attack, str) else checked_attack(attack) for attack in attacks]
    if not given:
        raise UsageError("attacks: expected at least one, received none")
    different = list({(attack.name, attack.settings()): attack for attack in given}.values())
    names = collections.Counter(attack.name for attack in different)
    found: dict[str, Attack] = {}
    for attack in different:
        name = attack.name if names[attack.name] == 1 else attack.title
        if name in found:
            raise UsageError(f"attacks: expected attacks of different titles, received two called {name}: name them by texts")
        found[name] = attack
    return found


def _all_of(training: tuple[np.ndarray, np.ndarray] | None) -> Training | None:
    """A function that gives attacks the first `count` of these images, or all if there are fewer."""
    if training is None:
        return None
    if not isinstance(training, (tuple, list)) or len(training) != 2:
        raise UsageError("training: expected (images, labels), received something else")
    images, labels = as_arrays(*training)
    return lambda count: (images[:count], labels[:count])


def correct_masks(
    targets: Sequence[Target],
    images: np.ndarray,
    labels: np.ndarray,
    attack: Attack,
    source: Target | None,
    bn_evaluation: str = "moving",
    state: Any = None,
) -> list[np.ndarray]:
    """For every target, which adversarial images it labels correctly, as booleans [images]. Each image is crafted once.

    A random target labels each image several times: booleans [draws, images] (`random_classifiers`). Whether an image that a
    defence refuses counts as right is defined by `defended.counted_as_right`. The arguments are those of `measure`.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks, evaluation
        >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x, y = np.zeros((3, 4, 4, 1), np.uint8), np.array([0, 1, 0])  # The logits of black images are 0.
        >>> evaluation.correct_masks([model], x, y, attacks.Clean(), source=None)
        [array([ True, False,  True])]
    """
    return [found.right for found in measure(targets, images, labels, attack, source, bn_evaluation, state)]
