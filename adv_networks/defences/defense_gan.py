"""Defense-GAN: the classifier sees the nearest image that a generator of clean images can make (Samangouei, Kabkab and
Chellappa, 2018, "Defense-GAN: protecting classifiers against adversarial attacks using generative models")."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks import networks
from adv_networks.attacks.crafting import BATCH_SIZE, batches_of, on_devices
from adv_networks.defences.base import register, setting
from adv_networks.defences.input_defence import Defended, InputDefence
from adv_networks.defences.needed_run import NeededRun
from adv_networks.defences.players import TrainingState
from adv_networks.defences.updates import Scalars, apply_gradient, compiled, gradient_of, values
from adv_networks.errors import UsageError
from adv_networks.experiments import Experiment, find_dataset
from adv_networks.lazy import keras, np, tf
from adv_networks.networks.gans import gan_critic, gan_generator, gan_multiply_adds
from adv_networks.runtime import adam, raw_outputs, replicas, run_compiled
from adv_networks.storage import pictures

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed
    from adv_networks.data import Images

GENERATOR, CRITIC = "generator.keras", "critic.keras"
# The number of descent steps for the pictures of a run.
_STEPS_OF_PICTURES = 50


@dataclasses.dataclass(frozen=True)
class GANSettings:
    """The settings of the GAN's training."""

    gan_width: int = setting(16, "filters of the GAN's first convolution (the authors': 64)", least=1)
    gan_latent: int = setting(128, "dimensions of the GAN's latent vectors", least=1)
    gan_learning_rate: float = setting(1e-4, "learning rate of the GAN's Adam", above=0)
    gan_penalty: float = setting(10.0, "weight of the penalty on the critic's gradient", least=0)
    critic_steps: int = setting(5, "steps of the critic per step of the generator, each on its part of the minibatch", least=1)


@dataclasses.dataclass(frozen=True)
class Settings(GANSettings):
    """The settings that only Defense-GAN has."""

    projection_steps: int = setting(200, "L, descent steps to the generator's image nearest to the input", "test", least=1)
    projection_restarts: int = setting(10, "R, latent vectors that the descent starts from", "test", least=1)
    projection_rate: float = setting(10.0, "learning rate of that descent", "test", above=0)
    behind: str = setting(
        "standard",
        "method of the classifier behind Defense-GAN: trained on the images, or on the generator's reconstructions",
        "test",
        choices=("standard", "reconstructed"),
    )


