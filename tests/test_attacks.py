"""The attacks against their equations, against other libraries, and against what they promise.

The references here use nothing of the project: gradients by hand in NumPy for a smooth network, Keras's for D2.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, data, networks
from tests.conftest import randomised

# Neither this nor a quarter of it is a number of float32 or float64.
EPSILON = 0.15
EPSILONS = (0, 0.03, 0.3, 1)
GENERATOR_WIDTH = 4


# --- References ------------------------------------------------------------------------------------------------------


class Reference(NamedTuple):
    """A classifier of the reference: its logits, and the gradient of the summed loss with respect to the images."""

    logits: Callable[[np.ndarray], np.ndarray]
    gradient: Callable[[np.ndarray, np.ndarray], np.ndarray]


def climb(reference, x, y, epsilon, step_size, steps, start=None) -> np.ndarray:
    """Eq. 7 from `start`: steps along the sign of the gradient, each projected on the ε-ball, then on [0,1]."""
    adversarial = x if start is None else start
    for _ in range(steps):
        adversarial = adversarial + step_size * np.sign(reference.gradient(adversarial, y))
        adversarial = np.clip(x + np.clip(adversarial - x, -epsilon, epsilon), 0, 1)
    return adversarial


class Case(NamedTuple):
    """An attack without random numbers as the project computes it and as the reference does."""

    run: Callable[..., tf.Tensor]
    expected: Callable[..., np.ndarray]


CASES = {
    "fgs (Eq. 6)": Case(attacks.fgs, lambda reference, x, y, epsilon: climb(reference, x, y, epsilon, epsilon, 1)),
    "fgs of the predicted label": Case(
        lambda model, x, _, epsilon, **options: attacks.fgs(model, x, None, epsilon, **options),
        lambda reference, x, y, epsilon: climb(reference, x, np.argmax(reference.logits(x), 1), epsilon, epsilon, 1),
    ),
    "least likely (Eq. 8)": Case(
        lambda model, x, _, epsilon, **options: attacks.least_likely(model, x, epsilon, **options),
        lambda reference, x, y, epsilon: climb(reference, x, np.argmin(reference.logits(x), 1), epsilon, -epsilon, 1),
    ),
    "pgd (Eq. 7)": Case(
        lambda *inputs, **options: attacks.pgd(*inputs, random_start=False, **options),
        lambda reference, x, y, epsilon: climb(reference, x, y, epsilon, epsilon / 4, 10),
    ),
    "pgd of another step size": Case(
        lambda model, x, y, epsilon, **options: attacks.pgd(
            model, x, y, epsilon, step_size=0.7 * epsilon, steps=3, random_start=False, **options
        ),
        lambda reference, x, y, epsilon: climb(reference, x, y, epsilon, 0.7 * epsilon, 3),
    ),
    "targeted pgd": Case(
        lambda *inputs, **options: attacks.pgd(*inputs, random_start=False, targeted=True, **options),
        lambda reference, x, y, epsilon: climb(reference, x, y, epsilon, -epsilon / 4, 10),
    ),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


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


@pytest.fixture(scope="module")
def classifiers() -> dict[str, keras.Model]:
    """The paper's two classifiers with random weights."""
    return {"d1": randomised(networks.d1((8, 8, 1), 10, 16)), "d2": randomised(networks.d2((4, 4, 3), 10, 16))}


def accuracy(model: keras.Model, x, y) -> float:
    return float(np.mean(predictions(model, x) == y))


def predictions(model: keras.Model, x) -> np.ndarray:
    return np.argmax(model(x, training=False), 1)


def agreement(a, b) -> float:
    """The fraction of pixels that are the same up to rounding in float32."""
    return float(np.mean(np.abs(np.asarray(a) - np.asarray(b)) < 1e-6))


# --- The equations ---------------------------------------------------------------------------------------------------


@each_case
def test_attack_is_its_equation_in_double_precision(case, smooth):
    expected = case.expected(smooth.reference, smooth.x, smooth.y, EPSILON)
    found = case.run(smooth.model, smooth.x, smooth.y, EPSILON)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert np.abs(expected - smooth.x).max() > 0.9 * EPSILON


