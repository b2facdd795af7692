"""The update rules against references that share no code with them: closed forms, double backprop and an eager loop."""

import dataclasses
import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, defences, networks, runtime
from adv_networks.experiments import METHODS, experiment
from tests.conftest import precision, run_eagerly

IMAGE_SHAPE, CLASSES, BATCH = (8, 8, 1), 10, 8


# The rules do not see how deep a network is; test_networks.py counts its layers.
pytestmark = pytest.mark.usefixtures("float64", "shallow")


@pytest.fixture(scope="module", autouse=True)
def forget_networks():
    yield
    keras.backend.clear_session()


@pytest.fixture
def eagerly():
    with run_eagerly():
        yield


def minibatch(number, shape=IMAGE_SHAPE, size=BATCH):
    """Images that float32 holds exactly, and labels."""
    random = np.random.default_rng((7, number))
    return random.uniform(size=(size, *shape)).astype("float32"), random.integers(0, CLASSES, size)


def randomise(model, seed):
    """Moves every variable away from where it starts (zeros, ones), to values that float32 holds exactly."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        noise = random.normal(size=variable.shape)
        noise = np.abs(noise) if variable.path.endswith("moving_variance") else noise
        variable.assign((variable.numpy() + 0.1 * noise).astype("float32"))


def arrays(variables):
    return [np.array(variable) for variable in variables]


def norm(parts):
    """L2 norm of a list of arrays taken as one vector."""
    return np.sqrt(sum(np.sum(np.float64(part) ** 2) for part in parts))


def difference(actual, expected):
    return [np.float64(a) - b for a, b in zip(actual, expected, strict=True)]


def distance(actual, expected):
    """Relative L2 distance of two lists of arrays."""
    return norm(difference(actual, expected)) / norm(expected)


def cross_entropy(y, logits):
    """Mean of log Σ exp − the true logit."""
    true = tf.reduce_sum(tf.one_hot(y, logits.shape[-1], dtype=logits.dtype) * logits, 1)
    return tf.reduce_mean(tf.math.log(tf.reduce_sum(tf.exp(logits), 1)) - true)


def half_square_sum(kernels):
    return sum(tf.reduce_sum(kernel**2) for kernel in kernels) / 2


# ------------------------------------------------------------------------------- the regularised gradient of Eq. 5

SMOOTH_SHAPE = (4, 4, 1)
PIXELS = 16


class SmoothGame:
    """A tanh classifier and a softplus generator, as Keras models and as formulas in their parameters."""

    def __init__(self, seed=0):
        dense = keras.layers.Dense
        keras.utils.set_random_seed(seed)
        image = keras.Input(SMOOTH_SHAPE, name="image")
        flat = keras.layers.Flatten()(image)
        self.d = keras.Model(image, dense(CLASSES)(dense(6, "tanh")(flat)))
        self.g = keras.Model(image, keras.layers.Reshape(SMOOTH_SHAPE)(dense(PIXELS, "tanh")(dense(5, "softplus")(flat))))
        for number, model in enumerate((self.d, self.g)):
            randomise(model, (seed, number))
            model.set_weights([2.0 * value for value in model.get_weights()])
        self.theta, self.phi = ([tf.constant(value) for value in m.get_weights()] for m in (self.d, self.g))
        x, self.y = minibatch(seed, SMOOTH_SHAPE)
        self.x = tf.constant(x, tf.float64)

    def loss(self, theta, x):
        kernel_1, bias_1, kernel_2, bias_2 = theta
        return cross_entropy(self.y, tf.tanh(tf.reshape(x, (-1, PIXELS)) @ kernel_1 + bias_1) @ kernel_2 + bias_2)

    def adversarial_term(self, theta, phi, spec):
        kernel_1, bias_1, kernel_2, bias_2 = phi
        hidden = tf.math.log1p(tf.exp(tf.reshape(self.x, (-1, PIXELS)) @ kernel_1 + bias_1))
        perturbed = self.x + spec.epsilon * tf.reshape(tf.tanh(hidden @ kernel_2 + bias_2), self.x.shape)
        if spec.clip_perturbed:
            perturbed = tf.minimum(tf.maximum(perturbed, 0), 1)
        decay = spec.generator_weight_decay * half_square_sum((kernel_1, kernel_2))
        return spec.adversarial_weight * self.loss(theta, perturbed) - decay

    def plain_gradient(self, spec, phi=None):
        """∇_θ F, and ∇_φ F."""
        phi = self.phi if phi is None else phi
        with tf.GradientTape() as tape:
            tape.watch([self.theta, phi])
            objective = self.loss(self.theta, self.x) + self.adversarial_term(self.theta, phi, spec)
        return tape.gradient(objective, [self.theta, phi])

    def penalty_gradient(self, spec):
        """∇_θ ½‖∇_φ F‖² by double backprop."""
        with tf.GradientTape() as outer:
            outer.watch(self.theta)
            with tf.GradientTape() as inner:
                inner.watch(self.phi)
                objective = self.adversarial_term(self.theta, self.phi, spec)
            v = inner.gradient(objective, self.phi)
            penalty = sum(tf.reduce_sum(part**2) for part in v) / 2
        return outer.gradient(penalty, self.theta, unconnected_gradients="zero")

    def library_gradient(self, spec):
        return defences.regularised_gradient(self.d, [self.g], [self.x], self.x, self.y, spec)[0]


@pytest.fixture(scope="module")
def smooth_game():
    with precision("float64"):
        return SmoothGame()


OBJECTIVES = {
    "paper": dict(),
    "strong": dict(gradient_penalty=3.0, epsilon=0.5),
    "weighted": dict(adversarial_weight=0.3, gradient_penalty=1.0),
    "generator decay": dict(generator_weight_decay=0.05, gradient_penalty=1.0),
}
objectives = pytest.mark.parametrize("settings", OBJECTIVES.values(), ids=OBJECTIVES)


@objectives
def test_finite_difference_converges_to_double_backprop_in_proportion_to_h(smooth_game, settings):
    errors = []
    for h in (1e-2, 1e-3, 1e-4):
        spec = experiment("digits", "advnet", generator_learning_rate=10 * h, **settings)
        plain, _ = smooth_game.plain_gradient(spec)
        weighted = difference(smooth_game.library_gradient(spec), plain)
        product = [part / spec.gradient_penalty for part in weighted]
        errors.append(distance(product, smooth_game.penalty_gradient(spec)))
    assert errors[-1] < 1e-3
    assert all(9 < coarse / fine < 11 for coarse, fine in itertools.pairwise(errors)), errors


@objectives
@pytest.mark.parametrize("clip", (False, True))
@pytest.mark.parametrize("sign", (1, -1))
def test_exact_regulariser_is_double_backprop(smooth_game, settings, clip, sign):
    spec = experiment("digits", "advnet", regulariser="exact", regulariser_sign=sign, clip_perturbed=clip, **settings)
    gamma = spec.gradient_penalty
    plain, _ = smooth_game.plain_gradient(spec)
    penalty = smooth_game.penalty_gradient(spec)
    expected = [a + sign * gamma * b for a, b in zip(plain, penalty, strict=True)]
    actual = smooth_game.library_gradient(spec)
    assert distance(actual, expected) < 1e-12
    assert distance(difference(actual, plain), [sign * gamma * b for b in penalty]) < 1e-9


@objectives
def test_without_regulariser_the_gradient_is_that_of_the_objective(smooth_game, settings):
    spec = experiment("digits", "advnet", regulariser="none", **settings)
    assert distance(smooth_game.library_gradient(spec), smooth_game.plain_gradient(spec)[0]) < 1e-13


@pytest.mark.parametrize(
    ("dataset", "protocol", "sign", "h"),
    (
        ("cifar10", "paper", 1, 0.002 / 10),
        ("svhn", "paper", 1, 0.01 / 10),
        ("cifar10", "released", -1, 0.1 / 10),
        ("mnist", "released", -1, 0.01 / 10),
    ),
)
def test_protocols_differ_in_the_sign_and_the_step_of_the_difference(smooth_game, dataset, protocol, sign, h):
    spec = experiment(dataset, "advnet", protocol=protocol)
    here, v = smooth_game.plain_gradient(spec)
    there, _ = smooth_game.plain_gradient(spec, [a + h * b for a, b in zip(smooth_game.phi, v, strict=True)])
    expected = [sign * 0.01 * (b - a) / h for a, b in zip(here, there, strict=True)]
    assert distance(difference(smooth_game.library_gradient(spec), here), expected) < 1e-7


# -------------------------------------------------------------------------------- whole steps against an eager loop


class ReferenceNetwork:
    """A copy of a network whose BN averages move by NumPy arithmetic, in the passes that are told to move them."""

    def __init__(self, model, dtype):
        with precision(dtype):
            config = keras.models.clone_model(model).get_config()
            for layer in config["layers"]:
                if "dtype" in layer["config"]:  # The functions of the normalisation in l2 and l1 take that of their input.
                    layer["config"]["dtype"] = dtype
            self.model = keras.Model.from_config(config)
        self.model.set_weights(model.get_weights())
        self.normalisations = [layer for layer in self.model.layers if isinstance(layer, keras.layers.BatchNormalization)]
        self.probe = keras.Model(self.model.inputs, [*self.model.outputs, *(layer.input for layer in self.normalisations)])

    @property
    def parameters(self):
        return [variable.value for variable in self.model.trainable_variables]

    @property
    def kernels(self):
        return [v.value for v in self.model.trainable_variables if v.path.rsplit("/", 1)[-1] == "kernel"]

    def __call__(self, inputs, *, move):
        averages = [(layer.moving_mean.numpy(), layer.moving_variance.numpy()) for layer in self.normalisations]
        output, *activations = self.probe(inputs, training=True) if self.normalisations else [self.probe(inputs)]
        for layer, (mean, variance), activation in zip(self.normalisations, averages, activations, strict=True):
            if move:
                seen = activation.numpy()
                mean = 0.997 * mean + 0.003 * seen.mean((0, 1, 2))
                variance = 0.997 * variance + 0.003 * seen.var((0, 1, 2))
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
        return output

    def move_to(self, values):
        for variable, value in zip(self.parameters, values, strict=True):
            variable.assign(value)


class Momentum:
    """SGD: m ← μ m − η g; w ← w + m."""

    def __init__(self, rate, momentum, network):
        self.rate, self.momentum = rate, momentum
        self.momenta = [np.zeros_like(value) for value in arrays(network.parameters)]

    def __call__(self, values, gradient):
        self.momenta = [self.momentum * m - self.rate * g for m, g in zip(self.momenta, gradient, strict=True)]
        return [value + m for value, m in zip(values, self.momenta, strict=True)]

    def slots(self):
        return {"momentum": self.momenta}


class Adam:
    """Adam with ε̂: w ← w − η √(1−β₂ᵗ)/(1−β₁ᵗ) · m/(√v + ε̂)."""

    def __init__(self, rate, beta_1, network):
        self.rate, self.beta_1, self.beta_2, self.epsilon, self.count = rate, beta_1, 0.999, 1e-8, 0
        self.first = [np.zeros_like(value) for value in arrays(network.parameters)]
        self.second = [np.zeros_like(value) for value in self.first]

    def __call__(self, values, gradient):
        self.count += 1
        b1, b2 = self.beta_1, self.beta_2
        self.first = [b1 * m + (1 - b1) * g for m, g in zip(self.first, gradient, strict=True)]
        self.second = [b2 * v + (1 - b2) * g**2 for v, g in zip(self.second, gradient, strict=True)]
        rate = self.rate * np.sqrt(1 - b2**self.count) / (1 - b1**self.count)
        moves = [rate * m / (np.sqrt(v) + self.epsilon) for m, v in zip(self.first, self.second, strict=True)]
        return [value - move for value, move in zip(values, moves, strict=True)]

    def slots(self):
        return {"momentum": self.first, "velocity": self.second}


class Reference:
    """The rules of Section 3 as an eager loop on copies of the players."""

    def __init__(self, players, spec, dtype="float64"):
        self.spec, self.dtype = spec, dtype
        self.d = ReferenceNetwork(players.d, dtype)
        self.update_d = Momentum(spec.learning_rate, spec.momentum, self.d)
        if players.g is not None:
            self.g = ReferenceNetwork(players.g, dtype)
            rule = {"adam": Adam, "sgd": Momentum}[spec.generator_optimizer]
            self.update_g = rule(spec.generator_learning_rate, spec.generator_momentum, self.g)

    def train_on(self, x, y):
        """One step of D on the images as they are."""
        x = tf.cast(x, self.dtype)
        with tf.GradientTape() as tape:
            loss = cross_entropy(y, self.d(x, move=True))
            objective = loss + self.spec.weight_decay * half_square_sum(self.d.kernels)
        return {"d_loss": loss, **self._descend(arrays(tape.gradient(objective, self.d.parameters)))}

    def adversarial_network_step(self, x, y, seed):
        """Ascent steps of G, one descent step of D on Eq. 5."""
        spec, scalars = self.spec, {}
        x = tf.cast(x, self.dtype)
        if self.g.model.inputs[0].name == "noise":
            inputs = tf.random.stateless_normal((len(x), self.g.model.inputs[0].shape[1]), seed, dtype=self.dtype)
        else:
            inputs = x

        def adversarial_logits(*, move_d, move_g):
            return self.d(x + spec.epsilon * self.g(inputs, move=move_g), move=move_d)

        def objective_of_g(loss):
            return spec.adversarial_weight * loss - spec.generator_weight_decay * half_square_sum(self.g.kernels)

        for number in range(1, spec.generator_steps + 1):
            with tf.GradientTape() as tape:
                loss = cross_entropy(y, adversarial_logits(move_d=False, move_g=True))
                objective = objective_of_g(loss)
            ascent = arrays(tape.gradient(objective, self.g.parameters))
            self.g.move_to(self.update_g(arrays(self.g.parameters), [-part for part in ascent]))
            scalars.update({"g_loss": loss, f"g_loss_{number}": loss, "g_gradient_norm": norm(ascent)})

        with tf.GradientTape() as tape:
            logits = self.d(x, move=True)
            scalars["d_loss"] = cross_entropy(y, logits)
            decay = spec.weight_decay * half_square_sum(self.d.kernels)
            objective = scalars["d_loss"] + decay
        clean = arrays(tape.gradient(objective, self.d.parameters))
        scalars["d_weight_decay"] = decay
        scalars["d_accuracy"] = np.mean(np.argmax(logits, 1) == y)

        with tf.GradientTape(persistent=True) as tape:
            logits = adversarial_logits(move_d=True, move_g=False)
            scalars["d_loss_adversarial"] = cross_entropy(y, logits)
            objective = objective_of_g(scalars["d_loss_adversarial"])
        here = arrays(tape.gradient(objective, self.d.parameters))
        v = arrays(tape.gradient(objective, self.g.parameters))
        scalars["d_accuracy_adversarial"] = np.mean(np.argmax(logits, 1) == y)

        h, phi = spec.generator_learning_rate / 10, arrays(self.g.parameters)
        self.g.move_to([value + h * part for value, part in zip(phi, v, strict=True)])
        with tf.GradientTape() as tape:
            objective = objective_of_g(cross_entropy(y, adversarial_logits(move_d=False, move_g=False)))
        there = arrays(tape.gradient(objective, self.d.parameters))
        self.g.move_to(phi)

        regulariser = [spec.gradient_penalty * (b - a) / h for a, b in zip(here, there, strict=True)]
        scalars["regulariser_norm"] = norm(regulariser)
        return {**scalars, **self._descend([sum(parts) for parts in zip(clean, here, regulariser, strict=True)])}

    def _descend(self, gradient):
        self.d.move_to(self.update_d(arrays(self.d.parameters), gradient))
        return {"d_gradient_norm": norm(gradient)}

    def state(self):
        return {
            name: value
            for player in ("d", "g")
            if hasattr(self, player)
            for name, value in _named_state(player, getattr(self, player).model, getattr(self, f"update_{player}"))
        }


def _named_state(player, model, update):
    yield from _named(player, model.variables)
    for slot, values in update.slots().items():
        for variable, value in zip(model.trainable_variables, values, strict=True):
            yield f"{player}/{variable.path.replace('/', '_')}_{slot}", value


def _named(player, variables):
    return ((f"{player}/{variable.path}", variable.numpy()) for variable in variables)


def state_of(players):
    """Every tensor of the players under the names that the reference gives them; without counters and rates."""
    state = {}
    for player in ("d", "g"):
        model, optimizer = getattr(players, player), getattr(players, f"{player}_optimizer")
        if model is not None:
            state.update(_named(player, model.variables))
            slots = (variable for variable in optimizer.variables if variable.path.endswith(("_momentum", "_velocity")))
            state.update((f"{player}/{variable.path.split('/', 1)[1]}", variable.numpy()) for variable in slots)
    return state


def random_players(spec):
    players = defences.make_players(spec)
    for number, model in enumerate((players.d, players.g)):
        if model is not None:
            randomise(model, number)
    return players


GAMES = {
    "d2 by Adam": dict(
        classifier="d2",
        classifier_width=4,
        generators=("released_mnist",),
        generator_width=4,
        generator_steps=2,
        learning_rate=0.1,
    ),
    "d1 with g2 by SGD and decay in l1": dict(
        classifier_width=4,
        generators=("g2",),
        generator_width=4,
        generator_optimizer="sgd",
        generator_learning_rate=0.01,
        generator_momentum=0.9,
        generator_weight_decay=1e-3,
        adversarial_weight=0.7,
        norm="l1",
        epsilon=6.0,
    ),
}


@functools.cache
def played_eagerly(game):
    """Two steps of a game by the reference: the experiment, players in float32 at the start, scalars and states after each."""
    spec = experiment("digits", "advnet", **GAMES[game])
    keras.backend.clear_session()  # Layers of the same name in all players of the game.
    with precision("float32"):
        players = random_players(spec)
    reference, steps = Reference(players, spec), []
    for number in range(2):
        x, y = minibatch(number)
        scalars = reference.adversarial_network_step(x, y, (spec.seed, number))
        steps.append(({name: float(value) for name, value in scalars.items()}, reference.state()))
    return spec, players, steps


@pytest.mark.parametrize("game", ["d2 by Adam", pytest.param("d1 with g2 by SGD and decay in l1", marks=pytest.mark.slow)])
def test_adversarial_network_steps_equal_an_eager_loop_in_every_tensor(game):
    spec, start, expected_steps = played_eagerly(game)
    keras.backend.clear_session()
    players = defences.make_players(spec)
    players.take_weights(start)
    before = state_of(players)
    for number, (expected, _) in enumerate(expected_steps):
        (x, y), seed = minibatch(number), (spec.seed, number)
        actual = defences.adversarial_network_step(players, np.float64(x), y, spec, seed)
        assert {k: float(v) for k, v in actual.items()} == pytest.approx(expected)
    actual, (_, expected) = state_of(players), expected_steps[-1]
    assert actual.keys() == expected.keys()
    errors = {name: distance([actual[name]], [expected[name]]) for name in expected}
    assert max(errors.values()) < 1e-8, max(errors.items(), key=lambda item: item[1])
    assert all(np.any(actual[name] != before[name]) for name in before)
    assert int(players.g_optimizer.iterations.numpy()) == spec.generator_steps * len(expected_steps)
    assert int(players.d_optimizer.iterations.numpy()) == len(expected_steps)


def test_in_float32_a_step_is_no_farther_from_float64_than_on_reordered_batches():
    """All orders of a batch are draws from the same rounding noise; 1.5 is for the chance that the given one is the farthest.

    Twenty orders, because a ReLU's kink inside the finite difference makes the errors of D2 bimodal (0.08 or 1.4, relative).
    Compared are the optimisers' slots, which hold the gradients (G's of all its steps), not the weights, whose own rounding
    would hide the rest.
    """
    spec, players, ((_, expected), _) = played_eagerly("d2 by Adam")
    (x, y), random = minibatch(0), np.random.default_rng(0)
    start = arrays(players.variables())

    def errors(order):
        for variable, value in zip(players.variables(), start, strict=True):
            variable.assign(value)
        with precision("float32"):
            defences.adversarial_network_step(players, x[order], y[order], spec, (0, 0))
        state = state_of(players)
        slots = {
            player: [name for name in state if name[0] == player and name.endswith(("_momentum", "_velocity"))]
            for player in "dg"
        }
        assert all(state[name].dtype == np.float32 for name in expected)
        return [distance([state[name] for name in names], [expected[name] for name in names]) for names in slots.values()]

    given = errors(np.arange(BATCH))
    reordered = np.max([errors(random.permutation(BATCH)) for _ in range(20)], axis=0)
    assert all(0 < error <= 1.5 * farthest for error, farthest in zip(given, reordered, strict=True)), (given, reordered)


@pytest.mark.parametrize(
    ("method", "settings"),
    (("standard", dict()), ("ensemble", dict()), ("pgd", dict(learning_rate=0.1, momentum=0.5, weight_decay=0.1))),
)
def test_single_player_steps_are_sgd_with_momentum_and_l2(method, settings):
    spec = experiment("digits", method, epsilon=0.2, classifier_width=4, pgd_steps=3, pgd_step_fraction=0.4, **settings)
    players = random_players(spec)
    reference = Reference(players, spec)
    for number in range(3):
        (x, y), seed = minibatch(number), (spec.seed, number)
        actual = METHODS[method].step(players, np.float64(x), y, spec, seed)
        if method == "pgd":
            x = attacks.pgd(reference.d.model, np.float64(x), y, 0.2, step_size=0.08, steps=3, seed=seed, training=True)
        expected = reference.train_on(x, y)
        for name, value in expected.items():
            assert float(actual[name]) == pytest.approx(float(value), rel=1e-10), name
    actual, expected = state_of(players), reference.state()
    assert actual.keys() == expected.keys()
    assert all(distance([actual[name]], [expected[name]]) < 1e-8 for name in expected)


def step_from_noise(model, images, epsilon):
    """u + ε sign ∇ℓ(x + u) for the label predicted for x, u in ±2 ε, by the statistics of the batch."""
    u = tf.random.stateless_uniform(images.shape, tf.random.experimental.stateless_fold_in((0, 0), 1), -1, 1, tf.float64)
    noisy = images + 2 * epsilon * u
    y = tf.argmax(model(images, training=True), 1)
    with tf.GradientTape() as tape:
        tape.watch(noisy)
        loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(noisy, training=True)))
    return np.clip(noisy + epsilon * tf.sign(tape.gradient(loss, noisy)), 0, 1)


@pytest.mark.parametrize("start", ["image", "noise"])
def test_ensemble_training_mixes_clean_static_and_its_own_examples_in_equal_parts(start, eagerly):
    """A fifth of the places each is clean and of D's own FGS, three fifths are static; the update is SGD on that mixture."""
    spec = experiment("digits", "ensemble", own_examples=True, fgs_start=start, epsilon=0.2, classifier_width=4)
    players = random_players(spec)
    reference = Reference(players, spec)
    (images, y), (static, _) = minibatch(0, size=200), minibatch(1, size=200)
    own = attacks.fgs(reference.d.model, np.float64(images), None, 0.2, training=True).numpy()
    if start == "noise":
        own = step_from_noise(reference.d.model, np.float64(images), 0.2)
    kinds = tf.random.stateless_uniform([200], (0, 0), 0, 5, tf.int32).numpy()
    assert [np.sum(kinds == 0), np.sum(kinds == 4)] == pytest.approx([40, 40], abs=17)  # three standard deviations
    mixed = np.where((kinds == 0)[:, None, None, None], images, static)
    mixed[kinds == 4] = own[kinds == 4]
    actual = METHODS["ensemble"].step(players, np.stack([np.float64(images), static]), y, spec, (0, 0))
    assert float(actual["d_loss"]) == pytest.approx(float(reference.train_on(mixed, y)["d_loss"]), rel=1e-10)
    actual, expected = state_of(players), reference.state()
    assert all(distance([actual[name]], [expected[name]]) < 1e-7 for name in expected)


