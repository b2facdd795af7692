"""Several replicas against one: the same arithmetic, on logical CPU devices in a process of their own."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, data, defences, networks, training
from adv_networks.errors import UsageError
from adv_networks.experiments import METHODS, experiment
from adv_networks.runtime import devices
from tests.conftest import SMALLEST, precision

SHAPE = (4, 4, 1)


def classifier(spec):
    """Few layers, but each kind."""
    layers = keras.layers
    x = image = keras.Input(SHAPE, name="image")
    for filters in (3, 4):
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(layers.Conv2D(filters, 3, padding="same")(x)))
    return keras.Model(image, layers.Dense(10)(layers.Dropout(spec.dropout)(layers.Flatten()(x))))


def generator(name):
    layers = keras.layers
    inputs = keras.Input(SHAPE if name == "image" else (6,), name=name)
    x = layers.BatchNormalization(momentum=0.9)(layers.Dense(8, use_bias=False)(layers.Flatten()(inputs)))
    return keras.Model(inputs, layers.Reshape(SHAPE)(layers.Dense(16, "tanh")(layers.ReLU()(x))))


def play(replicas, games, file):
    """Writes what `outcomes` tells of so many replicas, of four in double precision only; in a process of its own."""
    networks.classifier = classifier
    networks.generators = lambda spec: [generator({"g1": "image", "g2": "noise"}[name]) for name in spec.generators]
    strategy = devices.make("auto", replicas) if replicas > 1 else tf.distribute.get_strategy()
    with precision("float64"), strategy.scope():
        results = [three_steps(*GAMES[game]) for game in games]
    with strategy.scope():
        changes = changes_in_float32(reorderings=12 if replicas == 1 else 0) if replicas <= 2 else None
        trained = pgd_training_in_float32(reorderings=4 if replicas == 1 else 0) if replicas <= 2 else None
    file.write_text(json.dumps([*results, changes, trained]))


def three_steps(method, overrides):
    spec, states, scalars = experiment("digits", method, dropout=0.25, **overrides), [], []
    rng, players = np.random.default_rng(0), METHODS[method].build(spec, needed_by(spec))
    shape = SHAPE if METHODS[method].trains_classifier else (8, 8, 1)
    for number in range(3):
        x = rng.random((2, 24, *shape) if METHODS[method].static_examples else (24, *shape))
        logged = METHODS[method].step(players, x, rng.integers(0, 10, 24), spec, (spec.seed, number))
        scalars.append({name: float(value) for name, value in logged.items()})
        states.append([value.numpy().ravel().tolist() for value in players.variables()])
    return states, scalars


def needed_by(spec):
    """Fresh classifiers in place of finished runs, from another seed than the player's own."""
    keras.utils.set_random_seed(7)
    return {role: defences.NeededRun(own, None, "", classifier(own)) for role, own in spec.needs().items() if role == "teacher"}


def changes_in_float32(reorderings):
    # In another order other units of an image would be dropped.
    spec, changes, rng = experiment("digits", "advnet", gradient_penalty=0.1, dropout=0.0), [], np.random.default_rng(0)
    x, y = rng.random((24, *SHAPE), np.float32), rng.integers(0, 10, 24)
    players = defences.make_players(spec)
    state = players.variables()
    start = [value.numpy() for value in state]
    for order in [np.arange(24), *(rng.permutation(24) for _ in range(reorderings))]:
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        defences.adversarial_network_step(players, x[order], y[order], spec, (0, 0))
        changes.append([(variable.numpy() - value).ravel().tolist() for variable, value in zip(state, start, strict=True)])
    return changes


def pgd_training_in_float32(reorderings):
    """D1's weights after 20 steps of PGD training, its layers as Keras has them; and where each update has its images in
    another order, once they are crafted."""
    spec, random = experiment("digits", "pgd", pgd_steps=3), np.random.default_rng(0)
    images, labels = data.load("digits", "train")
    keras.utils.set_random_seed(0)
    d = networks.d1((8, 8, 1), 10, 16, logits_initializer="zeros")
    optimizer = keras.optimizers.SGD(spec.learning_rate, momentum=spec.momentum)
    optimizer.build(d.trainable_variables)
    players = defences.Players(d, optimizer)
    start, found = [variable.numpy() for variable in players.variables()], []
    attack = dict(step_size=spec.epsilon * spec.pgd_step_fraction, steps=spec.pgd_steps, training=True)
    for order in [None, *(random.permutation(24) for _ in range(reorderings))]:
        for variable, value in zip(players.variables(), start, strict=True):
            variable.assign(value)
        for number in range(20):
            rows, seed = slice(24 * number, 24 * (number + 1)), (0, number)
            x, y = images[rows] / np.float32(255), labels[rows]
            if order is None:
                defences.pgd_step(players, x, y, spec, seed)
            else:
                adversarial = attacks.pgd(d, x, y, spec.epsilon, seed=seed, **attack).numpy()
                defences.standard_step(players, adversarial[order], y[order], spec, seed)
        found.append([np.ravel(weight).tolist() for weight in d.get_weights()])
    return found