@pytest.mark.parametrize("clip_start", [True, False])
def test_pgd_climbs_from_its_random_start(clip_start, smooth):
    unit = random_starts(smooth, np.full_like(smooth.x, 0.5), seed=3)
    start = smooth.x + EPSILON * unit
    assert start.min() < -0.05 and start.max() > 1.05
    start = np.clip(start, 0, 1) if clip_start else start
    expected = climb(smooth.reference, smooth.x, smooth.y, EPSILON, EPSILON / 4, 2, start)
    found = attacks.pgd(smooth.model, smooth.x, smooth.y, EPSILON, steps=2, seed=3, clip_start=clip_start)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def random_starts(subject: Subject, x: np.ndarray, *, seed: int) -> np.ndarray:
    """The random starts of images that no clipping touches, in units of ε: PGD whose step has no length."""
    return (attacks.pgd(subject.model, x, subject.y, EPSILON, step_size=0.0, steps=1, seed=seed).numpy() - x) / EPSILON


def test_random_starts_are_uniform_in_the_ball(smooth):
    unit = random_starts(smooth, np.full_like(smooth.x, 0.5), seed=0)
    count = unit.size
    assert len(np.unique(unit)) == count
    assert np.abs(unit).max() <= 1 + 1e-12
    distance = np.abs((np.sort(unit.ravel()) + 1) / 2 - (np.arange(count) + 0.5) / count).max()
    assert distance < 1.63 / np.sqrt(count), "Kolmogorov-Smirnov at 1%"


def test_fgs_follows_the_finite_difference_of_the_loss(smooth):
    x = 0.2 + 0.6 * smooth.x  # away from where the result is clipped
    h, rows = 1e-5, np.arange(len(x))

    def loss(images):
        logits = smooth.model(images, training=False).numpy()
        return np.log(np.exp(logits).sum(1)) - logits[rows, smooth.y]

    difference = np.zeros_like(x)
    for pixel in np.ndindex(*x.shape[1:]):
        shift = np.zeros_like(x)
        shift[:, *pixel] = h
        difference[:, *pixel] = (loss(x + shift) - loss(x - shift)) / (2 * h)
    clear = np.abs(difference) > 1e-6
    direction = np.sign(attacks.fgs(smooth.model, x, smooth.y, EPSILON).numpy() - x)
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(direction[clear], np.sign(difference[clear]))


def test_fgs_without_labels_takes_the_predicted_ones(partly_robust):
    model, x, y, epsilon, _ = partly_robust
    predicted = np.argmax(model(x, training=False), 1)
    wrong = predicted != y
    assert wrong.any()
    without_labels = attacks.fgs(model, x, None, epsilon).numpy()
    np.testing.assert_array_equal(without_labels, attacks.fgs(model, x, predicted, epsilon))
    assert agreement(without_labels[wrong], attacks.fgs(model, x, y, epsilon).numpy()[wrong]) < 0.9


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


def foolbox_pgd(foolbox, epsilon, *, random_start=False, steps=10):
    return foolbox.attacks.LinfPGD(abs_stepsize=epsilon / 4, steps=steps, random_start=random_start)


def test_fgs_is_that_of_foolbox(foolbox, partly_robust):
    model, x, y, epsilon, _ = partly_robust
    theirs = foolbox_attack(foolbox, model, x, y, foolbox.attacks.LinfFastGradientAttack(), epsilon)
    assert agreement(attacks.fgs(model, x, y, epsilon), theirs) >= 0.999


def test_pgd_without_random_start_is_that_of_foolbox(foolbox, partly_robust):
    model, x, y, epsilon, _ = partly_robust
    theirs = foolbox_attack(foolbox, model, x, y, foolbox_pgd(foolbox, epsilon), epsilon)
    assert agreement(attacks.pgd(model, x, y, epsilon, random_start=False), theirs) >= 0.999


@pytest.mark.parametrize("name", ["fgs", "pgd"])
def test_attack_is_exactly_that_of_foolbox_in_double_precision(name, foolbox, smooth):
    model, x, y, _ = smooth
    attack = {"fgs": foolbox.attacks.LinfFastGradientAttack(), "pgd": foolbox_pgd(foolbox, EPSILON)}[name]
    options = {"fgs": {}, "pgd": {"random_start": False}}[name]
    theirs = foolbox_attack(foolbox, model, x, y, attack, EPSILON)
    assert theirs.dtype == tf.float64
    ours = getattr(attacks, name)(model, x, y, EPSILON, **options)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 10])
