"""The attacks against their equations, against other libraries, and against what they promise.

The references here use nothing of the project: gradients by hand in NumPy for a smooth network, Keras' for one with BN.
"""

from __future__ import annotations

import collections
import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from adv_networks import attacks, data, networks
from adv_networks.attacks.geometry import project
from adv_networks.errors import UsageError
from adv_networks.experiments import NORMS
from adv_networks.runtime import trace_counts
from tests.conftest import classifier_of_roots, precision, randomised

pytestmark = pytest.mark.usefixtures("shallow")
# oneDNN has no kernels of double precision: what is computed in it alone is the same with others.
numerics = pytest.mark.numerics

# Neither these nor a quarter of them are numbers of float32 or float64.
EPSILON = 0.15
SIZES = {"linf": EPSILON, "l2": 0.7, "l1": 2.3}
EPSILONS = (0, 0.03, 0.3, 1)
GENERATOR_WIDTH = 4


# --- References ------------------------------------------------------------------------------------------------------


class Reference(NamedTuple):
    """A classifier of the reference: its logits, and the gradient of the summed loss with respect to the images."""

    logits: Callable[[np.ndarray], np.ndarray]
    gradient: Callable[[np.ndarray, np.ndarray], np.ndarray]


def climb(reference, x, y, epsilon, step_size, steps, start=None, *, norm="linf") -> np.ndarray:
    """Eq. 7 from `start`: steps along the sign of the gradient, each projected on the ε-ball, then on [0,1].

    In l2 and l1 along the gradient over its own norm.
    """
    adversarial = x if start is None else start
    for _ in range(steps):
        gradient = reference.gradient(adversarial, y)
        direction = np.sign(gradient) if norm == "linf" else gradient / length(gradient, norm)
        adversarial = adversarial + step_size * direction
        adversarial = np.clip(x + nearest(adversarial - x, epsilon, norm), 0, 1)
    return adversarial


def length(images: np.ndarray, norm: str) -> np.ndarray:
    """The norm of each image [batch, 1, 1, 1], in double precision."""
    size = np.abs(np.asarray(images, np.float64))
    if norm == "linf":
        return size.max((1, 2, 3), keepdims=True)
    return size.sum((1, 2, 3), keepdims=True) if norm == "l1" else np.sqrt((size**2).sum((1, 2, 3), keepdims=True))


def nearest(perturbations: np.ndarray, epsilon: float, norm: str) -> np.ndarray:
    """The nearest perturbations of norm ε at most. In l1 all pixels shrink by one amount, found here by halving intervals."""
    if norm == "linf":
        return np.clip(perturbations, -epsilon, epsilon)
    if norm == "l2":
        return perturbations / np.maximum(1, length(perturbations, norm) / epsilon)
    size = np.abs(perturbations)
    low, high = np.zeros_like(size[:, :1, :1, :1]), size.max((1, 2, 3), keepdims=True)
    for _ in range(100):
        middle = (low + high) / 2
        too_long = length(np.maximum(size - middle, 0), "l1") > epsilon
        low, high = np.where(too_long, middle, low), np.where(too_long, high, middle)
    inside = length(perturbations, "l1") <= epsilon
    return np.where(inside, perturbations, np.sign(perturbations) * np.maximum(size - high, 0))


class Case(NamedTuple):
    """An attack without random numbers as the project computes it and as the reference does."""

    run: Callable[..., tf.Tensor]
    expected: Callable[..., np.ndarray]