def test_adam_is_the_one_computed_by_hand():
    """η = 0.002, β = 0.5, 0.999, ε̂ = 1e-8 on gradients so small that the place of ε̂ shows: m = 5e-7 after either one."""
    players = defences.make_players(experiment("digits", "advnet", generator_width=1))
    optimizer = type(players.g_optimizer).from_config(players.g_optimizer.get_config())
    weight = keras.Variable(0.0, dtype="float64")
    first = -0.002 * np.sqrt(0.001) / 0.5 * 5e-7 / (np.sqrt(1e-15) + 1e-8)
    second = first - 0.002 * np.sqrt(0.001999) / 0.75 * 5e-7 / (np.sqrt(1.249e-15) + 1e-8)
    for gradient, expected in ((1e-6, first), (5e-7, second)):
        optimizer.apply([tf.constant(gradient, tf.float64)], [weight])
        assert float(weight.numpy()) == pytest.approx(expected, rel=1e-5)


# ------------------------------------------------------------------------------------- small networks seen through


@keras.saving.register_keras_serializable("test_steps")
class Counter(keras.layers.Layer):
    """Passes its input on and counts how often Python calls it, which a compiled graph does while it is traced only."""

    calls = 0

    def call(self, inputs):
        Counter.calls += 1
        return inputs


