"""A classifier behind an input defence, as attacks and evaluations see it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from adv_networks.attacks import Attack
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, np, tf
from adv_networks.storage.hashes import DIGITS, weights_hash


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Defended:
    """A classifier behind an input defence. Whether it is random is found from its outputs (`random_classifiers`).

    Attributes:
        model: the whole defence, from images in [0,1] to logits [batch, classes]. It is what is evaluated, and what an attack
            with full knowledge is crafted on.
        surrogate: the model that gradient attacks are crafted on if the gradients of `model` are useless (BPDA). It has the
            same outputs, and a gradient that stands in for the defence's. None for `model` itself.
        undefended: the classifier alone, for attacks that do not know of the defence.
        rejects: maps images [batch, height, width, channels] in [0,1] to booleans [batch], true if the defence refuses the
            image as adversarial; None for a defence that refuses no image.
        excess: maps images to numbers [batch, detectors], at least 0 where a detector refuses the image. It is differentiable,
            so that an attack can evade the detectors. None if `rejects` cannot be differentiated.
        members: the classifiers of a defence that draws one of them at random for each image. They are evaluated one after the
            other instead of `model`, so accuracies are exact means over the draw. Empty for any other defence.
        settings: what the outputs depend on besides the weights, as plain values.

    Examples:
        >>> import keras
        >>> from adv_networks import evaluation
        >>> classifier = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> image = keras.Input((8, 8, 1))
        >>> rounded = keras.Model(image, classifier(image + keras.ops.stop_gradient(keras.ops.round(image) - image)))
        >>> evaluation.Defended(model=keras.Model(image, classifier(keras.ops.round(image))), surrogate=rounded).gradient
        'straight_through'
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
        """Its name in messages."""
        return self.model.name

    @property
    def gradient(self) -> str:
        """The gradient that attacks get by default: "exact", or with a surrogate "straight_through"."""
        return "exact" if self.surrogate is None else "straight_through"

    @functools.cached_property
    def with_excess(self) -> keras.Model:
        """A model of two outputs, the logits and the detectors' largest excess [batch], for attacks that evade detectors."""
        image = keras.Input(self.model.input_shape[1:])
        logits = (self.model if self.surrogate is None else self.surrogate)(image)
        return keras.Model(image, [logits, keras.ops.max(self.excess(image), 1)])

    @functools.cached_property
    def offered(self) -> dict[str, keras.Model]:
        """The networks that attacks can be crafted on, by the name of the gradient that each gives; first the exact one."""
        every = {"exact": self.model, "straight_through": self.surrogate, "none": self.undefended}
        return {gradient: network for gradient, network in every.items() if network is not None}

    @functools.cached_property
    def with_each_gradient(self) -> keras.Model:
        """A model with the outputs of each network of `offered`, for attacks that follow each gradient."""
        image = keras.Input(self.model.input_shape[1:])
        return keras.Model(image, [network(image) for network in self.offered.values()])

    def crafted_on(self, attack: Attack) -> keras.Model:
        """The network that an attack is crafted on: the one whose gradient the attack asks for.

        Raises:
            UsageError: the defence does not offer that gradient.
        """
        if attack.evades and self.excess is not None:
            return self.with_excess
        if attack.follows_each and len(self.offered) > 1:
            return self.with_each_gradient
        gradient = attack.gradient or self.gradient
        if gradient not in self.offered:
            expected = " or ".join(self.offered)
            raise UsageError(f"gradient of attack {attack.name}: expected {expected}, received {attack.gradient}")
        return self.offered[gradient]


# A classifier that can be evaluated.
Target: TypeAlias = "keras.Model | Defended"


def as_defended(target: Target) -> Defended:
    """The target as a `Defended` classifier; a Keras model becomes one without a defence.

    Raises:
        UsageError: the target is neither.

    Examples:
        >>> import keras
        >>> from adv_networks import evaluation
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> evaluation.as_defended(model).gradient
        'exact'
    """
    if not isinstance(target, (Defended, keras.Model)):
        raise UsageError(f"classifier: expected a Keras model, or a Defended one, received {type(target).__name__}")
    return target if isinstance(target, Defended) else Defended(model=target, undefended=target)


def crafted_on(source: Target | None, attack: Attack) -> keras.Model | None:
    """The network that an attack on a source is crafted on (`Defended.crafted_on`); None if there is no source.

    Raises:
        UsageError: the source does not offer the gradient that the attack asks for.
    """
    if isinstance(source, Defended):
        return source.crafted_on(attack)
    return source if source is None or attack.gradient != "straight_through" else as_defended(source).crafted_on(attack)


def gradient_of(source: Target | None, attack: Attack) -> str:
    """The gradient of the source that an attack followed, as records name it.

    It is empty if the attack follows no gradient, or if no defence stands in front of the source; "each" for all in turn.
    """
    if not isinstance(source, Defended) or not attack.reads_gradients:
        return ""
    return "each" if attack.follows_each else attack.gradient or source.gradient


def target_hash(target: Target) -> str:
    """`weights_hash` of a classifier. Behind a defence: a hash of the weights of all networks and the defence's settings.

    Examples:
        >>> import keras
        >>> from adv_networks import evaluation
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> fine, coarse = (evaluation.Defended(model=model, settings={"bits": bits}) for bits in (5, 1))
        >>> evaluation.target_hash(fine) == evaluation.target_hash(coarse)
        False
    """
    if not isinstance(target, Defended):
        return weights_hash(as_defended(target).model)
    networks = [weights_hash(network) for network in (target.model, target.excess) if network is not None]
    text = json.dumps([networks, dict(target.settings)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def rejected(target: Target, images: np.ndarray | tf.Tensor) -> np.ndarray | None:
    """Which images a defence refuses, booleans [batch]; None for a target that refuses no image."""
    if not isinstance(target, Defended) or target.rejects is None:
        return None
    return np.asarray(target.rejects(tf.convert_to_tensor(images)))


def counted_as_right(labelled: np.ndarray, refused: np.ndarray | None, attacked: bool) -> np.ndarray:
    """Which images count as right. A refused image counts as right under attack, and as wrong if it is clean.

    Args:
        labelled: whether each image was labelled correctly.
        refused: whether the defence refused the image; None for a defence that refuses none.
        attacked: whether the images are adversarial.

    Source: Meng and Chen, 2017, "MagNet".
    """
    if refused is None:
        return labelled
    return labelled | refused if attacked else labelled & ~refused
