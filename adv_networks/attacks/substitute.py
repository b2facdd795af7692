"""Black-box attacks: crafted on a substitute network that is trained only on the target's labels."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from adv_networks import networks, runtime
from adv_networks.attacks.base import Crafted, register, setting
from adv_networks.attacks.geometry import finite
from adv_networks.attacks.gradient import predict
from adv_networks.attacks.inputs import as_images, classes_of
from adv_networks.attacks.quantities import as_scalar, check_counts
from adv_networks.attacks.wrapper import Wrapper
from adv_networks.errors import UsageError
from adv_networks.lazy import keras, np, tf
from adv_networks.runtime import run_compiled

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed

# The substitutes of Samangouei et al., 2018, with the smallest image side that each takes, and their training settings there.
_LEAST_SIDES = {"dg_b": 27, "dg_e": 1}
_LEARNING_RATE, _BATCH_SIZE = 0.001, 128
_LABELLED_AT_ONCE = 250


class _Learned(NamedTuple):
    """A substitute, and what the inner attack has learned on it."""

    model: keras.Model
    state: Any


@register("substitute", "another attack on a network trained on the target's labels; name it last: substitute:attack=fgs")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Substitute(Wrapper):
    """The attack `substitute` as a column of tables: it reads only the target's labels, for images that it chooses.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x, y = np.full((2, 8, 8, 1), 0.5), np.array([0, 1])
        >>> attack = attacks.Substitute(rounds=2, epochs=1, wrapped=attacks.FGS(epsilon=0.1))
        >>> trained = attack.fit(model, x, y)
        >>> attack.craft(model, x, y, state=trained).shape
        TensorShape([2, 8, 8, 1])
    """

    kind: ClassVar[str] = "substitute"
    access: ClassVar[str] = "labels"
    learns: ClassVar[bool] = True

    attack: str = setting("fgs", "attack on the substitute, with its own arguments; give it last")
    network: str = setting(
        "dg_e", "the substitute: Defense-GAN's model B (convolutional) or E (two layers of 200)", choices=tuple(_LEAST_SIDES)
    )
    images: int = setting(150, "training images to begin with", least=1)
    rounds: int = setting(6, "rounds of training; the number of images doubles between them", least=1, most=12)
    step: float = setting(0.1, "size of the step that makes a new image (λ), on the [0,1] scale", above=0, most=1)
    epochs: int = setting(10, "epochs of training in each round", least=1)

    @property
    def learning_images(self) -> int:
        """See `Attack.learning_images`."""
        return self.images

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """See `Attack.check`.

        Raises:
            UsageError: also an inner attack that is not crafted on a classifier.
        """
        if self.wrapped.access == "generator" or not self.wrapped.has_source:
            raise UsageError(f"attack substitute: expected an attack on a classifier, received {self.wrapped.name}")
        super().check(classes=classes, bn_evaluation=bn_evaluation)

    def fit(self, source: keras.Model, images: np.ndarray, labels: np.ndarray) -> _Learned:
        """Trains the substitute; see `train_substitute`.

        Raises:
            UsageError: also images that are too small for the network.
        """
        height, width, _ = source.input_shape[1:]
        if min(height, width) < _LEAST_SIDES[self.network]:
            least = f"images of at least {_LEAST_SIDES[self.network]} pixels a side with network={self.network}"
            raise UsageError(f"attack substitute: expected {least}, received {height}×{width}")
        network = fresh_substitute(self.network, source.input_shape[1:], source.output_shape[-1], seed=self.seed)
        how = dict(rounds=self.rounds, step=self.step, epochs=self.epochs, network=network, seed=self.seed)
        model = train_substitute(source, images, **how)
        state = self.wrapped.fit(model, images, labels) if self.wrapped.learns else None
        return _Learned(model, state)

    def craft(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> tf.Tensor:
        """See `Attack.craft`."""
        return self.crafted(source, x, y, seed=seed, training=training, state=state).images

    def crafted(
        self, source: keras.Model, x: Array, y: Array, *, seed: Seed = 0, training: bool = False, state: Any = None
    ) -> Crafted:
        """See `Attack.crafted`; the target is not asked about these images.

        Raises:
            UsageError: `fit` was not called.
        """
        if not isinstance(state, _Learned):
            raise UsageError(f"attack {self.name}: expected the substitute that `fit` trains, received nothing")
        made = self.wrapped.crafted(state.model, x, y, seed=seed, training=training, state=state.state)
        return made._replace(queries=None)


def train_substitute(
    target: keras.Model,
    x: Array,
    *,
    rounds: int = 6,
    step: float = 0.1,
    epochs: int = 10,
    network: keras.Model | None = None,
    seed: int = 0,
) -> keras.Model:
    """Trains a network on the target's labels of a few images, with Jacobian-based data augmentation.

    Papernot, McDaniel, Goodfellow, Jha, Celik and Swami, 2017, "Practical black-box attacks against machine learning". After
    each round but the last, every image x gets a new image added: x + λ sign ∂z_k/∂x, clipped to [0,1], where z are the
    substitute's logits and k is the target's label of x. The target labels each image once, so it answers 2^(rounds − 1)
    queries for every image of x. Nothing else of it is read, and no label of the data set.

    Six rounds double the images five times, from 150 to 4,800, as in Defense-GAN's released code. That code differs in two
    ways: it begins with the true labels, and it does not clip the images.

    Args:
        target: classifier under attack; only the index of its largest logit is read.
        x: images, uint8 or floats in [0,1], [batch, height, width, channels].
        rounds: number of rounds of training.
        step: λ, on the [0,1] scale.
        epochs: number of epochs per round, each over all images so far, with Adam and batches of 128.
        network: the network to train, with fresh weights: images in [0,1] to logits of the target's classes. None for two
            layers of 200 ReLUs. If it went through `runtime.prepare`, its dropout follows the seed.
        seed: seed of the default network's weights, of the order of the images, and of dropout.

    Returns:
        The network.

    Raises:
        UsageError: no round or epoch, a step that is not above 0, a network for other images or classes, or invalid images.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> attacks.train_substitute(model, np.zeros((4, 8, 8, 1), np.uint8), rounds=2, epochs=1).output_shape
        (None, 3)
    """
    check_counts(rounds=rounds, epochs=epochs)
    if not 0 < step < math.inf:
        raise UsageError(f"step: expected a value above 0, received {step}")
    x = as_images(target, x).numpy()
    if not len(x):
        raise UsageError("images: expected at least one, received none")
    y = _labels(target, x)
    model = network
    if model is None:
        model = fresh_substitute("dg_e", x.shape[1:], classes_of(target, x) or int(y.max()) + 1, seed=seed)
    expected, received = classes_of(target, x), classes_of(model, x)
    if received != (expected or received):
        raise UsageError(f"network: expected logits of {expected} classes, received {received}")
    optimizer = runtime.adam(_LEARNING_RATE)
    train, rng, steps = _compiled_step(model, optimizer), np.random.default_rng(seed), itertools.count()
    for number in range(rounds):
        for _ in range(epochs):
            order = rng.permutation(len(x))
            for start in range(0, len(x), _BATCH_SIZE):
                rows = order[start : start + _BATCH_SIZE]
                train(tf.constant(x[rows]), tf.constant(y[rows]), tf.constant([seed, next(steps)]))
        if number < rounds - 1:
            further = _augmented(model, x, y, step)
            x, y = np.concatenate([x, further]), np.concatenate([y, _labels(target, further)])
    return model


def fresh_substitute(network: str, shape: tuple[int, ...], classes: int, *, seed: int = 0) -> keras.Model:
    """One of Defense-GAN's classifiers, with kernels drawn from the seed.

    Args:
        network: "dg_b" or "dg_e"; the latter is two layers of 200 ReLUs.
        shape: shape of an image.
        classes: number of classes.
        seed: seed of the kernels, which are Glorot-uniform.
    """
    model = networks.dg(network.removeprefix("dg_"), shape, classes)
    kernels = [weight for weight in model.trainable_variables if len(weight.shape) > 1]
    for number, kernel in enumerate(kernels):
        kernel.assign(keras.initializers.GlorotUniform(seed=len(kernels) * seed + number)(kernel.shape))
    return runtime.prepare(model)


def _compiled_step(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Any:
    """A compiled training step on a batch of any size."""
    optimizer.build(model.trainable_variables)

    def train(x, y, seed):
        with runtime.dropping(seed), tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        gradient = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        optimizer.apply(gradient, model.trainable_variables)

    dtype = model.variable_dtype
    return tf.function(
        train,
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, *model.input_shape[1:]], dtype),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([2], tf.int32),
        ],
    )


def _step_up(model, x, y, length):
    """The images moved by `length` along the sign of the gradient of y's logit, clipped to [0,1]."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = networks.discarding_statistics(model, x, training=False)
        total = tf.reduce_sum(tf.gather(logits, y, batch_dims=1))
    gradient = finite(tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO))
    return tf.clip_by_value(x + length * tf.sign(gradient), 0, 1)


def _augmented(model: keras.Model, x: np.ndarray, y: np.ndarray, step: float) -> np.ndarray:
    """One new image for each image."""
    parts = []
    for start in range(0, len(x), _LABELLED_AT_ONCE):
        own = (tf.constant(part[start : start + _LABELLED_AT_ONCE]) for part in (x, y))
        parts.append(run_compiled(_step_up, model, *own, as_scalar(step, tf.as_dtype(x.dtype))).numpy())
    return np.concatenate(parts)


def _labels(target: keras.Model, x: np.ndarray) -> np.ndarray:
    """The target's labels, int32 [images]."""
    parts = (x[start : start + _LABELLED_AT_ONCE] for start in range(0, len(x), _LABELLED_AT_ONCE))
    return np.concatenate([np.argmax(predict(target, part), 1) for part in parts]).astype(np.int32)