CASES = {
    "fgs (Eq. 6)": Case(
        attacks.fgs, lambda reference, x, y, epsilon, **norm: climb(reference, x, y, epsilon, epsilon, 1, **norm)
    ),
    "fgs of the predicted label": Case(
        lambda model, x, _, epsilon, **options: attacks.fgs(model, x, None, epsilon, **options),
        lambda reference, x, y, epsilon, **norm: climb(
            reference, x, np.argmax(reference.logits(x), 1), epsilon, epsilon, 1, **norm
        ),
    ),
    "least likely (Eq. 8)": Case(
        lambda model, x, _, epsilon, **options: attacks.least_likely(model, x, epsilon, **options),
        lambda reference, x, y, epsilon, **norm: climb(
            reference, x, np.argmin(reference.logits(x), 1), epsilon, -epsilon, 1, **norm
        ),
    ),
    "pgd (Eq. 7)": Case(
        lambda *inputs, **options: attacks.pgd(*inputs, random_start=False, **options),
        lambda reference, x, y, epsilon, **norm: climb(reference, x, y, epsilon, epsilon / 4, 10, **norm),
    ),
    "pgd of another step size": Case(
        lambda model, x, y, epsilon, **options: attacks.pgd(
            model, x, y, epsilon, step_size=0.7 * epsilon, steps=3, random_start=False, **options
        ),
        lambda reference, x, y, epsilon, **norm: climb(reference, x, y, epsilon, 0.7 * epsilon, 3, **norm),
    ),
    "targeted pgd": Case(
        lambda *inputs, **options: attacks.pgd(*inputs, random_start=False, targeted=True, **options),
        lambda reference, x, y, epsilon, **norm: climb(reference, x, y, epsilon, -epsilon / 4, 10, **norm),
    ),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
each_norm = pytest.mark.parametrize("norm", SIZES)
each_other_norm = pytest.mark.parametrize("norm", ["l2", "l1"])


# --- Models and images -----------------------------------------------------------------------------------------------


class Subject(NamedTuple):
    """A model under attack, its reference where there is one, and images in [0,1] with labels."""

    model: keras.Model
    x: np.ndarray
    y: np.ndarray
    reference: Reference | None = None


def random_images(shape: tuple[int, ...], *, seed: int = 0) -> np.ndarray:
    """Images uint8, a good part of the pixels at 0 and at 255."""
    return np.random.default_rng(seed).integers(-80, 336, shape).clip(0, 255).astype(np.uint8)


def random_labels(count: int, classes: int, *, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, count).astype(np.int32)


def numpy_of_smooth_network(weights: list[np.ndarray]) -> Reference:
    """The reference of flatten, dense and tanh, dense and softplus, dense; backpropagated by hand."""
    kernel_1, bias_1, kernel_2, bias_2, kernel_3, bias_3 = weights

    def forward(x):
        first = np.tanh(2 * (x.reshape(len(x), -1) - 0.5) @ kernel_1 + bias_1)
        before_second = first @ kernel_2 + bias_2
        return first, before_second, np.logaddexp(0, before_second) @ kernel_3 + bias_3

    def gradient(x, y):
        first, before_second, logits = forward(x)
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        back = (probabilities - np.eye(logits.shape[1])[y]) @ kernel_3.T
        back = back / (1 + np.exp(-before_second)) @ kernel_2.T
        return (2 * (back * (1 - first**2)) @ kernel_1.T).reshape(x.shape)

    return Reference(lambda x: forward(x)[2], gradient)


def keras_of_copy(model: keras.Model, *, training: bool) -> Reference:
    """The reference of a copy of the model, whose averages may move."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())

    @tf.function
    def gradient(x, y):
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = copy(x, training=training)
            loss = tf.reduce_sum(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))
        return tape.gradient(loss, x)

    return Reference(
        lambda x: copy(x, training=training).numpy(), lambda x, y: gradient(tf.constant(x), tf.constant(y)).numpy()
    )


@pytest.fixture
def smooth(float64) -> Subject:
    """A small network without kinks, in double precision; always the same one, for the sake of its compiled graphs."""
    return _smooth()


@functools.cache
def _smooth() -> Subject:
    layers = keras.layers
    image = keras.Input((4, 4, 2))
    x = layers.Flatten()(layers.Rescaling(2, -1)(image))
    x = layers.Dense(16, "softplus")(layers.Dense(24, "tanh")(x))
    model = randomised(keras.Model(image, layers.Dense(5)(x)))
    images = random_images((40, 4, 4, 2)) / 255
    return Subject(model, images, random_labels(40, 5), numpy_of_smooth_network(model.get_weights()))


def with_batch_normalisation() -> keras.Model:
    """A small network of colour images with random weights, whose statistics of a batch are not its averages."""
    image, layers = keras.Input((4, 4, 3)), keras.layers
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(layers.Rescaling(2, -1)(image))
    x = layers.Flatten()(layers.ReLU()(layers.BatchNormalization()(x)))
    return randomised(keras.Model(image, layers.Dense(10)(x)))


@pytest.fixture(scope="module")
def classifiers() -> dict[str, keras.Model]:
    """One of grey images, with max-pooling, and one of colours, with BN."""
    return {"d1": randomised(networks.d1((8, 8, 1), 10, 16)), "with BN": with_batch_normalisation()}


@pytest.fixture(scope="module")
def batches(classifiers) -> dict[str, list[tuple[tf.Tensor, tf.Tensor]]]:
    """For each of them a batch of one image, one of seven, and the three that are left."""
    found = {}
    for name, model in classifiers.items():
        images, labels = random_images((10, *model.input_shape[1:])), random_labels(10, 10)
        parts = (data.batches(images, labels, size, training=False) for size in (1, 7))
        found[name] = [batch for part, count in zip(parts, (1, 2), strict=True) for batch in itertools.islice(part, count)]
        assert [len(x) for x, _ in found[name]] == [1, 7, 3]
    return found


def accuracy(model: keras.Model, x, y) -> float:
    return float(np.mean(predictions(model, x) == y))


def predictions(model: keras.Model, x) -> np.ndarray:
    return np.argmax(model(x, training=False), 1)


def agreement(a, b) -> float:
    """The fraction of pixels that are the same up to rounding in float32."""
    return float(np.mean(np.abs(np.asarray(a) - np.asarray(b)) < 1e-6))


def assert_same_up_to_rounding(ours, theirs) -> None:
    """In float32, and for all images but one in fifty.

    Where the loss is flat, a last bit of the image changes the computed gradient by a few 1e-5 of its size, and a step in l2
    or l1 has a length that does not shrink with it: ten steps have moved pixels by 1.3e-5. The few images are for units and
    signs that are zero but for rounding, which take a path elsewhere. In double precision every image is held to a bound.
    """
    farthest = np.abs(np.asarray(ours) - np.asarray(theirs)).max((1, 2, 3))
    assert np.mean(farthest > 1e-4) <= 0.02, np.sort(farthest)


# --- The equations ---------------------------------------------------------------------------------------------------


@each_norm
@each_case
def test_attack_is_its_equation_in_double_precision(case, norm, smooth):
    epsilon = SIZES[norm]
    expected = case.expected(smooth.reference, smooth.x, smooth.y, epsilon, norm=norm)
    found = case.run(smooth.model, smooth.x, smooth.y, epsilon, norm=norm)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert length(expected - smooth.x, norm).max() > 0.8 * epsilon


@each_norm
@pytest.mark.parametrize("clip_start", [True, False])
def test_pgd_climbs_from_its_random_start(clip_start, norm, smooth):
    epsilon = SIZES[norm]
    start = smooth.x + epsilon * random_starts(smooth, len(smooth.x), seed=3, norm=norm)
    assert start.min() < -0.05 and start.max() > 1.05
    start = np.clip(start, 0, 1) if clip_start else start
    expected = climb(smooth.reference, smooth.x, smooth.y, epsilon, epsilon / 4, 2, start, norm=norm)
    found = attacks.pgd(smooth.model, smooth.x, smooth.y, epsilon, steps=2, seed=3, clip_start=clip_start, norm=norm)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def random_starts(subject: Subject, count: int, *, seed: int, norm: str = "linf") -> np.ndarray:
    """The random starts of grey images, which no clipping touches, in units of ε: PGD whose step has no length."""
    x, y = np.full((count, *subject.x.shape[1:]), 0.5), np.zeros(count, np.int32)
    settings = dict(step_size=0.0, steps=1, seed=seed, norm=norm)
    return (attacks.pgd(subject.model, x, y, EPSILON, **settings).numpy() - x) / EPSILON


def test_random_starts_are_uniform_in_the_ball(smooth):
    unit = random_starts(smooth, len(smooth.x), seed=0)
    count = unit.size
    assert len(np.unique(unit)) == count
    assert np.abs(unit).max() <= 1 + 1e-12
    distance = np.abs((np.sort(unit.ravel()) + 1) / 2 - (np.arange(count) + 0.5) / count).max()
    assert distance < 1.63 / np.sqrt(count), "Kolmogorov-Smirnov at 1%"


@each_other_norm
def test_random_starts_are_uniform_in_the_ball_of_the_norm(norm, smooth):
    """The n-th power of the norm of a uniform point is uniform in [0,1], and apart from it the p-th power of a pixel's share
    of the norm is Beta(1/p, (n-1)/p)."""
    unit, power = random_starts(smooth, 500, seed=0, norm=norm), {"l2": 2, "l1": 1}[norm]
    pixels = unit[0].size
    size = length(unit, norm)
    shares = np.abs(unit / size).reshape(len(unit), pixels) ** power
    assert scipy.stats.kstest(size.ravel() ** pixels, "uniform").pvalue > 0.01
    assert scipy.stats.kstest(shares[:, ::5].ravel(), scipy.stats.beta(1 / power, (pixels - 1) / power).cdf).pvalue > 0.01
    assert scipy.stats.binomtest(int((unit > 0).sum()), unit.size).pvalue > 0.01
    assert len(np.unique(unit)) == unit.size
    assert np.abs(np.corrcoef(unit.reshape(len(unit), pixels).T) - np.eye(pixels)).max() < 5 / np.sqrt(len(unit))


DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}


@pytest.mark.parametrize("kind", ["normal", "sparse", "ties", "inside", "zero"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
@each_norm
def test_projection_is_the_nearest_point_of_the_ball(norm, dtype, tolerance, kind):
    """It is within the ball, and the rest r has ⟨r, p⟩ = ε‖r‖ in the dual norm, so no point of the ball is farther along r."""
    rng, shape = np.random.default_rng(0), (50, 4, 4, 3)
    perturbation = {
        "normal": rng.normal(size=shape),
        "sparse": rng.normal(size=shape) ** 5,
        "ties": rng.integers(-2, 3, shape) / 4,
        "inside": rng.uniform(-1, 1, shape) / 1e4,
        "zero": np.zeros(shape),
    }[kind].astype(dtype)
    centre = np.zeros(shape, dtype)  # Both halves of the perturbation, for what is below zero is clipped there.
    for epsilon in (0.02, 0.5, 0.9):
        halves = [projected(centre, sign * perturbation, epsilon, norm) for sign in (1, -1)]
        point = np.float64(halves[0] - halves[1])
        rest = perturbation - point
        assert (length(point, norm) <= epsilon * (1 + tolerance)).all()
        np.testing.assert_allclose(
            (rest * point).sum((1, 2, 3)),
            epsilon * length(rest, DUAL[norm]).ravel(),
            rtol=tolerance,
            atol=tolerance * epsilon,
        )
        expected = nearest(np.float64(perturbation), epsilon, norm)
        np.testing.assert_allclose(point, expected, rtol=0, atol=tolerance)
        if kind in ("inside", "zero"):
            np.testing.assert_allclose(point, perturbation, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(projected(centre, perturbation, 0.0, norm), centre)


def projected(x, perturbation, epsilon: float, norm: str) -> np.ndarray:
    epsilon = tf.constant(epsilon, x.dtype)
    return project(tf.constant(x), tf.constant(x + perturbation), epsilon, NORMS[norm]).numpy()


@pytest.fixture(scope="module")
def linear() -> keras.Model:
    """A linear classifier of five classes."""
    return keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Flatten(), keras.layers.Dense(5, use_bias=False)])


@numerics
@pytest.mark.parametrize("scale", [1.0, 1e-15, 1e-30, 0.0])
@each_norm
def test_small_gradients_have_a_direction_and_none_has_none(norm, scale, linear):
    kernel, model = np.random.default_rng(0).normal(size=(32, 5)).astype(np.float32), linear
    x, y, epsilon = np.full((4, 4, 4, 2), np.float32(0.5)), np.array([0, 1, 2, 4], np.int32), 0.3
    model.set_weights([kernel * 1e-3])
    expected = attacks.fgs(model, x, y, epsilon, norm=norm) if scale else x
    model.set_weights([kernel * np.float32(1e-3 * scale)])
    for attack in (attacks.fgs, functools.partial(attacks.pgd, random_start=False)):
        found = attack(model, x, y, epsilon, norm=norm)
        if attack is attacks.fgs or not scale:
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * epsilon)
        else:
            assert (length(found - x, norm) > 0.99 * epsilon).all()


@pytest.fixture(scope="module")
def of_roots():
    return classifier_of_roots()


@numerics
@pytest.mark.parametrize("attack", [attacks.fgs, functools.partial(attacks.pgd, random_start=False)], ids=["fgs", "pgd"])
@each_norm
def test_pixels_without_a_finite_gradient_stay_and_the_others_move(norm, attack, of_roots):
    model, x, y = of_roots
    found = attack(model, x, y, SIZES[norm], norm=norm).numpy()
    assert (length(found - x, norm) <= SIZES[norm] * (1 + 1e-5)).all()
    assert found.min() >= 0 and found.max() <= 1
    np.testing.assert_array_equal(found[:, 0], 0)
    assert (losses(model, found, y) > losses(model, x, y)).all()


def losses(model, x, y):
    return keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True).numpy()


def test_fgs_follows_the_finite_difference_of_the_loss(smooth):
    x = 0.2 + 0.6 * smooth.x  # away from where the result is clipped
    h = 1e-5

    def loss(images):
        logits = smooth.model(images, training=False).numpy()
        labels = np.resize(smooth.y, len(images))
        return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(images)), labels]

    pixels = x[0].size
    moved = x[None] + h * np.eye(pixels).reshape(pixels, 1, *x.shape[1:]) * np.array([1, -1]).reshape(2, 1, 1, 1, 1, 1)
    above, below = loss(moved.reshape(-1, *x.shape[1:])).reshape(2, pixels, len(x))
    difference = ((above - below) / (2 * h)).T.reshape(x.shape)
    clear = np.abs(difference) > 1e-6
    direction = np.sign(attacks.fgs(smooth.model, x, smooth.y, EPSILON).numpy() - x)
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(direction[clear], np.sign(difference[clear]))


@numerics
def test_fgs_without_labels_takes_the_predicted_ones(partly_robust):
    model, x, y, epsilon, _ = partly_robust
    predicted = np.argmax(model(x, training=False), 1)
    wrong = predicted != y
    assert wrong.any()
    without_labels = attacks.fgs(model, x, None, epsilon).numpy()
    np.testing.assert_array_equal(without_labels, attacks.fgs(model, x, predicted, epsilon))
    assert agreement(without_labels[wrong], attacks.fgs(model, x, y, epsilon).numpy()[wrong]) < 0.9


@numerics
def test_least_likely_is_one_step_towards_the_least_likely_class(partly_robust):
    model, x, _, epsilon, _ = partly_robust
    logits = model(x, training=False).numpy()
    target = np.argmin(logits, 1)
    found = attacks.least_likely(model, x, epsilon)
    one_step = attacks.pgd(model, x, target, epsilon, step_size=epsilon, steps=1, random_start=False, targeted=True)
    np.testing.assert_array_equal(found, one_step)
    before, after = (probability_of(target, values) for values in (logits, model(found, training=False)))
    assert np.mean(after > before) > 0.99


def probability_of(classes: np.ndarray, logits) -> np.ndarray:
    return tf.nn.softmax(logits).numpy()[np.arange(len(classes)), classes]


# --- Other libraries -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def foolbox():
    return pytest.importorskip("foolbox")


def foolbox_attack(foolbox, model, x, y, attack, epsilon) -> np.ndarray:
    wrapped = foolbox.TensorFlowModel(lambda images: model(images, training=False), bounds=(0, 1))
    labels = tf.convert_to_tensor(y, tf.int32)
    return attack.run(wrapped, tf.convert_to_tensor(x), foolbox.criteria.Misclassification(labels), epsilon=epsilon)


def foolbox_pgd(foolbox, epsilon, *, norm="linf", random_start=False, steps=10, step_size=None):
    kinds = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD, "l1": foolbox.attacks.L1PGD}
    return kinds[norm](abs_stepsize=step_size or epsilon / 4, steps=steps, random_start=random_start)


def foolbox_fgs(foolbox, norm):
    kinds = foolbox.attacks
    return {"linf": kinds.LinfFastGradientAttack, "l2": kinds.L2FastGradientAttack, "l1": kinds.L1FastGradientAttack}[norm]()


# On the partly robust classifier these, too, fool it on some of the images.
ROBUST_SIZES = {"linf": 0.15, "l2": 0.9, "l1": 5.0}


@numerics
@each_norm
def test_fgs_is_that_of_foolbox(norm, foolbox, partly_robust):
    model, x, y, _, _ = partly_robust
    epsilon = ROBUST_SIZES[norm]
    x, y = x[::5], y[::5]
    theirs = foolbox_attack(foolbox, model, x, y, foolbox_fgs(foolbox, norm), epsilon)
    ours = attacks.fgs(model, x, y, epsilon, norm=norm)
    assert_same_up_to_rounding(ours, theirs)
    assert 0.05 < accuracy(model, ours, y) < 0.95


# In l1 Foolbox scales down what has left the ball. Its steps are ours while they stay within, and with a projection that is
# the nearest point, for which the toolbox's is put in.
PGD_OF_FOOLBOX = {"linf": ("linf", 4, False), "l2": ("l2", 4, False), "l1, within": ("l1", 10, False), "l1": ("l1", 4, True)}
each_pgd_of_foolbox = pytest.mark.parametrize("norm, fraction, replaced", PGD_OF_FOOLBOX.values(), ids=PGD_OF_FOOLBOX)


def project_by_art(attack):
    """The attack of Foolbox with the toolbox's projection on the l1 ball."""
    projection = pytest.importorskip("art.utils").projection

    def project(x, centre, epsilon):
        perturbation = projection((x - centre).numpy(), epsilon, 1, suboptimal=False)
        return centre + ep.astensor(tf.constant(perturbation))

    ep = pytest.importorskip("eagerpy")
    attack.project = project
    return attack


def both_pgd(foolbox, model, x, y, norm, epsilon, fraction, replaced) -> tuple[tf.Tensor, tf.Tensor]:
    """PGD without a random start, ours and Foolbox's."""
    theirs = foolbox_pgd(foolbox, epsilon, norm=norm, step_size=epsilon / fraction)
    theirs = foolbox_attack(foolbox, model, x, y, project_by_art(theirs) if replaced else theirs, epsilon)
    return attacks.pgd(model, x, y, epsilon, norm=norm, step_size=epsilon / fraction, random_start=False), theirs


@numerics
@each_pgd_of_foolbox
def test_pgd_without_random_start_is_that_of_foolbox(norm, fraction, replaced, foolbox, partly_robust):
    model, x, y, _, _ = partly_robust
    ours, theirs = both_pgd(foolbox, model, x[::20], y[::20], norm, ROBUST_SIZES[norm], fraction, replaced)
    assert_same_up_to_rounding(ours, theirs)


@pytest.fixture(scope="module")
def in_double_precision(partly_robust) -> Subject:
    """The partly robust classifier, which has kinks, and some of its images."""
    model, x, y, _, _ = partly_robust
    with precision("float64"):
        copy = networks.d1(x.shape[1:], 10, 16)
    copy.set_weights(model.get_weights())
    return Subject(copy, np.float64(x[::40]), y[::40])


@each_pgd_of_foolbox
def test_pgd_is_exactly_that_of_foolbox_in_double_precision(norm, fraction, replaced, foolbox, smooth, in_double_precision):
    for subject, sizes, tolerance in ((smooth, SIZES, 1e-12), (in_double_precision, ROBUST_SIZES, 1e-9)):
        ours, theirs = both_pgd(foolbox, *subject[:3], norm, sizes[norm], fraction, replaced)
        assert theirs.dtype == tf.float64
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@each_norm
def test_fgs_is_exactly_that_of_foolbox_in_double_precision(norm, foolbox, smooth, in_double_precision):
    for (model, x, y, _), sizes in ((smooth, SIZES), (in_double_precision, ROBUST_SIZES)):
        theirs = foolbox_attack(foolbox, model, x, y, foolbox_fgs(foolbox, norm), sizes[norm])
        assert theirs.dtype == tf.float64
        np.testing.assert_allclose(attacks.fgs(model, x, y, sizes[norm], norm=norm), theirs, rtol=0, atol=1e-12)


@numerics
@pytest.mark.parametrize(("norm", "steps"), [("linf", 4), ("l2", 4), ("l1", 1)])
def test_accuracy_under_pgd_with_random_starts_is_that_of_foolbox(norm, steps, foolbox, partly_robust):
    model, x, y, _, _ = partly_robust
    epsilon = ROBUST_SIZES[norm]
    tf.random.set_seed(0)
    attack = foolbox_pgd(foolbox, epsilon, norm=norm, random_start=True, steps=steps)
    theirs = accuracy(model, foolbox_attack(foolbox, model, x, y, attack, epsilon), y)
    ours = accuracy(model, attacks.pgd(model, x, y, epsilon, norm=norm, steps=steps), y)
    standard_error = np.sqrt((ours * (1 - ours) + theirs * (1 - theirs)) / len(y))
    assert abs(ours - theirs) <= 3 * standard_error


@numerics
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["fgs", "pgd"])
def test_attack_is_that_of_the_adversarial_robustness_toolbox(name, norm, partly_robust):
    pytest.importorskip("art")
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import TensorFlowV2Classifier

    model, x, y, epsilon = partly_robust.model, partly_robust.x[::10], partly_robust.y[::10], ROBUST_SIZES[norm]
    wrapped = TensorFlowV2Classifier(
        model, nb_classes=10, input_shape=x.shape[1:], clip_values=(0, 1),
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
    )  # fmt: skip
    settings = dict(norm={"linf": np.inf, "l2": 2}[norm], eps=epsilon, num_random_init=0, batch_size=len(x))
    if name == "fgs":
        theirs = FastGradientMethod(wrapped, **settings).generate(x, y)
        ours = attacks.fgs(model, x, y, epsilon, norm=norm)
    else:
        # In l2 with steps that stay within the ball: the toolbox clips to [0,1] first and projects then.
        step_size = epsilon / {"linf": 4, "l2": 10}[norm]
        settings.update(eps_step=step_size, max_iter=10, verbose=False)
        theirs = ProjectedGradientDescent(wrapped, **settings).generate(x, y)
        ours = attacks.pgd(model, x, y, epsilon, norm=norm, step_size=step_size, random_start=False)
    assert_same_up_to_rounding(ours, theirs)