GAMES = {
    "PGD": ("pgd", dict(pgd_steps=2)),
    "adversarial network": ("advnet", dict(gradient_penalty=0.1, generator_optimizer="sgd", generator_weight_decay=1e-3)),
    "exact regulariser": ("advnet", dict(regulariser="exact", gradient_penalty=0.1)),
    "own examples": ("ensemble", dict(own_examples=True)),
    "several adversaries": ("advnet+ensemble", dict(generators=("g1", "g2"))),
    "noise": ("noise", {}),
    "teacher": ("teacher", dict(temperature=5.0)),
    "distillation": ("distillation", dict(temperature=5.0)),
    "contrastive": ("contrastive", {}),
    "autoencoders": ("magnet", dict(validation=10, autoencoder_learning_rate=1e-3)),
    "grey": ("magnet_grey", dict(autoencoder_width=1, autoencoder_learning_rate=1e-3, alone=0.0, diversity=5.0)),
    "GAN": ("defense_gan", dict(gan_width=2, gan_latent=3, critic_steps=2)),
    "reconstructed": ("reconstructed", {}),
}
GAMES_AND_REPLICAS = [*((game, 2) for game in GAMES), ("adversarial network", 4)]


@pytest.fixture(scope="module")
def outcomes(fork, tmp_path_factory):
    """By game and number of replicas: the state after each of three steps, and what the steps logged.

    "in float32": what one step changes, and on one replica what it does on the same minibatch in 12 other orders.
    "PGD training": what `pgd_training_in_float32` ends with.
    """
    found = {}
    for replicas in (1, 2, 4):  # a process each: the group of a collective operation cannot change its size
        games = [game for game, count in GAMES_AND_REPLICAS if count == replicas] if replicas > 1 else GAMES
        file = tmp_path_factory.mktemp("replicas") / "outcomes.json"
        process = fork(play, replicas, list(games), file)
        assert process.wait() == 0, process.said()
        results = json.loads(file.read_text())
        found |= {
            (game, replicas): result for game, result in zip((*games, "in float32", "PGD training"), results, strict=True)
        }
    return found


def distance(states, others):
    a, b = (np.concatenate([np.ravel(value) for value in parts]) for parts in (states, others))
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.slow
@pytest.mark.parametrize(("game", "replicas"), GAMES_AND_REPLICAS)
def test_replicas_do_what_one_does(game, replicas, outcomes):
    (states, scalars), (expected, expected_scalars) = outcomes[game, replicas], outcomes[game, 1]
    assert distance(states[0], expected[0]) < 1e-10
    assert distance(states[2], expected[2]) < 1e-6
    for found, wanted in zip(scalars, expected_scalars, strict=True):
        assert found == pytest.approx(wanted, rel=1e-6)


@pytest.mark.slow
def test_in_float32_replicas_are_no_farther_from_one_than_it_is_from_itself_on_reordered_batches(outcomes):
    (found,), (expected, *reordered) = outcomes["in float32", 2], outcomes["in float32", 1]
    assert 0 < distance(found, expected) <= max(distance(other, expected) for other in reordered) < 0.1


@pytest.mark.slow
def test_twenty_steps_of_pgd_training_differ_as_those_of_one_replica_on_reordered_batches(outcomes):
    """2 is for the chance that the orders drawn are near: all are sums of the same terms in other orders."""
    (found,), (expected, *reordered) = outcomes["PGD training", 2], outcomes["PGD training", 1]
    farthest = max(distance(other, expected) for other in reordered)
    assert 0 < distance(found, expected) <= 2 * farthest < 1e-6


def test_minibatch_that_does_not_split_evenly_is_refused(tmp_path):
    class TwoReplicas:
        num_replicas_in_sync = 2

    spec = experiment("digits", "advnet", scale="tiny", batch_size=6, generators=("g1", "g2"))
    with pytest.raises(UsageError, match=r"batch_size: expected a multiple of 4 \(2 replicas, 2 adversaries\), received 6"):
        training.train(spec, tmp_path, strategy=TwoReplicas())
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_run_on_two_replicas_ends_like_one(start, tmp_path):
    weights = []
    for replicas in ("0", "2"):
        places = [f"--runs={tmp_path / replicas}", f"--results={tmp_path}"]
        # Not by Adam, whose first steps are of one size however small the gradients that rounding decides.
        how = ["--method=advnet", "--generator_optimizer=sgd", *SMALLEST, "--validation=100", f"--replicas={replicas}"]
        process = start([*how, *places])
        assert process.wait() == 0, process.said()
        (run,) = (tmp_path / replicas).iterdir()
        weights.append([keras.models.load_model(run / name).get_weights() for name in ("d.keras", "g.keras")])
    for one, two in zip(*weights, strict=True):
        assert distance(two, one) < 1e-4