SMALL_SHAPE = (4, 4, 1)


def small_players(spec, *, generator_input="image", bn_momentum=0.9):
    """Players whose first layer is BN, so that its averages tell which inputs they saw."""

    def normalised(inputs):
        return keras.layers.BatchNormalization(momentum=bn_momentum)(Counter()(inputs))

    keras.utils.set_random_seed(0)
    image = keras.Input(SMALL_SHAPE, name="image")
    d = keras.Model(image, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(normalised(image))))
    inputs = image if generator_input == "image" else keras.Input((6,), name=generator_input)
    flat = keras.layers.Flatten()(normalised(inputs))
    g = keras.Model(inputs, keras.layers.Reshape(SMALL_SHAPE)(keras.layers.Dense(PIXELS, "tanh")(flat)))
    randomise(d, 0)
    randomise(g, 1)
    d_optimizer = keras.optimizers.SGD(spec.learning_rate, momentum=spec.momentum)
    g_optimizer = keras.optimizers.SGD(spec.generator_learning_rate, momentum=spec.generator_momentum)
    d_optimizer.build(d.trainable_variables)
    g_optimizer.build(g.trainable_variables)
    return defences.Players(d, d_optimizer, g, g_optimizer)


def small_minibatch(number):
    x, y = minibatch(number, SMALL_SHAPE)
    return np.float64(x), y