# --- What every result keeps to --------------------------------------------------------------------------------------

EVERY_ATTACK = {
    "fgs": attacks.fgs,
    "fgs, predicted label": lambda model, x, _, epsilon, **options: attacks.fgs(model, x, None, epsilon, **options),
    "least likely": lambda model, x, _, epsilon, **options: attacks.least_likely(model, x, epsilon, **options),
    "pgd": attacks.pgd,
    "targeted pgd": lambda *inputs, **options: attacks.pgd(*inputs, targeted=True, **options),
    "pgd with restarts": lambda *inputs, **options: attacks.pgd(*inputs, restarts=2, steps=2, **options),
    "pgd with large steps": lambda *inputs, **options: attacks.pgd(*inputs, step_size=10.0, steps=2, **options),
    "pgd from anywhere": lambda *inputs, **options: attacks.pgd(*inputs, steps=1, clip_start=False, **options),
}
each_attack = pytest.mark.parametrize("attack", EVERY_ATTACK.values(), ids=EVERY_ATTACK.keys())


def assert_within(adversarial: tf.Tensor, x: tf.Tensor, epsilon: float, norm: str = "linf") -> None:
    assert adversarial.dtype == x.dtype
    assert adversarial.shape == x.shape
    adversarial, x = np.asarray(adversarial), np.asarray(x)
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    size = length(adversarial - np.float64(x), norm)
    rounding = 1e-7 * {"linf": 1, "l2": np.sqrt(x[0].size), "l1": x[0].size}[norm]
    assert size.max() <= epsilon + rounding
    if epsilon == 0:
        np.testing.assert_array_equal(adversarial, x)
    elif norm == "linf":
        assert size.max() > 0.5 * epsilon
    elif epsilon < 0.5 * LARGEST[norm]:  # Of larger ones hardly anything is left in [0,1].
        assert size.max() > 0.3 * epsilon


