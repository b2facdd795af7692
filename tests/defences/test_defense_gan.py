"""Defense-GAN: its penalty by hand, its projection against SciPy, its gradients against finite differences, and its runs."""

import dataclasses

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from adv_networks import data, evaluation
from adv_networks.attacks.gradient import loss_gradient
from adv_networks.defences.defense_gan import GENERATOR, gradient_penalty, projected
from adv_networks.errors import UsageError
from adv_networks.experiments import METHODS, experiment
from adv_networks.networks.gans import gan_critic, gan_generator
from adv_networks.runtime import raw_outputs, run_compiled
from tests.conftest import randomised
from tests.training.helpers import train

SHAPE = (2, 2, 1)


def tiny(method="defense_gan", **overrides):
    small = dict(steps=4, batch_size=20, gan_width=2, gan_latent=3, classifier_width=4, projection_steps=5)
    return experiment("digits", method, scale="tiny", **(small | dict(projection_restarts=2) | overrides))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tiny(), tmp_path_factory.mktemp("runs") / tiny().name)


def critic_of(activation):
    """D(x) = v·a(Wx), and W and v in double precision."""
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3, activation, use_bias=False)]
    model = randomised(keras.Sequential([*layers, keras.layers.Dense(1, use_bias=False)]))
    return model, [np.float64(weights) for weights in model.get_weights()]


def penalty_by_hand(x, first, second, activation):
    """The mean of (‖W (v a'(Wx))‖ − 1)²."""
    slope = np.ones((len(x), 3)) if activation == "linear" else 1 - np.tanh(x @ first) ** 2
    return np.mean((np.linalg.norm((slope * second[:, 0]) @ first.T, axis=1) - 1) ** 2)


@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_penalty_and_its_gradient_are_those_of_double_backprop_by_hand(activation, float64):
    model, (first, second) = critic_of(activation)
    x = np.random.default_rng(0).random((5, 4))
    with tf.GradientTape() as tape:
        penalty = gradient_penalty(model, tf.constant(x.reshape(-1, *SHAPE)))
    assert float(penalty) == pytest.approx(penalty_by_hand(x, first, second, activation), rel=1e-9)
    found = tape.gradient(penalty, model.trainable_variables[0].value).numpy()
    step = 1e-6
    for row, column in np.ndindex(*first.shape):
        moved = np.zeros_like(first)
        moved[row, column] = step
        ends = [penalty_by_hand(x, first + sign * moved, second, activation) for sign in (1, -1)]
        assert found[row, column] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-8)


def generator_of(activation, *, latent=2, seed=0):
    layers = [keras.Input((latent,)), keras.layers.Dense(4, activation), keras.layers.Reshape(SHAPE)]
    return randomised(keras.Sequential(layers), seed=seed)


def project(generator, x, **options):
    image = keras.Input(SHAPE)
    model = keras.Model(image, projected(image, generator, **options))
    return run_compiled(raw_outputs, model, False, tf.constant(x)).numpy()


def test_projection_on_a_linear_generator_is_scipys(float64):
    generator, x = generator_of("linear"), np.random.default_rng(0).random((3, *SHAPE))
    matrix, offset = generator.get_weights()
    found = project(generator, x, steps=800, restarts=2, rate=0.5)
    for image, own in zip(x, found, strict=True):
        best = scipy.optimize.lsq_linear(matrix.T, image.ravel() - offset, tol=1e-14)
        np.testing.assert_allclose(own.ravel(), best.x @ matrix + offset, atol=1e-5)


def test_more_starts_and_more_steps_come_nearer_and_an_image_alone_is_as_in_a_batch():
    generator, x = generator_of("tanh", seed=4), np.random.default_rng(0).random((8, *SHAPE)).astype(np.float32)

    def errors(**options):
        return ((project(generator, x, rate=1.0, **options) - x) ** 2).mean((1, 2, 3))

    one, more, longer = errors(steps=10, restarts=1), errors(steps=10, restarts=6), errors(steps=100, restarts=1)
    assert (more <= one + 1e-6).all() and more.mean() < one.mean() and longer.mean() < one.mean()
    alone = project(generator, x[3:4], rate=1.0, steps=10, restarts=6)
    np.testing.assert_allclose(alone[0], project(generator, x, rate=1.0, steps=10, restarts=6)[3], atol=1e-6)


def losses(model, x, y):
    logits = run_compiled(raw_outputs, model, False, tf.constant(x))
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits).numpy()