def averages(model):
    return [variable.numpy() for variable in model.non_trainable_variables]


def averages_after(model, passes, momentum=0.9):
    """The averages of the first BN of `model` after it has seen each of `passes` in turn."""
    mean, variance = averages(model)
    for seen in passes:
        axes = tuple(range(seen.ndim - 1))
        mean = momentum * mean + (1 - momentum) * seen.mean(axes)
        variance = momentum * variance + (1 - momentum) * seen.var(axes)
    return [mean, variance]


def copy(model):
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    return twin


def perturbed(players, x, spec):
    return x + spec.epsilon * copy(players.g)(x, training=True).numpy()


def pgd_example(players, x, y, spec, seed):
    settings = dict(norm=spec.norm, step_size=spec.epsilon / 4, steps=spec.pgd_steps, seed=seed, training=True)
    return attacks.pgd(copy(players.d), x, y, spec.epsilon, **settings).numpy()


PASSES = {
    "standard_step": lambda players, x, y, spec, seed: ([x], []),
    "pgd_step": lambda players, x, y, spec, seed: ([pgd_example(players, x, y, spec, seed)], []),
    "generator_step": lambda players, x, y, spec, seed: ([], [x]),
    "discriminator_step": lambda players, x, y, spec, seed: ([x, perturbed(players, x, spec)], []),
}


