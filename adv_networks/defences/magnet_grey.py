"""MagNet against an attacker who does not know which of eight autoencoders is used (Meng and Chen, 2017, Section 4.4)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks import networks
from adv_networks.defences import magnet
from adv_networks.defences.base import register, setting
from adv_networks.defences.input_defence import Defended, InputDefence
from adv_networks.defences.magnet import Autoencoders
from adv_networks.defences.needed_run import NeededRun
from adv_networks.defences.updates import Scalars, apply_gradient, compiled, gradient_of, values
from adv_networks.experiments import Experiment, find_dataset
from adv_networks.lazy import keras, np, tf
from adv_networks.networks.autoencoders import autoencoder_multiply_adds, pooling_autoencoder
from adv_networks.runtime import adam, replicas

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed
    from adv_networks.data import Images

AUTOENCODERS = "ABCDEFGH"
_FILES = tuple(f"autoencoder_{letter.lower()}.keras" for letter in AUTOENCODERS)


@dataclasses.dataclass(frozen=True)
class Settings(magnet.ReconstructionSettings):
    """The settings of the eight autoencoders, including those of all of MagNet's autoencoders."""

    diversity: float = setting(
        0.05, "weight of the distance of the autoencoders' images from their mean, which is maximised (ours; not published)",
        least=0,
    )  # fmt: skip
    alone: float = setting(0.25, "fraction of the steps, at the start, without the diversity term", least=0, most=1)
    autoencoder: str = setting(
        "random",
        "the autoencoder in front of the classifier; random draws one for each image",
        "test",
        choices=(*AUTOENCODERS, "random"),
    )


@compiled
def diverse_step(state: Autoencoders, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One step of all on Σᵢ |AEᵢ(noisy) − x|² − a Σᵢ |AEᵢ(noisy) − meanⱼ AEⱼ(noisy)|², averaged over pixels; a starts at 0."""
    own = spec.own
    draw = functools.partial(tf.random.stateless_normal, seed=seed, dtype=x.dtype)
    noise = replicas.share_of(draw, [tf.shape(x)[0], *x.shape[1:]])
    noisy = tf.clip_by_value(x + own.autoencoder_noise * noise, 0, 1)
    weight = tf.where(tf.cast(seed[1], tf.float32) < own.alone * spec.steps, 0.0, own.diversity)
    with tf.GradientTape() as tape:
        made = tf.stack([model(noisy, training=True) for model in state.models])
        error = tf.reduce_mean((made - x) ** 2)
        spread = tf.reduce_mean((made - tf.reduce_mean(made, 0)) ** 2)
        loss = len(state.models) * (error - tf.cast(weight, error.dtype) * spread)
    gradient = gradient_of(tape, loss, values(*state.models), *state.models)
    apply_gradient(state.optimizer, gradient, [variable for model in state.models for variable in model.trainable_variables])
    return {"reconstruction_error": error, "spread": spread}


@register
class GreyMagNet(InputDefence):
    """The grey-box defence of Meng and Chen, 2017, Section 4.4, with eight copies of autoencoder I.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> files = defences.GreyMagNet().files(experiments.experiment("digits", "magnet_grey"))
        >>> files[0], files[7]
        ('autoencoder_a.keras', 'autoencoder_h.keras')
    """

    name, letter, title = "magnet_grey", "MG", "MagNet's reformer, one of eight autoencoders trained to differ from each other"
    Settings = Settings
    knows_classifier = False
    settings: ClassVar[Mapping[str, Any]] = MappingProxyType(dict(batch_size=128))
    metrics = ("reconstruction_error", "spread", "validation_reconstruction_error")

    def files(self, spec: Experiment) -> tuple[str, ...]:
        """See `Defence.files`."""
        return (*_FILES, "reconstructions.png")

    def multiply_adds(self, spec: Experiment) -> float:
        """See `Defence.multiply_adds`; autoencoder I takes about half of those of I and II together."""
        both = autoencoder_multiply_adds(find_dataset(spec.dataset).image_shape, spec.own.autoencoder_width)
        return 3 * len(AUTOENCODERS) * both / 2

    def first_difference(self, spec: Experiment, longer: Experiment, steps: int) -> str:
        """See `Defence.first_difference`."""
        ends = [min(steps, int(own.own.alone * own.steps)) for own in (spec, longer)]
        words = f"the diversity term begins after {ends[0]} steps in one, after {ends[1]} in the other"
        return "" if ends[0] == ends[1] else words

    def build(self, spec: Experiment, needed: Mapping[str, NeededRun]) -> Autoencoders:
        """See `Defence.build`."""
        keras.utils.set_random_seed(spec.seed)
        shape = find_dataset(spec.dataset).image_shape
        with networks.computing_in(spec.precision):
            models = tuple(pooling_autoencoder(shape, spec.own.autoencoder_width) for _ in AUTOENCODERS)
        optimizer = adam(spec.own.autoencoder_learning_rate)
        optimizer.build([variable for model in models for variable in model.trainable_variables])
        return Autoencoders(models, optimizer, _FILES)

    def step(self, players: Autoencoders, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `diverse_step`."""
        return diverse_step(players, x, y, spec, seed)

    def validate(self, players: Autoencoders, validation: Images, spec: Experiment) -> dict[str, float]:
        """The mean squared error of all autoencoders on clean validation images."""
        x = validation.images / np.float32(255)
        errors = [np.mean((magnet.outputs(model, x) - x) ** 2) for model in players.models]
        return {"validation_reconstruction_error": float(np.mean(errors))}

    def pictures(self, players: Autoencoders, shown: Images, spec: Experiment) -> dict[str, Any]:
        """The autoencoders' reconstructions of a few images."""
        return magnet.reconstructions(players.models, shown, spec)

    def wrap(self, classifier: keras.Model, parts: Mapping[str, Any], spec: Experiment) -> Defended:
        """See `InputDefence.wrap`."""
        chosen, image = spec.own.autoencoder, keras.Input(classifier.input_shape[1:])
        members = {
            letter: keras.Model(image, classifier(parts[file](image)), name=f"magnet_{letter}")
            for letter, file in zip(AUTOENCODERS, _FILES, strict=True)
        }
        settings = {"defence": self.name, "autoencoder": chosen}
        if chosen != "random":
            return Defended(model=members[chosen], undefended=classifier, settings=settings)
        drawn = keras.Model(image, _one_at_random([member(image) for member in members.values()]), name="magnet_random")
        return Defended(model=drawn, undefended=classifier, members=tuple(members.values()), settings=settings)


def _one_at_random(outputs: list[Any]) -> Any:
    """For each image, the outputs of a network that is drawn anew at every call: the one with the largest random number."""
    stacked = keras.ops.stack(outputs, 1)  # [batch, networks, classes]
    # A layer of Keras, because `runtime.drawing` seeds what these layers draw.
    numbers = keras.layers.GaussianNoise(1.0)(keras.ops.zeros_like(stacked[:, :, 0]), training=True)
    chosen = keras.ops.one_hot(keras.ops.argmax(numbers, 1), len(outputs), dtype=stacked.dtype)
    return keras.ops.sum(stacked * chosen[:, :, None], 1)
