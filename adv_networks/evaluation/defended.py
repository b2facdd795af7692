"""A classifier behind a defence of its inputs, as attacks and evaluations take it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from adv_networks.attacks import Attack
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, tf
from adv_networks.storage.hashes import DIGITS, weights_hash


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Defended:
    """A classifier behind an input defence; whether it is random its outputs tell (`random_classifiers`).

    Attributes:
        model: images in [0,1] to logits [batch, classes], the defence included: what is evaluated, and what an attack with
            full knowledge is crafted on.
        surrogate: what attacks that follow gradients are crafted on instead, where the model's own are of no use (BPDA): the
            same values, with a gradient that stands in for the defence's. None for the model itself.
        undefended: the classifier alone, for attacks that do not know of the defence.
        rejects: images [batch, height, width, channels] in [0,1] to booleans [batch], true where the defence refuses one as
            adversarial; None for a defence that refuses none.
        excess: images to numbers [batch, detectors], from 0 on where a detector refuses the image; differentiable, so that an
            attack can evade it. None where nobody can follow what `rejects`.
        members: the classifiers of a defence that draws one at random for each image: what is evaluated instead of `model`,
            one after the other, so that accuracies are exact means over the draw. Empty for any other defence.
        settings: what the outputs depend on beside the weights, as plain values.
    """

    model: keras.Model
    surrogate: keras.Model | None = None
    undefended: keras.Model | None = None
    rejects: Callable[[tf.Tensor], tf.Tensor] | None = None
    excess: keras.Model | None = None
    members: tuple[keras.Model, ...] = ()
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.model.name

    @property
    def gradient(self) -> str:
        """Which gradient an attack gets that asks for none: "exact", or "straight_through" of a surrogate."""
        return "exact" if self.surrogate is None else "straight_through"

    @functools.cached_property
    def with_excess(self) -> keras.Model:
        """Two outputs, the logits and the largest excess of a detector [batch]: what an attack that evades it is crafted on."""
        image = keras.Input(self.model.input_shape[1:])
        logits = (self.model if self.surrogate is None else self.surrogate)(image)
        return keras.Model(image, [logits, keras.ops.max(self.excess(image), 1)])

    def crafted_on(self, attack: Attack) -> keras.Model:
        """The network that an attack is crafted on: the one with the gradient that it asks for.

        Raises:
            UsageError: the defence does not offer that gradient.
        """
        if attack.evades and self.excess is not None:
            return self.with_excess
        offered = {"exact": self.model, "straight_through": self.surrogate, "none": self.undefended}
        network = offered[attack.gradient or self.gradient]
        if network is None:
            names = " or ".join(name for name, own in offered.items() if own is not None)
            raise UsageError(f"gradient of attack {attack.name}: expected {names}, received {attack.gradient}")
        return network


# A classifier as evaluations take it.
Target: TypeAlias = "keras.Model | Defended"


def as_defended(target: Target) -> Defended:
    """The target itself, or the classifier as one that no defence stands in front of.

    Raises:
        UsageError: it is neither.
    """
    if not isinstance(target, (Defended, keras.Model)):
        raise UsageError(f"classifier: expected a Keras model, or a Defended one, received {type(target).__name__}")
    return target if isinstance(target, Defended) else Defended(model=target, undefended=target)


def crafted_on(source: Target | None, attack: Attack) -> keras.Model | None:
    """The network that an attack on a source is crafted on (`Defended.crafted_on`); None where there is no source.

    Raises:
        UsageError: the source does not offer the gradient that the attack asks for.
    """
    if isinstance(source, Defended):
        return source.crafted_on(attack)
    return source if source is None or attack.gradient != "straight_through" else as_defended(source).crafted_on(attack)


def gradient_of(source: Target | None, attack: Attack) -> str:
    """Which gradient of the source the attack followed, as records say it; empty where it followed none, or there is no choice.

    There is none with a classifier that no defence stands in front of.
    """
    if not isinstance(source, Defended) or not attack.reads_gradients:
        return ""
    return attack.gradient or source.gradient


def target_hash(target: Target) -> str:
    """`weights_hash` of a classifier; of one behind a defence a hash of its networks' weights and of the defence's settings."""
    if not isinstance(target, Defended):
        return weights_hash(as_defended(target).model)
    networks = [weights_hash(network) for network in (target.model, target.excess) if network is not None]
    text = json.dumps([networks, dict(target.settings)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def rejected(target: Target, images: np.ndarray | tf.Tensor) -> np.ndarray | None:
    """Which images a defence refuses, booleans [batch]; None where there is none that refuses any."""
    if not isinstance(target, Defended) or target.rejects is None:
        return None
    return np.asarray(target.rejects(tf.convert_to_tensor(images)))


def counted_as_right(labelled: np.ndarray, refused: np.ndarray | None, attacked: bool) -> np.ndarray:
    """Which images count as right (Meng and Chen, 2017, "MagNet"): a refused one does under attack, and does not as it is.

    Args:
        labelled: whether each image was labelled correctly.
        refused: whether the defence refused it; None for a defence that refuses none.
        attacked: whether the images are adversarial ones.
    """
    if refused is None:
        return labelled
    return labelled | refused if attacked else labelled & ~refused