@pytest.mark.parametrize(
    ("rule", "norm"),
    [*((rule, {}) for rule in PASSES), ("pgd_step", dict(norm="l2", epsilon=1.5))],
    ids=[*PASSES, "pgd_step in l2"],
)
def test_averages_move_by_the_passes_that_update_their_network_only(rule, norm, eagerly):
    spec = experiment("digits", "advnet", pgd_steps=3, **norm)
    players, (x, y), seed = small_players(spec), small_minibatch(0), (0, 0)
    seen_by_d, seen_by_g = PASSES[rule](players, x, y, spec, seed)
    expected = averages_after(players.d, seen_by_d) + averages_after(players.g, seen_by_g)
    getattr(defences, rule)(players, x, y, spec, seed)
    np.testing.assert_allclose(averages(players.d) + averages(players.g), expected, rtol=1e-12)


def other_norm_players(spec):
    """A smooth classifier, and a smooth generator that ends as those of the experiment's norm do."""
    keras.utils.set_random_seed(0)
    image = keras.Input(SMALL_SHAPE, name="image")
    hidden = keras.layers.Dense(6, "tanh")(keras.layers.Flatten()(image))
    d = keras.Model(image, keras.layers.Dense(CLASSES)(hidden))
    perturbation = keras.layers.Reshape(SMALL_SHAPE)(keras.layers.Dense(PIXELS)(hidden))
    g = keras.Model(image, networks.perturbation_of(perturbation, spec.norm))
    for number, model in enumerate((d, g)):
        randomise(model, number)
    g_optimizer = keras.optimizers.SGD(spec.generator_learning_rate)
    g_optimizer.build(g.trainable_variables)
    return defences.Players(d, None, g, g_optimizer)


each_other_norm = pytest.mark.parametrize(
    "norm", [dict(norm="l2", epsilon=1.5), dict(norm="l1", epsilon=4.0)], ids=["l2", "l1"]
)


@each_other_norm
def test_generator_of_another_norm_raises_the_loss_in_the_ball(norm):
    spec = experiment("digits", "advnet", generator_learning_rate=0.05, **norm)
    players, (x, y) = other_norm_players(spec), small_minibatch(0)
    losses = [float(defences.generator_step(players, x, y, spec, (0, 0))["g_loss"]) for _ in range(20)]
    assert all(later > earlier for earlier, later in itertools.pairwise(losses)), losses
    order = {"l2": 2, "l1": 1}[spec.norm]
    lengths = np.linalg.norm((perturbed(players, x, spec) - x).reshape(BATCH, -1), order, axis=1)
    np.testing.assert_allclose(lengths, spec.epsilon, rtol=1e-12)


