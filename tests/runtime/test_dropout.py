"""Dropout by the seed of a step: one mask for all its passes, nothing outside of it, and the same after a resume."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, defences, runtime
from adv_networks.experiments import experiment
from benchmarks.kill import outcome
from tests.training.helpers import stopped, tiny, train

ONES = tf.ones((400, 50))


@pytest.fixture
def model():
    inputs = keras.Input((50,))
    outputs = keras.layers.Dropout(0.2)(inputs), keras.layers.Dropout(0.5, noise_shape=(None, 1))(inputs)
    return runtime.prepare(keras.Model(inputs, outputs))


def dropped(model, seed, inputs=ONES):
    with runtime.dropping(seed):
        return [output.numpy() for output in runtime.discarding_statistics(model, inputs, training=True)]


def test_masks_are_a_function_of_the_seed_and_of_the_layer(model, runtime_mode):
    (first, of_rows), again, other = (dropped(model, seed) for seed in ((3, 7), (3, 7), (3, 8)))
    np.testing.assert_array_equal(first, again[0])
    assert 0.25 < np.mean(first != other[0]) < 0.4  # 2 · 0.2 · 0.8 if they are independent
    assert set(np.unique(first)) == {0, np.float32(1.25)}
    assert abs(np.mean(first == 0) - 0.2) < 4 * np.sqrt(0.2 * 0.8 / first.size)
    assert (of_rows == of_rows[:, :1]).all() and set(np.unique(of_rows)) == {0, 2}
    assert abs(np.corrcoef(first[:, 0], of_rows[:, 0])[0, 1]) < 0.2


def test_nothing_is_dropped_in_inference(model):
    with runtime.dropping((0, 0)):
        np.testing.assert_array_equal(model(ONES, training=False)[0], ONES)


def test_any_other_call_is_that_of_keras(model):
    first, second = (model(ONES, training=True)[0].numpy() for _ in range(2))
    assert (first != second).any()
    assert abs(np.mean(first == 0) - 0.2) < 0.02


def linear(rate):
    image = keras.Input((4, 4, 1))
    logits = keras.layers.Dense(2, use_bias=False)(keras.layers.Dropout(rate)(keras.layers.Flatten()(image)))
    model = keras.Model(image, logits)
    model.set_weights([np.stack([np.ones(16), -np.ones(16)], 1)])
    return runtime.prepare(model)


@pytest.mark.parametrize("steps", [1, 5])
def test_all_steps_of_an_attack_drop_the_same_units(steps):
    """A dropped pixel has no gradient; with fresh masks every pixel would have moved after some of the steps."""
    x, y = np.full((32, 4, 4, 1), 0.5, np.float32), np.zeros(32, int)
    options = dict(step_size=0.01, steps=steps, random_start=False)
    with runtime.dropping((0, 1)):
        thinned = attacks.pgd(linear(0.5), x, y, 0.1, training=True, **options).numpy()
    moved = np.abs(thinned - x) > 1e-6
    np.testing.assert_allclose(thinned, x - 0.01 * steps * moved, atol=1e-6)
    assert 0.4 < moved.mean() < 0.6


def test_step_is_a_function_of_state_seed_and_batch():
    spec = experiment("digits", "pgd", classifier="mlp", classifier_width=8, pgd_steps=2)
    x, y = np.random.default_rng(0).random((16, 8, 8, 1), np.float32), np.arange(16) % 10
    players = defences.make_players(spec)
    start = [variable.numpy() for variable in players.variables()]
    ends = []
    for seed in ((0, 0), (0, 0), (0, 1)):
        for variable, value in zip(players.variables(), start, strict=True):
            variable.assign(value)
        defences.pgd_step(players, x, y, spec, seed)
        ends.append(players.d.get_weights()[0])
    np.testing.assert_array_equal(ends[0], ends[1])
    assert np.abs(ends[2] - ends[0]).max() > 0


@pytest.mark.slow
def test_run_with_dropout_resumes_to_the_same_bits(tmp_path):
    spec = tiny("pgd", classifier="mlp", classifier_width=8, pgd_steps=2)
    train(spec, tmp_path / "run")
    stopped(spec, tmp_path / "again", 3)
    train(spec, tmp_path / "again")
    assert outcome(tmp_path / "again") == outcome(tmp_path / "run")