# What any image of the classifiers' 64 or 48 pixels is within, or almost.
LARGEST = {"linf": 1, "l2": 8, "l1": 64}


@pytest.mark.parametrize("part", EPSILONS)
@pytest.mark.parametrize(("network", "norm"), [("d1", "linf"), ("with BN", "l2"), ("with BN", "l1")])
@each_attack
def test_result_is_within_epsilon_and_the_pixel_range(attack, network, norm, part, classifiers, batches):
    epsilon = part * LARGEST[norm]
    for x, y in batches[network]:
        assert_within(attack(classifiers[network], x, y, epsilon, norm=norm), x, epsilon, norm)


@each_norm
@each_attack
def test_double_precision_is_kept(attack, norm, smooth):
    found = attack(smooth.model, smooth.x, smooth.y, SIZES[norm], norm=norm)
    assert found.dtype == tf.float64
    assert length(found.numpy() - smooth.x, norm).max() <= SIZES[norm] + 1e-15 * (1 if norm == "linf" else smooth.x[0].size)
    assert found.numpy().min() >= 0 and found.numpy().max() <= 1


# --- Strength --------------------------------------------------------------------------------------------------------


@numerics
def test_accuracy_under_pgd_falls_with_epsilon_to_zero_and_is_no_higher_than_under_fgs(partly_robust):
    model, x, y = partly_robust.model, partly_robust.x[::8], partly_robust.y[::8]
    epsilons = (0, 0.05, 0.1, 0.2, 0.3, 0.6)
    accuracies = [accuracy(model, attacks.pgd(model, x, y, epsilon), y) for epsilon in epsilons]
    assert accuracies[0] == accuracy(model, x, y) > 0.9
    assert max(np.diff(accuracies)) <= 0.01
    assert all(value < 0.01 for value, epsilon in zip(accuracies, epsilons, strict=True) if epsilon >= 0.6)
    for epsilon, under_pgd in zip(epsilons, accuracies, strict=True):
        assert under_pgd <= accuracy(model, attacks.fgs(model, x, y, epsilon), y) + 0.01, epsilon