def test_accuracy_under_pgd_with_random_starts_is_that_of_foolbox(steps, foolbox, partly_robust):
    model, x, y, epsilon, _ = partly_robust
    tf.random.set_seed(0)
    attack = foolbox_pgd(foolbox, epsilon, random_start=True, steps=steps)
    theirs = accuracy(model, foolbox_attack(foolbox, model, x, y, attack, epsilon), y)
    ours = accuracy(model, attacks.pgd(model, x, y, epsilon, steps=steps), y)
    standard_error = np.sqrt((ours * (1 - ours) + theirs * (1 - theirs)) / len(y))
    assert abs(ours - theirs) <= 3 * standard_error


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["fgs", "pgd"])
def test_attack_is_that_of_the_adversarial_robustness_toolbox(name, partly_robust):
    pytest.importorskip("art")
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import TensorFlowV2Classifier

    model, x, y, epsilon, _ = partly_robust
    wrapped = TensorFlowV2Classifier(
        model, nb_classes=10, input_shape=x.shape[1:], clip_values=(0, 1),
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
    )  # fmt: skip
    settings = dict(norm=np.inf, eps=epsilon, num_random_init=0, batch_size=len(x))
    if name == "fgs":
        theirs = FastGradientMethod(wrapped, **settings).generate(x, y)
        ours = attacks.fgs(model, x, y, epsilon)
    else:
        settings.update(eps_step=epsilon / 4, max_iter=10, verbose=False)
        theirs = ProjectedGradientDescent(wrapped, **settings).generate(x, y)
        ours = attacks.pgd(model, x, y, epsilon, random_start=False)
    assert agreement(ours, theirs) >= 0.999


# --- What every result keeps to --------------------------------------------------------------------------------------

EVERY_ATTACK = {
    "fgs": attacks.fgs,
    "fgs, predicted label": lambda model, x, _, epsilon, **options: attacks.fgs(model, x, None, epsilon, **options),
    "least likely": lambda model, x, _, epsilon, **options: attacks.least_likely(model, x, epsilon, **options),
    "pgd": attacks.pgd,
    "targeted pgd": lambda *inputs, **options: attacks.pgd(*inputs, targeted=True, **options),
    "pgd with restarts": lambda *inputs, **options: attacks.pgd(*inputs, restarts=2, steps=2, **options),
    "pgd with large steps": lambda *inputs, **options: attacks.pgd(*inputs, step_size=0.8, steps=2, **options),
    "pgd from anywhere": lambda *inputs, **options: attacks.pgd(*inputs, steps=1, clip_start=False, **options),
}
each_attack = pytest.mark.parametrize("attack", EVERY_ATTACK.values(), ids=EVERY_ATTACK.keys())


def assert_within(adversarial: tf.Tensor, x: tf.Tensor, epsilon: float) -> None:
    assert adversarial.dtype == x.dtype
    assert adversarial.shape == x.shape
    adversarial, x = np.asarray(adversarial), np.asarray(x)
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    assert np.abs(adversarial.astype(np.float64) - x).max() <= epsilon + 1e-7
    if epsilon == 0:
        np.testing.assert_array_equal(adversarial, x)
    else:
        assert np.abs(adversarial - x).max() > 0.5 * epsilon


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("network", ["d1", "d2"])
@each_attack
def test_result_is_within_epsilon_and_the_pixel_range(attack, network, epsilon, classifiers):
    model = classifiers[network]
    images, labels = random_images((17, *model.input_shape[1:])), random_labels(17, 10)
    sizes = set()
    for batch_size in (1, 7):
        for x, y in itertools.islice(data.batches(images, labels, batch_size, training=False), 3):
            assert_within(attack(model, x, y, epsilon), x, epsilon)
            sizes.add(len(x))
    assert sizes == {1, 7, 3}


@each_attack
def test_double_precision_is_kept(attack, smooth):
    found = attack(smooth.model, smooth.x, smooth.y, EPSILON)
    assert found.dtype == tf.float64
    assert np.abs(found.numpy() - smooth.x).max() <= EPSILON + 1e-15
    assert found.numpy().min() >= 0 and found.numpy().max() <= 1


# --- Strength --------------------------------------------------------------------------------------------------------


def test_accuracy_under_pgd_falls_with_epsilon_to_zero(partly_robust):
    model, x, y = partly_robust.model, partly_robust.x[::2], partly_robust.y[::2]
    epsilons = (0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.6, 0.8)
    accuracies = [accuracy(model, attacks.pgd(model, x, y, epsilon), y) for epsilon in epsilons]
    assert accuracies[0] == accuracy(model, x, y) > 0.9
    assert max(np.diff(accuracies)) <= 0.01
    assert all(value < 0.01 for value, epsilon in zip(accuracies, epsilons, strict=True) if epsilon >= 0.6)