@each_other_norm
def test_exact_regulariser_and_finite_difference_agree_through_the_norm(norm):
    def gradient(regulariser):
        settings = dict(gradient_penalty=1.0, generator_learning_rate=1e-6, regulariser=regulariser)
        spec = experiment("digits", "advnet", **settings, **norm)
        players, (x, y) = other_norm_players(spec), small_minibatch(0)
        return defences.regularised_gradient(players.d, players.generators, [x], x, y, spec)[0]

    plain = gradient("none")
    exact = difference(gradient("exact"), plain)
    assert distance(difference(gradient("fd"), plain), exact) < 1e-4
    assert distance(plain, difference(plain, exact)) > 1e-3


def test_exact_regulariser_and_finite_difference_agree_through_batch_normalisation():
    keras.utils.set_random_seed(0)
    image = keras.Input(SMALL_SHAPE, name="image")
    hidden = keras.layers.Dense(6, "tanh")(keras.layers.Flatten()(image))
    d = keras.Model(image, keras.layers.Dense(CLASSES)(keras.layers.BatchNormalization()(hidden)))
    runtime.prepare(d, double_backprop=True)
    x, y = small_minibatch(0)

    def gradient(regulariser):
        settings = dict(gradient_penalty=1.0, generator_learning_rate=1e-5, epsilon=0.5, regulariser=regulariser)
        spec = experiment("digits", "advnet", **settings)
        return defences.regularised_gradient(d, [small_players(spec).g], [x], x, y, spec)[0]

    plain = gradient("none")
    assert distance(difference(gradient("fd"), plain), difference(gradient("exact"), plain)) < 1e-4


def test_logits_in_inference_mode_depend_neither_on_the_batch_nor_on_its_order(eagerly):
    classifier = networks.d2(IMAGE_SHAPE, CLASSES, 16)
    randomise(classifier, 0)
    x, order = np.float64(minibatch(0)[0]), np.random.default_rng(0).permutation(BATCH)
    logits = attacks.predict(classifier, x).numpy()
    np.testing.assert_allclose(attacks.predict(classifier, x[order]), logits[order], rtol=1e-10)
    one_by_one = [attacks.predict(classifier, x[i : i + 1]).numpy()[0] for i in range(BATCH)]
    np.testing.assert_allclose(one_by_one, logits, rtol=1e-10)
    assert distance([attacks.predict(classifier, x[:4], training=True)], [logits[:4]]) > 0.01


def test_noise_is_one_draw_per_minibatch(eagerly):
    """With averages of momentum 0, BN holds the mean of what it saw last: the noise in G, the perturbed images in D."""
    spec = experiment("digits", "advnet")
    players = small_players(spec, generator_input="noise", bn_momentum=0)
    drawn = []
    for step in range(3):
        (x, y), seed = small_minibatch(step), (5, step)
        means = []
        for _ in range(5):
            defences.generator_step(players, x, y, spec, seed)
            means.append(averages(players.g)[0])
        noise = tf.random.stateless_normal((BATCH, 6), seed, dtype=tf.float64)
        np.testing.assert_allclose(means, [np.mean(noise, 0)] * 5, rtol=1e-12)
        images = x + spec.epsilon * copy(players.g)(noise, training=True)
        defences.discriminator_step(players, x, y, spec, seed)
        np.testing.assert_allclose(averages(players.d)[0], np.mean(images, (0, 1, 2)), rtol=1e-12)
        drawn.append(np.mean(noise))
    assert len(set(drawn)) == 3


def test_classifier_moves_on_every_so_many_th_minibatch(eagerly):
    spec = experiment("digits", "advnet", discriminator_period=3, generator_steps=2)
    players, moved = small_players(spec), []
    for step in range(6):
        before, g_before = arrays(players.d.variables), arrays(players.g.variables)
        defences.adversarial_network_step(players, *small_minibatch(step), spec, (0, step))
        moved.append(any(np.any(a != b) for a, b in zip(before, players.d.variables, strict=True)))
        assert all(np.any(a != b) for a, b in zip(g_before, players.g.variables, strict=True))
    assert moved == [False, False, True, False, False, True]
    assert int(players.g_optimizer.iterations.numpy()) == 12


@pytest.mark.parametrize(
    ("method", "reads_the_seed"), (("standard", False), ("ensemble", False), ("pgd", True), ("advnet", True))
)
def test_a_step_is_traced_once_and_a_function_of_state_seed_and_minibatch(method, reads_the_seed):
    spec = experiment("digits", method)
    players, (x, y) = small_players(spec, generator_input="noise"), small_minibatch(0)
    start, calls = arrays(players.variables()), [Counter.calls]

    def result(seed, x=x):
        for variable, value in zip(players.variables(), start, strict=True):
            variable.assign(value)
        scalars = METHODS[method].step(players, x, y, spec, seed)
        calls.append(Counter.calls)
        return [*arrays(players.variables()), *map(np.array, scalars.values())]

    first, other, again, of_other_images = result((1, 2)), result((1, 3)), result((1, 2)), result((1, 2), x[::-1])
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert (distance(other, first) > 0) == reads_the_seed
    assert distance(of_other_images, first) > 0
    assert calls[1] > calls[0]
    assert calls[2:] == calls[1:2] * 3


# ------------------------------------------------------------------------------------------------ several adversaries


def team(spec):
    """D against a generator of the image and one of noise that share an optimiser, all of plain layers and BN in D only."""
    keras.utils.set_random_seed(0)
    d = keras.Sequential([keras.Input(SMALL_SHAPE), keras.layers.BatchNormalization(momentum=0), keras.layers.Flatten()])
    d.add(keras.layers.Dense(CLASSES))
    generators = []
    for name, shape in (("image", SMALL_SHAPE), ("noise", (6,))):
        inputs = keras.Input(shape, name=name)
        flat = keras.layers.Dense(PIXELS, "tanh")(keras.layers.Flatten()(inputs))
        generators.append(keras.Model(inputs, keras.layers.Reshape(SMALL_SHAPE)(flat)))
    for number, model in enumerate((d, *generators)):
        randomise(model, number)
    d_optimizer = keras.optimizers.SGD(spec.learning_rate)
    g_optimizer = keras.optimizers.SGD(spec.generator_learning_rate)
    d_optimizer.build(d.trainable_variables)
    g_optimizer.build([variable for g in generators for variable in g.trainable_variables])
    return defences.Players(d, d_optimizer, generators[0], g_optimizer, (generators[1],))