@numerics
def test_targeted_pgd_reaches_its_classes(partly_robust):
    model, x, y, epsilon = partly_robust.model, partly_robust.x[::4], partly_robust.y[::4], partly_robust.epsilon
    target = (y + np.random.default_rng(0).integers(1, 10, len(y))) % 10
    targeted = attacks.pgd(model, x, target, epsilon, targeted=True)
    before, after = (probability_of(target, model(images, training=False)) for images in (x, targeted))
    assert np.mean(after > before) > 0.99
    by_chance = accuracy(model, attacks.pgd(model, x, y, epsilon), target)
    assert accuracy(model, targeted, target) > by_chance + 0.05


# --- Random starts and restarts --------------------------------------------------------------------------------------


@numerics
@pytest.mark.parametrize("targeted", [False, True])
def test_restarts_keep_the_strongest_run_of_each_image(targeted, partly_robust):
    model, x, y, epsilon = partly_robust.model, partly_robust.x[::4], partly_robust.y[::4], partly_robust.epsilon
    classes = (y + 1) % 10 if targeted else y
    settings = dict(steps=2, targeted=targeted)
    together = attacks.pgd(model, x, classes, epsilon, restarts=3, seed=5, **settings).numpy()
    seeds = [tf.random.experimental.stateless_fold_in(tf.constant([0, 5]), restart) for restart in range(3)]
    single = np.stack([attacks.pgd(model, x, classes, epsilon, seed=seed, **settings) for seed in seeds])

    fools = np.stack([(predictions(model, run) == classes) == targeted for run in single])
    together_fools = (predictions(model, together) == classes) == targeted
    assert np.all(fools.any(0).sum() > fools.sum(1)), "no single run is the strongest on all images"
    np.testing.assert_array_equal(together_fools, fools.any(0))

    loss = np.stack([cross_entropy(model, run, classes) * (-1 if targeted else 1) for run in single])
    strength = np.where(fools | ~fools.any(0), loss, -np.inf)
    assert all(np.mean(strength.argmax(0) == run) > 0.2 for run in range(3))
    kept = np.abs(together - single).max((2, 3, 4)) < 1e-6
    assert kept.any(0).all()
    # Of two that are equal but for rounding either may be kept.
    np.testing.assert_allclose(np.where(kept, strength, -np.inf).max(0), strength.max(0), rtol=0, atol=1e-5)