@pytest.mark.parametrize("epsilon", [0.05, 0.1, 0.15, 0.2, 0.3])
def test_pgd_is_at_least_as_strong_as_fgs(epsilon, partly_robust):
    model, x, y, _, _ = partly_robust
    under_pgd, under_fgs = (accuracy(model, attack(model, x, y, epsilon), y) for attack in (attacks.pgd, attacks.fgs))
    assert under_pgd <= under_fgs + 0.01


def test_targeted_pgd_reaches_its_classes(partly_robust):
    model, x, y, epsilon, _ = partly_robust
    target = (y + np.random.default_rng(0).integers(1, 10, len(y))) % 10
    targeted = attacks.pgd(model, x, target, epsilon, targeted=True)
    before, after = (probability_of(target, model(images, training=False)) for images in (x, targeted))
    assert np.mean(after > before) > 0.99
    by_chance = accuracy(model, attacks.pgd(model, x, y, epsilon), target)
    assert accuracy(model, targeted, target) > by_chance + 0.05


# --- Random starts and restarts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("targeted", [False, True])
def test_restarts_keep_the_strongest_run_of_each_image(targeted, partly_robust):
    model, x, y, epsilon, _ = partly_robust
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
    strongest = np.where(fools | ~fools.any(0), loss, -np.inf).argmax(0)
    assert all(np.mean(strongest == run) > 0.2 for run in range(3))
    assert agreement(together, single[strongest, np.arange(len(x))]) > 0.999


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


def traces() -> dict[str, int]:
    return {name.__name__: graph.experimental_get_tracing_count() for name, graph in attacks._compiled.items()}


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


def run_all(model, *, images=5, epsilon=0.1, **options) -> None:
    x, y = random_images((images, 8, 8, 1)) / np.float32(255), random_labels(images, 10)
    attacks.fgs(model, x, y, epsilon)
    attacks.fgs(model, x, None, epsilon)
    attacks.least_likely(model, x, epsilon)
    attacks.pgd(model, x, y, epsilon, **{"restarts": 2, **options})


@pytest.fixture(scope="module")
def traced() -> tuple[keras.Model, dict[str, int]]:
    """A fresh model after one call of every attack, and the traces that these took."""
    model = randomised(networks.d1((8, 8, 1), 10, 4))
    before = traces()
    run_all(model)
    return model, {name: count - before[name] for name, count in traces().items()}


def test_every_loop_is_traced_once(traced):
    assert set(traced[1].values()) == {1}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_nothing_is_traced_again(change, traced):
    before = traces()
    run_all(traced[0], **change)
    assert traces() == before


@pytest.mark.parametrize("restarts", [1, 2])
def test_pgd_within_a_graph_is_the_same(restarts, smooth):
    model, x, y, _ = smooth

    @tf.function
    def in_graph(x, y, seed):
        return attacks.pgd(model, x, y, EPSILON, steps=4, seed=seed, restarts=restarts)

    found = in_graph(tf.constant(x), tf.constant(y), tf.constant([2, 7]))
    eager = attacks.pgd(model, x, y, EPSILON, steps=4, seed=(2, 7), restarts=restarts)
    np.testing.assert_allclose(found, eager, rtol=0, atol=1e-12)


# --- Batch normalisation ---------------------------------------------------------------------------------------------


def test_batch_normalisation_uses_the_statistics_asked_for_and_keeps_its_averages(float64):
    model = randomised(networks.d2((4, 4, 3), 10, 16))
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
    "g1": lambda: networks.g1((8, 8, 1), GENERATOR_WIDTH),
    "g2": lambda: networks.g2((8, 8, 1), GENERATOR_WIDTH),
    "g3": lambda: networks.g3((8, 8, 1), 10, GENERATOR_WIDTH),
}
INPUTS = {
    "g1": lambda x, y, seed: x,
    "g2": lambda x, y, seed: tf.random.stateless_normal([len(x), 2 * 2 * 4 * GENERATOR_WIDTH], seed),
    "g3": lambda x, y, seed: np.eye(10, dtype=np.float32)[y],
}


@pytest.fixture(scope="module", params=GENERATORS)
def perturber(request) -> tuple[str, Subject]:
    """A generator with random weights, and images for it."""
    model = randomised(GENERATORS[request.param]())
    images = random_images((7, 8, 8, 1)) / np.float32(255)
    return request.param, Subject(model, images, random_labels(7, 10))


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