def finite_difference(function, x, step=1e-5):
    """The gradient of a function of images [batch, …] to a number each."""
    found = np.zeros_like(x)
    for place in np.ndindex(*SHAPE):
        moved = np.zeros(SHAPE)
        moved[place] = step
        found[(slice(None), *place)] = (function(x + moved) - function(x - moved)) / (2 * step)
    return found


def test_each_gradient_is_the_finite_difference_of_what_it_claims_to_be(float64):
    classifier = randomised(keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)]))
    spec, rng = tiny(projection_steps=6, projection_rate=1.0), np.random.default_rng(1)
    defended = METHODS["defense_gan"].wrap(classifier, {GENERATOR: generator_of("tanh")}, spec)
    x, y = 0.2 + 0.6 * rng.random((2, *SHAPE)), np.array([0, 2])

    def gradient(name):
        attack = spec.attack(f"pgd:gradient={name}" if name else "pgd")
        return run_compiled(loss_gradient, defended.crafted_on(attack), False, tf.constant(x), tf.constant(y, tf.int32)).numpy()

    nearest = project(generator_of("tanh"), x, steps=6, restarts=2, rate=1.0)
    at_the_nearest = finite_difference(lambda images: losses(classifier, images, y), nearest)
    np.testing.assert_allclose(gradient("straight_through"), at_the_nearest, atol=1e-7)
    np.testing.assert_array_equal(gradient(""), gradient("straight_through"))
    for name, model in (("exact", defended.model), ("none", classifier)):
        expected = finite_difference(lambda images, model=model: losses(model, images, y), x)
        np.testing.assert_allclose(gradient(name), expected, atol=1e-6)
    assert np.abs(gradient("exact") - gradient("straight_through")).max() > 1e-3
    for model in (defended.model, defended.surrogate):
        np.testing.assert_allclose(losses(model, x, y), losses(classifier, nearest, y), atol=1e-9)


def test_adaptive_attack_fools_what_any_gradient_of_the_defence_fools():
    """Of a random classifier behind a random generator."""
    classifier = randomised(keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)]))
    spec = tiny(projection_steps=4, projection_rate=1.0, epsilon=0.1)
    defended = METHODS["defense_gan"].wrap(classifier, {GENERATOR: generator_of("tanh")}, spec)
    x = np.random.default_rng(1).random((80, *SHAPE)).astype(np.float32)
    y, adaptive = np.argmax(defended.model(x), 1), spec.attack("adaptive")

    def right(attack):
        return evaluation.correct_masks([defended], x, y, attack, defended)[0]

    alone = [right(dataclasses.replace(adaptive.wrapped, gradient=gradient)) for gradient in defended.offered]
    assert list(defended.offered) == ["exact", "straight_through", "none"]
    np.testing.assert_array_equal(right(adaptive), np.all(alone, 0))
    assert 0 < right(adaptive).sum() < alone[1].sum(), "expected the straight-through gradient to be weaker here"


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
def test_generator_makes_images_of_the_data_sets(shape):
    assert gan_generator(shape, 5, 2).output_shape == (None, *shape)
    assert gan_critic(shape, 2).output_shape == (None, 1)


@pytest.mark.slow
def test_its_classifier_is_evaluated_at_any_number_of_steps(run):
    longer = tiny(projection_steps=9)
    assert (longer.name, longer.trained().name) == (run.name, run.name) and longer.target_name != tiny().target_name
    behind = tiny().behind()
    classifier = evaluation.load_classifier(train(behind, run.parent / behind.name))
    images, labels = data.load("digits", "test", limit=20)
    defended, other = (METHODS["defense_gan"].load(classifier, run, spec) for spec in (tiny(), longer))
    assert evaluation.target_hash(defended) != evaluation.target_hash(other)
    attack = tiny().attack("fgs")
    assert 0 <= evaluation.accuracy(defended, images, labels, attack=attack, source=defended) <= 1
    with pytest.raises(UsageError, match="batch_size: expected at least the 5 critic_steps, received 4"):
        tiny(batch_size=4)


@pytest.mark.slow
def test_classifier_is_trained_on_what_the_generator_makes(run):
    spec = tiny(behind="reconstructed", reconstruction_steps=3).behind()
    assert spec.needs()["gan"].name == run.name
    workdir = train(spec, run.parent / spec.name)
    assert evaluation.load_classifier(workdir, "digits") is not None
    (file,) = run.glob("reconstructions-*.npy")
    assert np.load(file).dtype == np.uint8 and len(np.load(file)) == spec.train_images - spec.validation
