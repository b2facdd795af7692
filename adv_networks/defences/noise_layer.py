"""A layer that adds Gaussian noise between two layers of a classifier, in training and at test time (the CIFAR10 report)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from adv_networks import runtime
from adv_networks.defences.base import Defence, register, setting
from adv_networks.defences.needed_run import NeededRun
from adv_networks.defences.players import Players, make_players
from adv_networks.defences.standard import standard_step
from adv_networks.defences.updates import Scalars
from adv_networks.errors import UsageError
from adv_networks.experiments import Experiment
from adv_networks.lazy import keras

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed
    from adv_networks.data import Images

# The kind of layer that the noise follows, by its position: the first such layer, except the last layer of the network.
_AFTER = {"convolution": "Conv2D", "dense": "Dense"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of the noise."""

    noise_deviation: float = setting(0.05, "standard deviation of the noise between layers", above=0, most=1)
    noise_position: str = setting(
        "convolution", "the noise follows the first convolution, or the first dense layer", choices=tuple(_AFTER)
    )
    noise_draws: int = setting(
        10, "noisy passes whose probabilities are averaged at test time; 0: no noise then", "test", least=0
    )


def with_noise(model: keras.Model, deviation: float, position: str) -> keras.Model:
    """A classifier with the same layers and a noise layer among them, which Keras uses only in training.

    Args:
        model: a functional classifier; it may have functional or sequential models inside, like your own with another range.
        deviation: standard deviation of the noise, from 0 to 1.
        position: "convolution" or "dense": after the first such layer and its activation.

    Raises:
        UsageError: there is no such layer before the last one.
    """
    model, kind = runtime.flattened(model), getattr(keras.layers, _AFTER[position])
    after = next((layer for layer in model.layers[:-1] if type(layer) is kind), None)
    if after is None:
        raise UsageError(f"noise_position: expected a layer of the classifier {model.name}, received {position}")

    def call(layer: keras.Layer, *inputs: Any, **options: Any) -> Any:
        outputs = layer(*inputs, **options)
        return keras.layers.GaussianNoise(deviation)(outputs) if layer.name == after.name else outputs

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def noisy_at_test(model: keras.Model, draws: int) -> keras.Model:
    """The classifier with noise at test time too. Its logits are the logarithms of the mean probabilities over `draws` draws.

    Args:
        model: a classifier from `with_noise`.
        draws: number of draws, at least 1.

    Returns:
        A random classifier, images in [0,1] to logits [batch, classes]; its weights are copies.
    """

    class AlwaysNoise(keras.layers.GaussianNoise):
        def call(self, inputs, training=None):
            return super().call(inputs, training=True)

    def copy(layer: keras.Layer) -> keras.Layer:
        kind = AlwaysNoise if type(layer) is keras.layers.GaussianNoise else type(layer)
        return kind.from_config(layer.get_config())

    noisy = keras.models.clone_model(model, clone_function=copy)
    noisy.set_weights(model.get_weights())
    if draws == 1:
        return noisy
    image = keras.Input(model.input_shape[1:], name="image")
    said = keras.ops.log_softmax(noisy(keras.ops.repeat(image, draws, 0)))
    together = keras.ops.reshape(said, (-1, draws, said.shape[-1]))
    return keras.Model(image, keras.ops.logsumexp(together, 1) - math.log(draws))


@register
class NoiseLayer(Defence):
    """The defence of the report's section "Gaussian noise".

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "noise", noise_deviation=0.1, noise_position="convolution")
        >>> players = defences.NoiseLayer().build(spec, {})
        >>> [type(layer).__name__ for layer in players.d.layers[:4]]
        ['InputLayer', 'Rescaling', 'Conv2D', 'GaussianNoise']
    """

    name, letter, title = "noise", "N", "Gaussian noise between layers, in training and at test time"
    adaptive = "pgd:steps=40:step_fraction=0.1:draws=20"
    Settings = Settings

    def build(self, spec: Experiment, needed: Mapping[str, NeededRun]) -> Players:
        """See `Defence.build`; the network starts from the same weights as without the layer."""
        own = spec.own
        return make_players(spec, lambda d: with_noise(d, own.noise_deviation, own.noise_position))

    def as_evaluated(self, classifier: keras.Model, spec: Experiment, training: Callable[[], Images]) -> keras.Model:
        """See `Defence.as_evaluated`: with noise at test time, unless `noise_draws` is 0."""
        return noisy_at_test(classifier, spec.own.noise_draws) if spec.own.noise_draws else classifier

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `standard_step`; the layer draws from the step's seed."""
        return standard_step(players, x, y, spec, seed)
