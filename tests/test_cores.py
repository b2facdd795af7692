"""Batches shared out among the cores against the same networks in one piece."""

import dataclasses
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, defences, evaluation, networks
from adv_networks.experiments import experiment
from adv_networks.runtime import cores, kernels, start
from adv_networks.runtime.determinism import make_deterministic
from tests.conftest import precision, randomised

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture
def parts(monkeypatch):
    """Networks made from here on share their batches among so many cores."""

    def set_count(count):
        monkeypatch.setattr(cores, "count", lambda: count)

    return set_count


def derivatives(model, x, along, training):
    x, along = (tf.convert_to_tensor(part, model.compute_dtype) for part in (x, along))
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = model(x, training=training)
        total = tf.reduce_sum(outputs * along)
    return [outputs, *tape.gradient(total, [x, *(variable.value for variable in model.trainable_variables)])]


NETWORKS = {
    "d1": lambda: networks.d1((8, 8, 1), 4, 2),
    "d2": lambda: networks.d2((8, 8, 3), 4, 2),
    "d2 of the released code": lambda: networks.d2((8, 8, 3), 4, 2, stem_normalisation=False, final_normalisation=True),
    "g1": lambda: networks.g1((8, 8, 3), 2),
    "g1 of l2": lambda: networks.g1((8, 8, 3), 2, norm="l2"),
    "g2": lambda: networks.g2((8, 8, 1), 2),
    "g3": lambda: networks.g3((8, 8, 1), 4, 2),
    "released_mnist": lambda: networks.released_mnist_generator((8, 8, 1), 2),
}


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_outputs_gradients_and_averages_are_those_of_the_whole_batch(make, training, count, parts):
    parts(count)
    model = randomised(make())
    kernels.accelerate(model)
    cores.share(model)
    with precision("float64"):
        reference = make()
    reference.set_weights(model.get_weights())
    rng = np.random.default_rng(0)
    x = rng.random((7, *model.input_shape[1:]))
    along = rng.normal(size=(7, *model.output_shape[1:]))
    found, expected = (derivatives(each, x, along, training) for each in (model, reference))
    for part, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, other, rtol=0, atol=1e-4 * max(1e-3, np.abs(other).max()))
    for weight, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-5, atol=1e-6)


def test_a_step_in_double_precision_is_that_of_the_whole_batch(parts, float64):
    spec = experiment("digits", "advnet", scale="tiny", classifier="d2", classifier_width=2, generator_width=1)
    spec = dataclasses.replace(spec, regulariser="exact", batch_size=5, generator_steps=1, generators=("released_mnist",))
    rng = np.random.default_rng(0)
    x, y = rng.random((5, 8, 8, 1)), rng.integers(0, 10, 5)
    found = []
    for count in (1, 2):
        parts(count)
        players = defences.make_players(spec)
        assert all(("call" in vars(model)) == (count > 1) for model in (players.d, players.g))
        scalars = defences.adversarial_network_step(players, x, y, spec, (0, 0))
        found.append([*scalars.values(), *players.variables()])
    for whole, shared in zip(*found, strict=True):
        np.testing.assert_allclose(shared, whole, rtol=1e-7, atol=1e-10)


def _same_steps_again():
    make_deterministic()
    spec = experiment("digits", "pgd", scale="tiny", classifier="d2", pgd_steps=2)
    players, rng = defences.make_players(spec), np.random.default_rng(0)
    x, y = rng.random((64, 8, 8, 1), np.float32), rng.integers(0, 10, 64)
    start, ends = [variable.numpy() for variable in players.variables()], set()
    for _ in range(10):
        for variable, value in zip(players.variables(), start, strict=True):
            variable.assign(value)
        for number in range(2):
            defences.pgd_step(players, x, y, spec, (0, number))
        ends.add(b"".join(variable.numpy().tobytes() for variable in players.variables()))
    print("parts", cores.count(), "ends", len(ends))
    return 0


def test_two_cores_give_the_same_bits_again(fork):
    started = fork(_same_steps_again, TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="2")
    assert started.wait() == 0, started.said()
    assert "parts 2 ends 1" in started.said()


