"""Several replicas against one: the same arithmetic, on logical CPU devices in a process of their own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adv_networks import training
from adv_networks.errors import UsageError
from adv_networks.experiments import experiment

ROOT = Path(training.__file__).parents[1]

# Few layers, but each kind: BN in D and in the generators, and a generator of noise.
PROGRAM = """
import json, sys
import keras, numpy as np, tensorflow as tf
from adv_networks import networks, steps, strategies
from adv_networks.experiments import experiment

keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")
layers, SHAPE = keras.layers, (4, 4, 1)

def classifier(spec):
    x = image = keras.Input(SHAPE, name="image")
    for filters in (3, 4):
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(layers.Conv2D(filters, 3, padding="same")(x)))
    return keras.Model(image, layers.Dense(10)(layers.Flatten()(x)))

def generator(name):
    inputs = keras.Input(SHAPE if name == "image" else (6,), name=name)
    x = layers.BatchNormalization(momentum=0.9)(layers.Dense(8, use_bias=False)(layers.Flatten()(inputs)))
    return keras.Model(inputs, layers.Reshape(SHAPE)(layers.Dense(16, "tanh")(layers.ReLU()(x))))

networks.classifier = classifier
networks.generators = lambda spec: [generator({"g1": "image", "g2": "noise"}[name]) for name in spec.generators]
results, replicas = [], int(sys.argv[1])
strategy = strategies.make("auto", replicas) if replicas > 1 else tf.distribute.get_strategy()
for method, overrides in json.loads(sys.argv[2]):
    spec, states, scalars = experiment("digits", method, **overrides), [], []
    rng = np.random.default_rng(0)
    with strategy.scope():
        players = steps.make_players(spec)
        for number in range(3):
            x = rng.random((2, 24, *SHAPE) if method == "advnet+ensemble" else (24, *SHAPE))
            logged = steps.STEPS[method](players, x, rng.integers(0, 10, 24), spec, (spec.seed, number))
            scalars.append({name: float(value) for name, value in logged.items()})
            states.append([value.numpy().ravel().tolist() for value in players.variables()])
    results.append([states, scalars])
keras.config.set_floatx("float32")
keras.config.set_dtype_policy("float32")
spec, changes, rng = experiment("digits", "advnet", gradient_penalty=0.1), [], np.random.default_rng(0)
x, y = rng.random((24, *SHAPE), np.float32), rng.integers(0, 10, 24)
with strategy.scope():
    players = steps.make_players(spec)
    state = players.variables()
    start = [value.numpy() for value in state]
    for order in [np.arange(24), *(rng.permutation(24) for _ in range(12 if replicas == 1 else 0))]:
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        steps.adversarial_network_step(players, x[order], y[order], spec, (0, 0))
        changes.append([(variable.numpy() - value).ravel().tolist() for variable, value in zip(state, start, strict=True)])
print(json.dumps([*results, changes]))
"""

GAMES = {
    "standard": ("standard", {}),
    "PGD": ("pgd", dict(pgd_steps=2)),
    "adversarial network": ("advnet", dict(gradient_penalty=0.1, generator_optimizer="sgd", generator_weight_decay=1e-3)),
    "exact regulariser": ("advnet", dict(regulariser="exact", gradient_penalty=0.1)),
    "several adversaries": ("advnet+ensemble", dict(generators=("g1", "g2"))),
}
GAMES_AND_REPLICAS = [*((game, 2) for game in GAMES), ("adversarial network", 4)]


@pytest.fixture(scope="module")
def outcomes():
    """By game and number of replicas: the state after each of three steps, and what the steps logged.

    "in float32": what one step changes, and on one replica what it does on the same minibatch in 12 other orders.
    """
    found = {}
    for replicas in (1, 2, 4):  # a process each: the group of a collective operation cannot change its size
        games = [game for game, count in GAMES_AND_REPLICAS if count == replicas] if replicas > 1 else GAMES
        command = [sys.executable, "-c", PROGRAM, str(replicas), json.dumps([GAMES[game] for game in games])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        results = json.loads(done.stdout.splitlines()[-1])
        found |= {(game, replicas): result for game, result in zip((*games, "in float32"), results, strict=True)}
    return found


def distance(states, others):
    a, b = (np.concatenate([np.ravel(value) for value in parts]) for parts in (states, others))
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize(("game", "replicas"), GAMES_AND_REPLICAS)
def test_replicas_do_what_one_does(game, replicas, outcomes):
    (states, scalars), (expected, expected_scalars) = outcomes[game, replicas], outcomes[game, 1]
    assert distance(states[0], expected[0]) < 1e-10
    assert distance(states[2], expected[2]) < 1e-6
    for found, wanted in zip(scalars, expected_scalars, strict=True):
        assert found == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("replicas", (2, 4))
def test_in_float32_replicas_are_no_farther_from_one_than_it_is_from_itself_on_reordered_batches(replicas, outcomes):
    (found,), (expected, *reordered) = outcomes["in float32", replicas], outcomes["in float32", 1]
    assert 0 < distance(found, expected) <= max(distance(other, expected) for other in reordered) < 0.1


def test_minibatch_that_does_not_split_evenly_is_refused(tmp_path):
    class TwoReplicas:
        num_replicas_in_sync = 2

    spec = experiment("digits", "advnet", scale="tiny", batch_size=6, generators=("g1", "g2"))
    with pytest.raises(UsageError, match=r"batch_size: expected a multiple of 4 \(2 replicas, 2 adversaries\), received 6"):
        training.train(spec, tmp_path, strategy=TwoReplicas())
    assert not any(tmp_path.iterdir())


def test_run_on_two_replicas_ends_like_one(tmp_path):
    command = [sys.executable, "main.py", "--method=advnet", "--scale=tiny", "--steps=3", "--width=1", "--noprogress"]
    weights = []
    for replicas in ("0", "2"):
        places = [f"--runs={tmp_path / replicas}", f"--results={tmp_path}"]
        done = subprocess.run([*command, *places, f"--replicas={replicas}"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (run,) = (tmp_path / replicas).iterdir()
        import keras

        weights.append([keras.models.load_model(run / name).get_weights() for name in ("d.keras", "g.keras")])
    for one, two in zip(*weights, strict=True):
        assert distance(two, one) < 1e-4
