"""MagNet: autoencoders of clean images, which refuse an image that they cannot reconstruct and replace every other image by its
reconstruction (Meng and Chen, 2017, "MagNet: a two-pronged defense against adversarial examples")."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks import networks
from adv_networks.attacks.crafting import BATCH_SIZE
from adv_networks.defences.base import register, setting
from adv_networks.defences.input_defence import Defended, InputDefence
from adv_networks.defences.needed_run import NeededRun
from adv_networks.defences.players import TrainingState
from adv_networks.defences.updates import Scalars, apply_gradient, compiled, gradient_of, values
from adv_networks.errors import UsageError
from adv_networks.experiments import Experiment, find_dataset
from adv_networks.lazy import keras, np, tf
from adv_networks.networks.autoencoders import autoencoder_multiply_adds, flat_autoencoder, pooling_autoencoder
from adv_networks.runtime import adam, raw_outputs, replicas, run_compiled
from adv_networks.storage import pictures

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed
    from adv_networks.data import Images

# The detectors' scores.
DETECTORS = ("error_1", "error_2", "divergence_10", "divergence_40")
PARTS = ("both", "detector", "reformer", "none")
_FILES = ("autoencoder_1.keras", "autoencoder_2.keras")
_HELD_OUT = "held_out.npy"
# The adaptive attack on a classifier behind the reformer alone, which is differentiable and refuses nothing.
_WITHOUT_DETECTORS = "apgd_targeted:steps=50"


@dataclasses.dataclass(frozen=True)
class ReconstructionSettings:
    """The settings of the autoencoders' training."""

    autoencoder_width: int = setting(3, "filters of the autoencoders' inner convolutions", least=1)
    autoencoder_noise: float = setting(
        0.1, "standard deviation of the noise on the images that autoencoders learn to reconstruct", least=0
    )
    autoencoder_learning_rate: float = setting(
        0.03, "learning rate of the autoencoders' Adam (the authors': 0.001, for 100 epochs)", above=0
    )


@dataclasses.dataclass(frozen=True)
class Settings(ReconstructionSettings):
    """The settings that only MagNet has."""

    detectors: tuple[str, ...] = setting(
        ("error_1", "error_2"),
        "what decides whether an image is refused: an autoencoder's reconstruction error, or, at a temperature, the divergence "
        "of the classifier's outputs for the image and for autoencoder 1's reconstruction",
        "test",
        choices=DETECTORS,
    )
    detector_rate: float = setting(
        0.001, "fraction of the validation images that each detector may refuse, at least one image", "test", above=0, most=1
    )
    magnet_parts: str = setting("both", "which parts of MagNet stand in front of the classifier", "test", choices=PARTS)


@dataclasses.dataclass(eq=False)
class Autoencoders(TrainingState):
    """The autoencoders in training, in the order of their files, and their optimiser, which treats each weight separately."""

    models: tuple[keras.Model, ...]
    optimizer: keras.optimizers.Optimizer
    files: tuple[str, ...] = _FILES

    def networks(self) -> dict[str, keras.Model]:
        """See `TrainingState.networks`."""
        return dict(zip(self.files, self.models, strict=True))

    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """See `TrainingState.optimizers`."""
        return {"learning_rate": self.optimizer}