@pytest.mark.parametrize("images", [1, 2, 5])
@pytest.mark.parametrize("name", ["d1", "d2"])
def test_attacks_on_any_number_of_images_are_those_on_the_whole_batch(name, images, parts):
    model = randomised(NETWORKS[name]())
    kernels.accelerate(model)
    rng = np.random.default_rng(0)
    x, y = rng.random((images, *model.input_shape[1:]), np.float32), rng.integers(0, 4, images)
    whole = attacks.pgd(model, x, y, 0.1, steps=3, clip_start=False), attacks.predict(model, x)
    parts(3)
    shared = keras.models.clone_model(model)
    shared.set_weights(model.get_weights())
    cores.share(shared)
    np.testing.assert_allclose(attacks.predict(shared, x), whole[1], atol=1e-5)
    np.testing.assert_allclose(attacks.pgd(shared, x, y, 0.1, steps=3, clip_start=False), whole[0], atol=1e-5)


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_networks_are_known(make):
    assert cores._is_known(make())


def test_each_part_is_convolved_by_itself(parts):
    parts(2)
    model = NETWORKS["d1"]()
    cores.share(model)
    traced = tf.function(lambda x: model(x, training=True)).get_concrete_function(tf.zeros([6, 8, 8, 1]))
    convolved = [operation.outputs[0].shape[0] for operation in traced.graph.get_operations() if operation.type == "Conv2D"]
    assert convolved == [3, 3, 3, 3]


def test_models_that_are_not_known_are_shared_in_inference_alone(parts):
    parts(2)
    sizes = []

    class Noted(keras.layers.Layer):
        def call(self, x):
            sizes.append(x.shape[0])
            return x

    model = keras.Sequential([keras.Input((2, 2, 1)), Noted(), keras.layers.Flatten()])
    cores.share(model)
    x = tf.reshape(tf.range(20.0), [5, 2, 2, 1])
    for training, expected in ((False, [2, 3]), (True, [5])):
        sizes.clear()
        np.testing.assert_array_equal(model(x, training=training), np.reshape(x, [5, 4]))
        assert sizes == expected


@pytest.mark.parametrize(
    "operation",
    [lambda x: x - keras.ops.mean(x, 0), lambda x: x / keras.ops.sum(x, 0), lambda x: x / keras.ops.sum(x)],
    ids=["mean", "sum over images", "sum over all"],
)
def test_operations_across_images_have_the_whole_batch_in_training(operation, parts):
    parts(2)
    image = keras.Input((2, 2, 1))
    model = keras.Model(image, operation(image))
    x = tf.constant(np.random.default_rng(0).random((6, 2, 2, 1), np.float32))
    whole = model(x, training=True)
    cores.share(model)
    np.testing.assert_array_equal(model(x, training=True), whole)


def test_loaded_models_are_shared_and_saved_as_they_were(parts, tmp_path):
    parts(2)
    networks.d1((8, 8, 1), 4, 2).save(tmp_path / "d.keras")
    loaded = evaluation.load_model(tmp_path / "d.keras")
    assert "call" in vars(loaded)
    loaded.save(tmp_path / "again.keras")
    plain = keras.models.load_model(tmp_path / "again.keras")
    assert "call" not in vars(plain)
    x = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    np.testing.assert_allclose(loaded(x), plain(x), atol=1e-6)


def _parts_after_start(cores_found, environment, sharing):
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    start._cores = lambda: cores_found
    start.start_tensorflow(quiet=False, sharing=sharing)
    print("parts", cores.count())
    return 0


@pytest.mark.parametrize(
    ("cores_found", "environment", "sharing", "parts"),
    [(2, {}, True, 2), (4, {}, True, 1), (2, {"TF_NUM_INTEROP_THREADS": "3"}, True, 1), (2, {}, False, 1)],
)
def test_on_two_cores_batches_go_into_two_parts_unless_threads_are_given(fork, cores_found, environment, sharing, parts):
    started = fork(_parts_after_start, cores_found, environment, sharing)
    assert started.wait() == 0, started.said()
    assert f"parts {parts}" in started.said()


@pytest.mark.parametrize(("within", "at_once", "expected"), [("1", "3", 3), ("2", "2", 1), ("", "", 1), ("1", "", 1)])
def test_the_environment_says_how_many_parts(within, at_once, expected, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", within)
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", at_once)
    for kind in ("intra", "inter"):
        monkeypatch.setattr(tf.config.threading, f"get_{kind}_op_parallelism_threads", lambda: 0)
    assert cores.count() == expected