def cross_entropy(model: keras.Model, x, y) -> np.ndarray:
    return keras.losses.sparse_categorical_crossentropy(y, model(x, training=False), from_logits=True).numpy()


@pytest.mark.parametrize("same", [5, (0, 5), np.int64(5), tf.constant([0, 5])], ids=["int", "pair", "numpy", "tensor"])
def test_same_seed_gives_the_same_result(same, smooth):
    model, x, y, _ = smooth
    expected = attacks.pgd(model, x, y, EPSILON, seed=5)
    np.testing.assert_array_equal(attacks.pgd(model, x, y, EPSILON, seed=same), expected)


@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.parametrize("other", [0, 6, (1, 5)])
def test_another_seed_gives_another_result(other, restarts, smooth):
    model, x, y, _ = smooth
    first, second = (attacks.pgd(model, x, y, EPSILON, seed=seed, restarts=restarts, steps=1) for seed in (5, other))
    assert np.abs(first.numpy() - second.numpy()).max() > 0.1 * EPSILON


# --- Graphs ----------------------------------------------------------------------------------------------------------


def traces(model) -> collections.Counter[str]:
    """How often each of the model's graphs was traced."""
    return collections.Counter(trace_counts(model))


CHANGES = {
    "batch of one": dict(images=1),
    "batch of seven": dict(images=7),
    "epsilon": dict(epsilon=0.25),
    "integer epsilon": dict(epsilon=1),
    "numpy epsilon": dict(epsilon=np.float32(0.2)),
    "tensor epsilon": dict(epsilon=tf.constant(0.2)),
    "step size": dict(step_size=0.02),
    "number of steps": dict(steps=3),
    "seed": dict(seed=9),
    "seed of two numbers": dict(seed=(3, 9)),
    "number of restarts": dict(restarts=4),
    "no random start": dict(random_start=False),
    "start not clipped": dict(clip_start=False),
}