@compiled
def reconstruction_step(state: Autoencoders, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One step of each autoencoder on the squared error between the clean image and its reconstruction of the noisy image."""
    draw = functools.partial(tf.random.stateless_normal, seed=seed, dtype=x.dtype)
    noise = replicas.share_of(draw, [tf.shape(x)[0], *x.shape[1:]])
    noisy = tf.clip_by_value(x + spec.own.autoencoder_noise * noise, 0, 1)
    with tf.GradientTape() as tape:
        errors = [tf.reduce_mean((model(noisy, training=True) - x) ** 2) for model in state.models]
        activity = [loss for model in state.models for loss in model.losses]
        objective = tf.reduce_sum(errors) + tf.reduce_sum(activity)
    gradient = gradient_of(tape, objective, values(*state.models), *state.models)
    apply_gradient(state.optimizer, gradient, [variable for model in state.models for variable in model.trainable_variables])
    return {f"reconstruction_error_{number}": error for number, error in enumerate(errors, 1)}


def marks_of(
    autoencoders: tuple[keras.Model, ...], classifier: keras.Model, image: tf.Tensor, detectors: tuple[str, ...] = DETECTORS
) -> tf.Tensor:
    """The detectors' scores of images, [batch, detectors]; a higher score is more suspicious.

    Args:
        autoencoders: I and II, from images to images.
        classifier: images in [0,1] to logits.
        image: images [batch, height, width, channels] in [0,1].
        detectors: names in `DETECTORS`: the mean over pixels of autoencoder I's squared error, or of II's absolute error; or
            the Jensen-Shannon divergence, in nats, between the classifier's softmax outputs for the image and for I's
            reconstruction, with logits divided by 10 or 40.
    """
    first, second = (autoencoder(image) for autoencoder in autoencoders)
    marks = {
        "error_1": lambda: keras.ops.mean(keras.ops.square(first - image), (1, 2, 3)),
        "error_2": lambda: keras.ops.mean(keras.ops.abs(second - image), (1, 2, 3)),
        "divergence_10": lambda: divergence(classifier(image) / 10, classifier(first) / 10),
        "divergence_40": lambda: divergence(classifier(image) / 40, classifier(first) / 40),
    }
    return keras.ops.stack([marks[name]() for name in detectors], 1)


def divergence(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """The Jensen-Shannon divergence [batch], in nats, between the softmax of two logits [batch, classes]."""
    logarithms = [keras.ops.log_softmax(logits) for logits in (first, second)]
    shares = [keras.ops.exp(own) for own in logarithms]
    mean = keras.ops.logaddexp(*logarithms) - np.log(2)
    return sum(keras.ops.sum(p * (own - mean), 1) for p, own in zip(shares, logarithms, strict=True)) / 2


def thresholds(marks: np.ndarray, rate: float) -> np.ndarray:
    """The lowest score that each detector refuses: the n-th largest of the validation images, n = max(1, ⌊rate N⌋).

    Args:
        marks: scores of validation images, [detectors, N].
        rate: the fraction of them that a detector may refuse.
    """
    count = max(1, int(rate * marks.shape[1] + 1e-9))  # 0.001 of 5,000 must be 5 despite rounding.
    return np.sort(marks, 1)[:, -count]


@register
class MagNet(InputDefence):
    """MagNet of Meng and Chen, 2017, with their architecture for MNIST.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "magnet", magnet_parts="reformer")
        >>> defences.MagNet().files(spec)
        ('autoencoder_1.keras', 'autoencoder_2.keras', 'held_out.npy', 'reconstructions.png')
        >>> spec.name, spec.target_name  # The parts are chosen at test time.
        ('digits-magnet-cpu-s0', 'digits-magnet-cpu-s0-magnet_parts=reformer')
    """

    name, letter, title = "magnet", "M", "MagNet: autoencoders in front of A, which refuse images and reform the others"
    Settings = Settings
    knows_classifier = False
    settings: ClassVar[Mapping[str, Any]] = MappingProxyType(dict(batch_size=256))
    metrics = (
        "reconstruction_error_1", "reconstruction_error_2", "validation_reconstruction_error_1",
        "validation_reconstruction_error_2",
    )  # fmt: skip
    adaptive = "evading_cw"

    def adaptive_for(self, spec: Experiment) -> str:
        """See `Defence.adaptive_for`; without detectors there is nothing to evade."""
        return self.adaptive if spec.own.magnet_parts in ("both", "detector") else _WITHOUT_DETECTORS

    def files(self, spec: Experiment) -> tuple[str, ...]:
        """See `Defence.files`."""
        return (*_FILES, _HELD_OUT, "reconstructions.png")

    def multiply_adds(self, spec: Experiment) -> float:
        """See `Defence.multiply_adds`."""
        return 3 * autoencoder_multiply_adds(find_dataset(spec.dataset).image_shape, spec.own.autoencoder_width)

    def first_difference(self, spec: Experiment, longer: Experiment, steps: int) -> str:
        """See `Defence.first_difference`; no step depends on the total number of steps."""
        return ""

    def build(self, spec: Experiment, needed: Mapping[str, NeededRun]) -> Autoencoders:
        """See `Defence.build`.

        Raises:
            UsageError: no images are held out, which the thresholds need.
        """
        if not spec.validation:
            raise UsageError(f"validation: expected at least 1 image with method {self.name}, for its thresholds, received 0")
        keras.utils.set_random_seed(spec.seed)
        shape = find_dataset(spec.dataset).image_shape
        with networks.computing_in(spec.precision):
            models = tuple(make(shape, spec.own.autoencoder_width) for make in (pooling_autoencoder, flat_autoencoder))
        optimizer = adam(spec.own.autoencoder_learning_rate)
        optimizer.build([variable for model in models for variable in model.trainable_variables])
        return Autoencoders(models, optimizer)

    def step(self, players: Autoencoders, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `reconstruction_step`."""
        return reconstruction_step(players, x, y, spec, seed)

    def validate(self, players: Autoencoders, validation: Images, spec: Experiment) -> dict[str, float]:
        """The autoencoders' mean squared errors on clean validation images."""
        x = validation.images / np.float32(255)
        made = [outputs(model, x) for model in players.models]
        return {
            f"validation_reconstruction_error_{number}": float(np.mean((own - x) ** 2)) for number, own in enumerate(made, 1)
        }

    def pictures(self, players: Autoencoders, shown: Images, spec: Experiment) -> dict[str, Any]:
        """The autoencoders' reconstructions of a few images."""
        return reconstructions(players.models, shown, spec)

    def arrays(
        self, players: Autoencoders, needed: Mapping[str, NeededRun], validation: Images, spec: Experiment
    ) -> dict[str, np.ndarray]:
        """The validation images, whose scores set the thresholds; some scores depend on the classifier behind."""
        return {_HELD_OUT: validation.images}

    def wrap(self, classifier: keras.Model, parts: Mapping[str, Any], spec: Experiment) -> Defended:
        """See `InputDefence.wrap`."""
        own, autoencoders = spec.own, tuple(parts[name] for name in _FILES)
        settings: dict[str, Any] = {"defence": self.name, "parts": own.magnet_parts}
        image = keras.Input(classifier.input_shape[1:])
        reforms, detects = (own.magnet_parts in ("both", part) for part in ("reformer", "detector"))
        model = keras.Model(image, classifier(autoencoders[0](image) if reforms else image), name="magnet")
        if not detects:
            return Defended(model=model, undefended=classifier, settings=settings)
        marks = marks_of(autoencoders, classifier, image, own.detectors)
        limits = thresholds(outputs(keras.Model(image, marks), parts[_HELD_OUT] / np.float32(255)).T, own.detector_rate)
        # With a threshold of 0, a detector would refuse an image whose score is 0, such as an empty one.
        limits = np.maximum(limits, np.finfo(np.float32).tiny).astype(np.float32)
        excess = keras.Model(image, marks / limits - 1)
        return Defended(
            model=model,
            undefended=classifier,
            rejects=lambda x: tf.reduce_any(run_compiled(raw_outputs, excess, False, x) >= 0, 1),
            excess=excess,
            settings=settings | {"detectors": list(own.detectors), "thresholds": limits.tolist()},
        )


def outputs(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The model's outputs for images, computed batch by batch."""
    parts = (tf.constant(x[start : start + BATCH_SIZE]) for start in range(0, len(x), BATCH_SIZE))
    return np.concatenate([run_compiled(raw_outputs, model, False, part).numpy() for part in parts])


def reconstructions(models: tuple[keras.Model, ...], shown: Images, spec: Experiment) -> dict[str, Any]:
    """The figure of the autoencoders' reconstructions of a few images, by the name of its file."""
    x = shown.images / np.float32(255)
    made = {f"autoencoder {number}": outputs(model, x) for number, model in enumerate(models, 1)}
    above = [find_dataset(spec.dataset).class_name(label) for label in shown.labels.tolist()]
    limit = max(float(np.abs(own - x).max()) for own in made.values())
    return {"reconstructions": pictures.perturbations(x, made, limit, [above] * (1 + len(made)))}
