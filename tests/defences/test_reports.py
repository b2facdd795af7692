"""What the two reports train with: RMSProp, λ1 and λ2 against NumPy, and training on FGS against PGD of one step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, defences
from adv_networks.errors import UsageError
from adv_networks.experiments import METHODS, experiment
from tests.conftest import precision, randomised

SMALL = dict(classifier="mlp", classifier_width=6, input_dropout=0.0, dropout=0.0, epsilon=0.1)


def minibatch(number):
    random = np.random.default_rng(number)
    return random.random((12, 8, 8, 1)), random.integers(0, 10, 12)


def gradients(hidden, last, x, y, l1, l2):
    """Of the mean cross-entropy, λ1 Σ|w| and λ2 Σ w², by the chain rule."""
    x = x.reshape(len(x), -1)
    units = np.maximum(x @ hidden, 0)
    likely = np.exp(units @ last)
    by_logits = (likely / likely.sum(1, keepdims=True) - np.eye(10)[y]) / len(x)
    by_units = by_logits @ last.T * (units > 0)
    return [by + l1 * np.sign(w) + 2 * l2 * w for by, w in ((x.T @ by_units, hidden), (units.T @ by_logits, last))]


def test_penalised_rmsprop_is_the_one_computed_in_numpy():
    """v ← 0.9 v + 0.1 g², w ← w − η g / √(v + 1e-6)."""
    l1, l2 = 1e-2, 3e-2
    settings = dict(optimizer="rmsprop", learning_rate=1e-3, weight_l1=l1, weight_decay=2 * l2, **SMALL)
    with precision("float64"):
        spec = experiment("digits", "standard", **settings)
        players = defences.make_players(spec)
        randomised(players.d)
        weights = [weight.astype(np.float64) for weight in players.d.get_weights()]
        squares = [np.zeros_like(weight) for weight in weights]
        for number in range(3):
            x, y = minibatch(number)
            scalars = defences.standard_step(players, x, y, spec, (0, number))
            penalty = sum(l1 * np.abs(weight).sum() + l2 * (weight**2).sum() for weight in weights)
            assert float(scalars["d_weight_decay"]) == pytest.approx(penalty, rel=1e-9)
            for weight, square, gradient in zip(weights, squares, gradients(*weights, x, y, l1, l2), strict=True):
                square[:] = 0.9 * square + 0.1 * gradient**2
                weight -= 1e-3 * gradient / np.sqrt(square + 1e-6)
        for found, expected in zip(players.d.get_weights(), weights, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_training_on_fgs_is_that_on_one_step_of_pgd_from_the_image():
    ends = []
    for method, own in (
        ("fgs", {}),
        ("pgd", dict(pgd_steps=1, pgd_step_fraction=1.0, pgd_random_start=False)),
        ("standard", {}),
    ):
        spec = experiment("digits", method, **SMALL, **own)
        players = defences.make_players(spec)
        randomised(players.d)
        x, y = minibatch(0)
        if method == "standard":
            x = attacks.fgs(players.d, x, y, 0.1)
        METHODS[method].step(players, np.float32(x), y, spec, (0, 0))
        ends.append(players.d.get_weights())
    for own in ends[1:]:
        for found, expected in zip(own, ends[0], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("start", ["ball", "noise"])
def test_training_on_fgs_from_a_random_point_is_standard_training_on_what_the_sources_say(start):
    """Wong et al.: clip(u + 1.25 ε sign ∇ℓ(x + u)) to ±ε, u in ±ε. De Jorge et al.: u + ε sign ∇ℓ(x + u), u in ±2 ε."""
    epsilon, ends = SMALL["epsilon"], []
    for method, own in (("fgs", dict(fgs_start=start)), ("standard", {}), ("fgs", {})):
        spec = experiment("digits", method, **SMALL, **own)
        players = defences.make_players(spec)
        randomised(players.d)
        x, y = minibatch(0)
        x = np.float32(x)
        if method == "standard":
            u = tf.random.stateless_uniform(x.shape, (0, 0), -1, 1) * (epsilon if start == "ball" else 2 * epsilon)
            moved = tf.clip_by_value(x + u, 0, 1) if start == "ball" else x + u
            with tf.GradientTape() as tape:
                tape.watch(moved)
                logits = players.d(moved, training=True)
                loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
            slope = tf.sign(tape.gradient(loss, moved))
            ended = x + tf.clip_by_value(moved + 1.25 * epsilon * slope - x, -epsilon, epsilon)
            x = tf.clip_by_value(ended if start == "ball" else moved + epsilon * slope, 0, 1).numpy()
        METHODS[method].step(players, x, y, spec, (0, 0))
        ends.append(np.concatenate([weights.ravel() for weights in players.d.get_weights()]))
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-5, atol=1e-6)
    assert np.abs(ends[0] - ends[2]).max() > 1e-4


def test_one_step_of_pgd_by_more_than_epsilon_ends_where_a_linear_classifier_says():
    """Against the logits (0, Σ pixels) the step is u + 1.25 ε, u uniform in ±ε, cut at ε: P(u > −ε/4) = 5/8 of the pixels."""
    layers = [keras.Input((40, 40, 1)), keras.layers.Flatten(), keras.layers.Dense(2, kernel_initializer="ones")]
    model = keras.Sequential(layers)
    model.layers[-1].set_weights([np.outer(np.ones(1600), [0, 1]), np.zeros(2)])
    x = np.full((4, 40, 40, 1), 0.5, np.float32)
    moved = np.asarray(attacks.pgd(model, x, np.zeros(4, int), 0.1, step_size=0.125, steps=1, seed=3)) - x
    assert moved.min() >= 0.025 - 1e-6 and moved.max() <= 0.1 + 1e-6
    np.testing.assert_allclose(np.mean(moved > 0.1 - 1e-6), 5 / 8, atol=0.02)


def test_training_on_images_and_fgs_weighs_their_losses_by_alpha():
    """The step is α times that on the images, plus 1 − α times that on FGS alone."""
    steps = {}
    for alpha in (None, 0.0, 0.25):
        own = {} if alpha is None else dict(fgs_clean_weight=alpha)
        spec = experiment("digits", "standard" if alpha is None else "fgs", weight_decay=0.0, **SMALL, **own)
        players = defences.make_players(spec)
        randomised(players.d)
        before = players.d.get_weights()
        x, y = minibatch(0)
        scalars = METHODS[spec.method].step(players, np.float32(x), y, spec, (0, 0))
        steps[alpha] = [after - start for after, start in zip(players.d.get_weights(), before, strict=True)]
    assert float(scalars["d_loss_adversarial"]) > float(scalars["d_loss"])
    for clean, attacked, both in zip(steps[None], steps[0.0], steps[0.25], strict=True):
        np.testing.assert_allclose(both, 0.25 * clean + 0.75 * attacked, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_classifier_in_the_posters_game_weighs_the_raw_images(weight):
    game = dict(generators=("poster_g",), generator_width=1, clean_weight=weight)
    spec = experiment("digits", "alternating", **SMALL, **game)
    assert (spec.regulariser, spec.generator_steps) == ("none", 1)
    players = defences.make_players(spec)
    randomised(players.d)
    x, y = minibatch(0)
    x, parameters = tf.constant(x, tf.float32), players.d.trainable_variables
    perturbed = x + 0.1 * players.g(x, training=True)
    with tf.GradientTape() as tape:
        losses = [keras.losses.sparse_categorical_crossentropy(y, players.d(z), from_logits=True) for z in (x, perturbed)]
        total = tf.reduce_mean(weight * losses[0] + losses[1])
    expected = tape.gradient(total, [parameter.value for parameter in parameters])
    found = defences.regularised_gradient(players.d, players.generators, [x], x, tf.constant(y, tf.int32), spec)[0]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_game_starts_from_the_trained_classifier_of_its_own_recipe():
    spec = experiment("mnist", "alternating", protocol="poster", epsilon=0.1)
    assert (spec.classifier, spec.generators, spec.classifier_width, spec.generator_width) == ("poster_d", ("poster_g",), 32, 8)
    (needed,) = spec.needs().values()
    assert needed == experiment("mnist", "standard", protocol="poster") and needed.name == "mnist-standard-cpu-s0-poster"
    assert (needed.batch_size, needed.learning_rate, needed.steps) == (10, 0.05, 3_000)
    assert (spec.batch_size, spec.learning_rate, spec.steps) == (100, 0.01, 600)
    assert experiment("mnist", "alternating", protocol="poster", scale="paper").steps == 60_000


def test_start_of_pgd_in_training_is_that_of_its_column():
    spec = experiment("digits", "pgd", pgd_random_start=False)
    assert not spec.attack("pgd").random_start
    assert "pgd_random_start=False" in spec.name
    assert spec.attack("pgd:random_start=True").settings() == experiment("digits", "pgd").attack("pgd").settings()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(weight_l1=-1e-5), "weight_l1: expected a value of at least 0 and"),
        (dict(weight_decay=-1), "weight_decay: expected a value of at least 0 and"),
        (dict(optimizer="lion"), "optimizer: expected one of sgd, rmsprop, adam, received lion"),
    ],
)
def test_bad_settings_say_what_was_expected(settings, message):
    with pytest.raises(UsageError, match=message):
        experiment("mnist", "standard", **settings)