def run_all(model, norm, *, images=5, epsilon=0.1, **options) -> None:
    x, y = random_images((images, 8, 8, 1)) / np.float32(255), random_labels(images, 10)
    attacks.fgs(model, x, y, epsilon, norm=norm)
    attacks.fgs(model, x, None, epsilon, norm=norm)
    attacks.least_likely(model, x, epsilon, norm=norm)
    attacks.pgd(model, x, y, epsilon, norm=norm, **{"restarts": 2, **options})


@pytest.fixture(scope="module", params=SIZES)
def traced(request) -> tuple[keras.Model, str, dict[str, int]]:
    """A fresh model after one call of every attack in a norm, that norm, and the traces that these took."""
    model = randomised(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]))
    run_all(model, request.param)
    return model, request.param, traces(model)


def test_every_loop_is_traced_once(traced):
    assert set(traced[2].values()) == {1}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_nothing_is_traced_again(change, traced):
    model, norm, _ = traced
    before = traces(model)
    run_all(model, norm, **change)
    assert traces(model) == before


# AutoGraph rewrites all that the attack calls, which takes seconds.
@pytest.mark.parametrize(
    ("norm", "restarts", "autograph"),
    [("linf", 2, False), ("l1", 1, False), pytest.param("l2", 2, True, marks=pytest.mark.slow)],
)
def test_pgd_within_a_graph_is_the_same(norm, restarts, autograph, smooth):
    model, x, y, _ = smooth

    @tf.function(autograph=autograph)
    def in_graph(x, y, seed):
        return attacks.pgd(model, x, y, EPSILON, norm=norm, steps=4, seed=seed, restarts=restarts)

    found = in_graph(tf.constant(x), tf.constant(y), tf.constant([2, 7]))
    eager = attacks.pgd(model, x, y, EPSILON, norm=norm, steps=4, seed=(2, 7), restarts=restarts)
    np.testing.assert_allclose(found, eager, rtol=0, atol=1e-12)


# --- Batch normalisation ---------------------------------------------------------------------------------------------


def test_batch_normalisation_uses_the_statistics_asked_for_and_keeps_its_averages(float64):
    model = with_batch_normalisation()
    x, y = random_images((8, 4, 4, 3)) / 255, random_labels(8, 10)
    weights = model.get_weights()
    references = {training: keras_of_copy(model, training=training) for training in (False, True)}
    for training, reference in references.items():
        logits = attacks.predict(model, x, training=training)
        np.testing.assert_allclose(logits, reference.logits(x), rtol=0, atol=1e-9)
    for name, case in CASES.items():
        found = {training: case.run(model, x, y, EPSILON, training=training) for training in references}
        for training, reference in references.items():
            expected = case.expected(reference, x, y, EPSILON)
            np.testing.assert_allclose(found[training], expected, rtol=0, atol=1e-9, err_msg=f"{name}, {training}")
        assert agreement(found[False], found[True]) < 0.95, name
    attacks.pgd(model, x, y, EPSILON, steps=1, restarts=2, training=True)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