def team_minibatch(*, static):
    """A minibatch as the rules take it; the images alone; what stands in for the last third of them; labels."""
    x, y = small_minibatch(0)
    other = np.float64(minibatch(1, SMALL_SHAPE)[0])
    return (np.stack([x, other]), y, x, other[BATCH * 2 // 3 :]) if static else (x, y, x, other[BATCH:])


def team_images(players, x, replaced, spec, seed):
    """The adversarial images: the first share by the first generator, the next by the second, then the static ones."""
    x = x[: len(x) - len(replaced)]
    first, second = x[: len(x) // 2], x[len(x) // 2 :]
    own_seed = tf.random.experimental.stateless_fold_in(tf.constant(seed), 1)
    noise = tf.random.stateless_normal((len(second), 6), own_seed, dtype=tf.float64)
    by_image, by_noise = players.g(first), players.further[0](noise)
    return tf.concat([first + spec.epsilon * by_image, second + spec.epsilon * by_noise, replaced], 0)


SHARED = pytest.mark.parametrize("static", (False, True), ids=("generators", "generators and static examples"))


@SHARED
def test_generators_share_out_the_minibatch_and_each_ascends_on_its_share_of_eq_4(static, eagerly):
    spec = experiment("digits", "advnet", generator_learning_rate=0.5, generator_optimizer="sgd")
    players, (x, y, images, replaced), seed = team(spec), team_minibatch(static=static), (3, 4)
    variables = [variable for g in players.generators for variable in g.trainable_variables]
    with tf.GradientTape() as tape:
        perturbed = team_images(players, images, replaced, spec, seed)[: BATCH - len(replaced)]
        logits = players.d(perturbed, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y[: len(perturbed)], logits)
        objective = tf.reduce_sum(losses) / len(y)
    expected = [value + 0.5 * part for value, part in zip(variables, tape.gradient(objective, variables), strict=True)]
    expected = arrays(expected)
    defences.generator_step(players, x, y, spec, seed)
    assert distance(arrays(variables), expected) < 1e-12


@SHARED
def test_discriminator_descends_on_eq_5_against_all_adversaries(static, eagerly):
    settings = dict(regulariser="fd", gradient_penalty=0.3, weight_decay=0.0, learning_rate=0.1)
    spec = experiment("digits", "advnet", **settings)
    players, (x, y, images, replaced), seed = team(spec), team_minibatch(static=static), (3, 4)
    theta = players.d.trainable_variables
    phi = [variable for g in players.generators for variable in g.trainable_variables]

    def gradients():
        with tf.GradientTape() as tape:
            adversarial = players.d(team_images(players, images, replaced, spec, seed), training=True)
            loss = cross_entropy(y, adversarial)
        found = arrays(tape.gradient(loss, theta + phi))
        return found[: len(theta)], found[len(theta) :]

    here, v = gradients()
    h, kept = spec.finite_difference_step, arrays(phi)
    for variable, value, part in zip(phi, kept, v, strict=True):
        variable.assign(value + h * part)
    there, _ = gradients()
    for variable, value in zip(phi, kept, strict=True):
        variable.assign(value)
    with tf.GradientTape() as tape:
        loss = cross_entropy(y, players.d(images, training=True))
    clean = arrays(tape.gradient(loss, theta))
    moves = [c + a + 0.3 * (b - a) / h for c, a, b in zip(clean, here, there, strict=True)]
    expected = [value.numpy() - 0.1 * move for value, move in zip(theta, moves, strict=True)]
    defences.discriminator_step(players, x, y, spec, seed)
    assert distance(arrays(theta), expected) < 1e-10
    # With averages of momentum 0, D's BN holds the adversarial images, which it saw last.
    seen = team_images(players, images, replaced, spec, seed).numpy()
    np.testing.assert_allclose(averages(players.d)[0], seen.mean((0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("bn_evaluation", ("moving", "batch"))
def test_generator_against_a_frozen_classifier_sees_it_as_in_its_evaluation(bn_evaluation, eagerly):
    spec = experiment("digits", "generator", bn_evaluation=bn_evaluation)
    players, (x, y) = small_players(spec), small_minibatch(0)
    before, variables = arrays(players.d.variables), players.g.trainable_variables
    with tf.GradientTape() as tape:
        perturbation = networks.discarding_statistics(players.g, x, training=True)
        logits = copy(players.d)(x + spec.epsilon * perturbation, training=bn_evaluation == "batch")
        loss = cross_entropy(y, logits)
    ascent = tape.gradient(loss, variables)
    expected = arrays([value + spec.generator_learning_rate * part for value, part in zip(variables, ascent, strict=True)])
    scalars = METHODS["generator"].step(players, x, y, spec, (0, 0))
    assert distance(arrays(variables), expected) < 1e-12
    assert float(scalars["g_loss"]) == pytest.approx(float(loss), rel=1e-12)
    assert all(np.array_equal(a, b) for a, b in zip(before, players.d.variables, strict=True))


def test_comparison_of_the_regularisers_agrees_where_the_networks_are_smooth(monkeypatch, eagerly):
    settings = dict(classifier="d1", classifier_width=2, generators=("released_mnist",), generator_width=2)
    spec = experiment("digits", "advnet", **settings, generator_learning_rate=1e-5, epsilon=0.3)
    monkeypatch.setattr(keras.layers, "ReLU", lambda: keras.layers.Activation("softplus"))
    comparison, (x, y) = defences.RegulariserComparison(spec), minibatch(0)
    x = np.float64(x)
    # D ignores its images at first, so that the products are zero and have no angle.
    found = comparison.measure(defences.make_players(spec), x, y, (0, 0))
    assert {name: float(value) for name, value in found.items()} == {"regulariser_exact_norm": 0}

    players = random_players(spec)
    before = arrays(players.variables())
    found = comparison.measure(players, x, y, (0, 0))
    assert float(found["regulariser_cosine"]) == pytest.approx(1, abs=1e-4)
    assert 0 < float(found["regulariser_relative_difference"]) < 1e-2
    gradients = [
        defences.regularised_gradient(
            comparison.twins.d, comparison.twins.generators, [x], x, y, dataclasses.replace(spec, regulariser=kind)
        )[0]
        for kind in ("exact", "none")
    ]
    assert float(found["regulariser_exact_norm"]) == pytest.approx(norm(difference(*gradients)), rel=1e-10)
    assert all(np.array_equal(a, b) for a, b in zip(before, arrays(players.variables()), strict=True))


def test_equal_experiments_share_a_graph_and_others_have_their_own():
    x, y = small_minibatch(0)

    def spec(**overrides):
        return experiment("digits", "standard", **overrides)

    players = small_players(spec())
    for _ in range(2):
        defences.standard_step(players, x, y, spec(), (0, 0))
    (graph,) = players.graphs.values()
    assert graph.experimental_get_tracing_count() == 1
    decays = [
        float(defences.standard_step(players, x, y, spec(weight_decay=decay), (0, 0))["d_weight_decay"]) for decay in (0, 1)
    ]
    assert decays[0] == 0 < decays[1]


# ------------------------------------------------------------------------------------------------------- the players


@pytest.mark.parametrize("rule", ("standard_step", "discriminator_step", "generator_step"))
def test_weight_decay_acts_on_kernels_only(rule, eagerly):
    player, setting, amount, rate = (
        ("g", "generator_weight_decay", 0.3, 0.002) if rule == "generator_step" else ("d", "weight_decay", 0.3, 0.01)
    )

    def outcome(decay):
        spec = experiment("digits", "advnet", regulariser="none", **{setting: decay})
        players = small_players(spec)
        model = getattr(players, player)
        before = arrays(model.trainable_variables)
        getattr(defences, rule)(players, *small_minibatch(0), spec, (0, 0))
        return [variable.path for variable in model.trainable_variables], before, arrays(model.trainable_variables)

    names, before, decayed = outcome(amount)
    _, _, plain = outcome(0.0)
    for name, value, with_decay, without in zip(names, before, decayed, plain, strict=True):
        expected = -rate * amount * value if name.endswith("kernel") else np.zeros_like(value)
        np.testing.assert_allclose(with_decay - without, expected, rtol=1e-9, atol=1e-15, err_msg=name)


def test_players_of_the_exact_regulariser_have_second_derivatives_through_the_batch_mean():
    spec = experiment("digits", "advnet", classifier="d2", classifier_width=2, generator_width=2, regulariser="exact")
    players = defences.make_players(spec)

    def by_hand(x):
        centred = x - tf.reduce_mean(x, (0, 1, 2))
        return centred / tf.sqrt(tf.reduce_mean(centred**2, (0, 1, 2)) + 1e-5)

    def second_derivative(normalise, x, weights, direction):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = tf.reduce_sum(weights * tf.tanh(normalise(x)))
            slope = tf.reduce_sum(direction * inner.gradient(value, x))
        return outer.gradient(slope, x)

    for player in (players.d, players.g):
        layer = next(layer for layer in player.layers if isinstance(layer, keras.layers.BatchNormalization))
        random = np.random.default_rng(0)
        x = tf.constant(random.normal(size=(BATCH, 4, 4, layer.gamma.shape[0])))
        point = x, random.normal(size=x.shape), random.uniform(size=x.shape)
        by_layer = second_derivative(functools.partial(layer, training=True), *point)
        assert distance([by_layer], [second_derivative(by_hand, *point)]) < 1e-10


def test_initial_weights_are_a_function_of_the_seed():
    first, again, other = (
        defences.make_players(experiment("digits", "advnet", seed=seed, generator_width=1)) for seed in (1, 1, 2)
    )
    for model, twin, stranger in ((first.d, again.d, other.d), (first.g, again.g, other.g)):
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), twin.get_weights(), strict=True))
        assert distance(stranger.get_weights(), model.get_weights()) > 0.1


@pytest.mark.parametrize(
    ("dataset", "method", "protocol", "rates"),
    (
        ("mnist", "standard", "paper", {0: 0.01, 199_999: 0.01}),
        ("svhn", "pgd", "paper", {99_999: 0.01, 100_000: 0.001, 199_999: 0.001}),
        ("cifar10", "standard", "paper", {0: 0.1, 99_999: 0.1, 100_000: 0.01, 199_999: 0.01}),
        ("cifar10", "standard", "released", {99_999: 0.1, 100_000: 0.01, 149_999: 0.01, 150_000: 0.001}),
        # D is updated on every fifth minibatch, so 100,000 of those are 20,000 of its updates.
        ("mnist", "advnet", "released", {19_999: 0.01, 20_000: 0.001, 39_999: 0.001}),
    ),
)
def test_learning_rate_drops_by_ten_where_the_recipe_says(dataset, method, protocol, rates):
    spec = experiment(dataset, method, protocol=protocol, scale="paper", classifier_width=1, generator_width=1)
    optimizer = defences.make_players(spec).d_optimizer
    for updates, rate in rates.items():
        optimizer.iterations.assign(updates)
        assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("dataset", "rule", "expected"),
    (
        ("svhn", keras.optimizers.SGD, dict(learning_rate=0.01, momentum=0.9, nesterov=False)),
        ("cifar10", keras.optimizers.Adam, dict(learning_rate=0.002, beta_1=0.5, beta_2=0.999, epsilon=1e-8)),
    ),
)
def test_generator_is_trained_by_the_optimiser_of_the_recipe(dataset, rule, expected):
    spec = experiment(dataset, "advnet", scale="paper", classifier_width=1, generator_width=1)
    optimizer = defences.make_players(spec).g_optimizer
    assert isinstance(optimizer, rule)
    config = optimizer.get_config()
    assert {name: config[name] for name in expected} == pytest.approx(expected)