@dataclasses.dataclass(eq=False)
class GAN(TrainingState):
    """A Wasserstein GAN in training."""

    generator: keras.Model
    critic: keras.Model
    generator_optimizer: keras.optimizers.Optimizer
    critic_optimizer: keras.optimizers.Optimizer
    critic_steps: int

    def networks(self) -> dict[str, keras.Model]:
        """See `TrainingState.networks`."""
        return {GENERATOR: self.generator, CRITIC: self.critic}

    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """See `TrainingState.optimizers`."""
        return {"learning_rate": self.critic_optimizer, "generator_learning_rate": self.generator_optimizer}

    def shares(self, x: tf.Tensor) -> int:
        """See `TrainingState.shares`: one part for each step of the critic."""
        return self.critic_steps

    def samples(self, count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """`count` images from the generator, as a function of the seed."""
        draw = functools.partial(tf.random.stateless_normal, seed=seed)
        return self.generator(replicas.share_of(draw, [count, self.generator.input_shape[1]]), training=True)


def gradient_penalty(critic: keras.Model, points: tf.Tensor) -> tf.Tensor:
    """The mean of (‖∇_x D(x)‖₂ − 1)² over points x [batch, height, width, channels] (Gulrajani et al., 2017, Eq. 3)."""
    with tf.GradientTape() as tape:
        tape.watch(points)
        total = tf.reduce_sum(critic(points, training=True))
    squares = tf.reduce_sum(tape.gradient(total, points) ** 2, [1, 2, 3])
    return tf.reduce_mean((tf.sqrt(squares + 1e-12) - 1) ** 2)  # The square root has no gradient at 0.


@compiled
def critic_step(state: GAN, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One step of the critic on one part of the minibatch; the seed's second number says which part."""
    count = tf.shape(x)[0] // spec.own.critic_steps
    x = tf.slice(x, [seed[1] % spec.own.critic_steps * count, 0, 0, 0], [count, -1, -1, -1])
    latent_seed, mixture_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    made = state.samples(count, latent_seed)
    draw = functools.partial(tf.random.stateless_uniform, seed=mixture_seed, dtype=x.dtype)
    share = replicas.share_of(draw, [count, 1, 1, 1])
    with tf.GradientTape() as tape:
        distance = tf.reduce_mean(state.critic(x, training=True)) - tf.reduce_mean(state.critic(made, training=True))
        penalty = gradient_penalty(state.critic, share * x + (1 - share) * made)
        loss = spec.own.gan_penalty * penalty - distance
    gradient = gradient_of(tape, loss, values(state.critic), state.critic)
    apply_gradient(state.critic_optimizer, gradient, state.critic.trainable_variables)
    return {"critic_distance": distance, "critic_penalty": penalty}


@compiled
def generator_step(state: GAN, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One step of the generator, which increases the critic's score of generated images, as many as one part has."""
    with tf.GradientTape() as tape:
        made = state.samples(tf.shape(x)[0] // spec.own.critic_steps, seed)
        loss = -tf.reduce_mean(state.critic(made, training=True))
    gradient = gradient_of(tape, loss, values(state.generator), state.generator, state.critic)
    apply_gradient(state.generator_optimizer, gradient, state.generator.trainable_variables)
    return {"g_loss": loss}


def projected(
    image: Any, generator: keras.Model, *, steps: int, restarts: int, rate: float, straight_through: bool = False
) -> Any:
    """The generator's nearest images, as a layer of a Keras model.

    Args:
        image: the model's images in [0,1], [batch, height, width, channels].
        generator: maps latent vectors to images in [0,1].
        steps: L, the number of steps of the descent.
        restarts: R, the number of latent vectors to start from.
        rate: learning rate of the descent.
        straight_through: whether the gradient is that of the identity instead of the one through the descent.
    """
    from adv_networks.networks.projection import Projection  # which loads TensorFlow
    from adv_networks.networks.straight_through import StraightThrough

    projection = Projection(generator, steps=steps, restarts=restarts, rate=rate)
    return StraightThrough(projection)(image) if straight_through else projection(image)


def nearest(generator: keras.Model, images: np.ndarray, **options: Any) -> Iterator[np.ndarray]:
    """The generator's images nearest to the given ones, floats in [0,1], batch by batch.

    Args:
        generator: maps latent vectors to images in [0,1].
        images: uint8 or floats in [0,1], [N, height, width, channels].
        options: L, R and the learning rate (`projected`).
    """
    image = keras.Input(images.shape[1:])
    run = functools.partial(run_compiled, raw_outputs, keras.Model(image, projected(image, generator, **options)), False)
    unlabelled = np.zeros(len(images), np.int32)
    return on_devices(lambda number, x, y: run(tf.constant(x)).numpy(), batches_of(images, unlabelled, BATCH_SIZE))


@register
class DefenseGAN(InputDefence):
    """Defense-GAN of Samangouei et al., 2018, with their GAN for MNIST.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "defense_gan", behind="reconstructed")
        >>> defences.DefenseGAN().files(spec)
        ('generator.keras', 'critic.keras', 'reconstructions.png')
        >>> defences.DefenseGAN().behind(spec).name
        'digits-reconstructed-cpu-s0'
    """

    name, letter, title = "defense_gan", "DG", "Defense-GAN: a GAN of clean images reconstructs what the classifier sees"
    Settings = Settings
    knows_classifier = False
    settings: ClassVar[Mapping[str, Any]] = MappingProxyType(dict(batch_size=250))
    metrics = ("critic_distance", "critic_penalty", "generator_learning_rate", "validation_critic_distance")
    # Which gradient is the best one depends on the number of descent steps.
    adaptive = "each_gradient:attack=apgd_ce:steps=50"

    def behind(self, spec: Experiment) -> Experiment:
        """See `Defence.behind`."""
        return spec.sibling(spec.own.behind)

    def check(self, spec: Experiment) -> None:
        """Refuses minibatches with fewer images than the critic has steps; images that do not divide evenly are left out."""
        super().check(spec)
        if spec.batch_size < spec.own.critic_steps:
            raise UsageError(
                f"batch_size: expected at least the {spec.own.critic_steps} critic_steps, received {spec.batch_size}"
            )

    def files(self, spec: Experiment) -> tuple[str, ...]:
        """See `Defence.files`."""
        return GENERATOR, CRITIC, "reconstructions.png"

    def multiply_adds(self, spec: Experiment) -> float:
        """See `Defence.multiply_adds`; each step of the critic passes three batches through it, one of them twice."""
        shape = find_dataset(spec.dataset).image_shape
        generator, critic = gan_multiply_adds(shape, spec.own.gan_latent, spec.own.gan_width)
        return generator + 15 * critic + 3 * (generator + critic) / spec.own.critic_steps

    def first_difference(self, spec: Experiment, longer: Experiment, steps: int) -> str:
        """See `Defence.first_difference`; no step depends on the total number of steps."""
        return ""

    def build(self, spec: Experiment, needed: Mapping[str, NeededRun]) -> GAN:
        """See `Defence.build`."""
        keras.utils.set_random_seed(spec.seed)
        shape, own = find_dataset(spec.dataset).image_shape, spec.own
        with networks.computing_in(spec.precision):
            models = gan_generator(shape, own.gan_latent, own.gan_width), gan_critic(shape, own.gan_width)
        optimizers = [adam(own.gan_learning_rate, beta_1=0.5, beta_2=0.9, epsilon=1e-8) for _ in models]
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.build(model.trainable_variables)
        return GAN(*models, *optimizers, own.critic_steps)

    def step(self, players: GAN, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """The critic's steps (`critic_step`), then one step of the generator (`generator_step`)."""
        run, step = seed
        parts = [step * (spec.own.critic_steps + 1) + part for part in range(spec.own.critic_steps)]
        for part, number in enumerate(parts):
            scalars = critic_step(players, x, y, spec, (run, number * spec.own.critic_steps + part))
        return scalars | generator_step(players, x, y, spec, (run, (parts[-1] + 1) * spec.own.critic_steps))

    def validate(self, players: GAN, validation: Images, spec: Experiment) -> dict[str, float]:
        """How much higher the critic scores validation images than generated images."""
        x = tf.constant(validation.images / np.float32(255))
        made = players.samples(len(x), tf.constant([spec.seed, 0]))
        means = [tf.reduce_mean(run_compiled(raw_outputs, players.critic, False, images)) for images in (x, made)]
        return {"validation_critic_distance": float(means[0] - means[1])}

    def pictures(self, players: GAN, shown: Images, spec: Experiment) -> dict[str, Any]:
        """The generator's reconstructions of a few images."""
        x, descent = shown.images / np.float32(255), dict(steps=_STEPS_OF_PICTURES, restarts=1, rate=spec.own.projection_rate)
        found = np.concatenate(list(nearest(players.generator, x, **descent)))
        above = [find_dataset(spec.dataset).class_name(label) for label in shown.labels.tolist()]
        limit = float(np.abs(found - x).max())
        return {"reconstructions": pictures.perturbations(x, {"nearest of G": found}, limit, [above] * 2)}

    def wrap(self, classifier: keras.Model, parts: Mapping[str, Any], spec: Experiment) -> Defended:
        """See `InputDefence.wrap`; attacks get the straight-through gradient unless they ask for the descent's own."""
        own = spec.own
        options = dict(steps=own.projection_steps, restarts=own.projection_restarts, rate=own.projection_rate)
        image = keras.Input(classifier.input_shape[1:])
        model, surrogate = (
            keras.Model(image, classifier(projected(image, parts[GENERATOR], straight_through=stands_in, **options)))
            for stands_in in (False, True)
        )
        settings = {"defence": self.name, **options}
        return Defended(model=model, surrogate=surrogate, undefended=classifier, settings=settings)