# --- The generator's attack ------------------------------------------------------------------------------------------

GENERATORS = {
    "g1": functools.partial(networks.g1, (8, 8, 1), GENERATOR_WIDTH),
    "g2": functools.partial(networks.g2, (8, 8, 1), GENERATOR_WIDTH),
    "g3": functools.partial(networks.g3, (8, 8, 1), 10, GENERATOR_WIDTH),
}
INPUTS = {
    "g1": lambda x, y, seed: x,
    "g2": lambda x, y, seed: tf.random.stateless_normal([len(x), 2 * 2 * 4 * GENERATOR_WIDTH], seed),
    "g3": lambda x, y, seed: np.eye(10, dtype=np.float32)[y],
}


@pytest.fixture(scope="module", params=GENERATORS)
def perturber(request, shallow) -> tuple[str, Subject]:
    """A generator with random weights, and images for it."""
    model = randomised(GENERATORS[request.param]())
    images = random_images((7, 8, 8, 1)) / np.float32(255)
    return request.param, Subject(model, images, random_labels(7, 10))


@numerics
@pytest.mark.parametrize("training", [False, True])
def test_generator_attack_is_the_clipped_sum_and_keeps_the_averages(training, perturber):
    name, (model, x, y, _) = perturber
    weights = model.get_weights()
    copy = keras.models.clone_model(model)
    copy.set_weights(weights)
    perturbation = copy(INPUTS[name](x, y, (2, 3)), training=training).numpy()
    for epsilon in EPSILONS:
        found = attacks.generator(model, x, y, epsilon, seed=(2, 3), training=training)
        np.testing.assert_allclose(found, np.clip(x + epsilon * perturbation, 0, 1), rtol=0, atol=1e-5)
        assert_within(found, tf.constant(x), epsilon)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_generator_attack_depends_on_what_its_generator_takes_only(perturber):
    name, (model, x, y, _) = perturber
    first = attacks.generator(model, x, y, EPSILON, seed=1).numpy()

    def same(y, seed):
        return np.array_equal(first, attacks.generator(model, x, y, EPSILON, seed=seed))

    assert same(y, 1)
    assert same(y, 2) == (name != "g2")
    assert same((y + 1) % 10, 1) == (name != "g3")


@numerics
@pytest.mark.parametrize(("name", "norm"), [("g1", "l2"), ("g2", "l1"), ("g3", "l2")])
def test_generator_attack_is_of_norm_epsilon_where_nothing_is_clipped(name, norm):
    model, y = randomised(GENERATORS[name](norm=norm)), random_labels(7, 10)
    grey, images = np.full((7, 8, 8, 1), np.float32(0.5)), random_images((7, 8, 8, 1)) / np.float32(255)
    for x, epsilon in itertools.product((grey, images), (0, 0.03 * LARGEST[norm])):
        found = attacks.generator(model, x, y, epsilon, norm=norm, seed=(2, 3))
        perturbation = model(INPUTS[name](x, y, (2, 3)), training=False).numpy()
        np.testing.assert_allclose(found, np.clip(x + epsilon * perturbation, 0, 1), rtol=0, atol=1e-5)
        assert_within(found, tf.constant(x), epsilon, norm)
        if x is grey:
            np.testing.assert_allclose(length(found - x, norm), epsilon, rtol=1e-5)


@numerics
@each_other_norm
def test_generator_of_another_norm_is_held_to_the_ball(norm, perturber):
    name, (model, x, y, _) = perturber
    perturbation = np.float64(model(INPUTS[name](x, y, (0, 0)), training=False))
    assert length(perturbation, norm).min() > 1
    found = attacks.generator(model, x, y, 1.0, norm=norm)
    np.testing.assert_allclose(found, np.clip(x + nearest(perturbation, 1.0, norm), 0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["l3", "L2", 2, None])
def test_another_norm_is_refused(norm, smooth):
    model, x, y, _ = smooth
    for attack in (*EVERY_ATTACK.values(), attacks.generator):
        with pytest.raises(UsageError, match=f"norm: expected one of linf, l2, l1, received {norm}"):
            attack(model, x, y, EPSILON, norm=norm)


@pytest.mark.parametrize("attack", [attacks.fgs, attacks.pgd], ids=["fgs", "pgd"])
def test_images_of_integers_other_than_uint8_are_refused(attack, smooth):
    with pytest.raises(UsageError, match=r"images: expected uint8, or floats in \[0,1\], received int64"):
        attack(smooth.model, np.int64(255 * smooth.x), smooth.y, EPSILON)


def test_generator_of_labels_needs_them(perturber):
    name, (model, x, _, _) = perturber
    if name == "g3":
        with pytest.raises(ValueError, match="labels"):
            attacks.generator(model, x, None, EPSILON)
    else:
        assert_within(attacks.generator(model, x, None, EPSILON), tf.constant(x), EPSILON)


@pytest.mark.parametrize("none", ["steps", "restarts"])
def test_pgd_without_steps_or_restarts_is_refused(partly_robust, none):
    with pytest.raises(ValueError, match="expected at least 1"):
        attacks.pgd(partly_robust.model, partly_robust.x[:2], partly_robust.y[:2], 0.1, **{none: 0})
