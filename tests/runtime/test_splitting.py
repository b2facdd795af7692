"""Batches split among the cores against the same networks on whole batches."""

import dataclasses
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, defences, evaluation, networks, runtime
from adv_networks.experiments import experiment
from adv_networks.runtime import splitting
from adv_networks.runtime.determinism import make_deterministic
from adv_networks.runtime.start import start_tensorflow
from tests.conftest import precision, randomised, shallow_networks

pytestmark = [pytest.mark.numerics, pytest.mark.usefixtures("shallow", "auto")]


@pytest.fixture
def parts(monkeypatch):
    """Networks that are prepared from here on split their batches into so many parts."""
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    return lambda count: monkeypatch.setenv("TF_NUM_INTEROP_THREADS", str(count))


def is_split(model):
    return getattr(vars(model).get("call"), "func", model.call).__module__ == splitting.__name__


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


# In inference there are no moments of parts to put together, and one network of each kind of layer is enough.
PLAIN_AND_RESIDUAL = ("d1", "d2", "g2")


@pytest.mark.parametrize(
    ("name", "training", "count"),
    [
        *((name, True, 3) for name in PLAIN_AND_RESIDUAL),
        *(pytest.param(name, True, 3, marks=pytest.mark.slow) for name in NETWORKS if name not in PLAIN_AND_RESIDUAL),
        *((name, False, 2) for name in PLAIN_AND_RESIDUAL),
    ],
)
def test_outputs_gradients_and_averages_are_those_of_the_whole_batch(name, training, count, parts):
    parts(count)
    model = runtime.prepare(randomised(NETWORKS[name]()))
    assert is_split(model)
    with precision("float64"):
        reference = NETWORKS[name]()
    reference.set_weights(model.get_weights())
    rng = np.random.default_rng(0)
    x = rng.random((7, *model.input_shape[1:]))
    along = rng.normal(size=(7, *model.output_shape[1:]))
    found, expected = (derivatives(each, x, along, training) for each in (model, reference))
    for part, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, other, rtol=0, atol=1e-4 * max(1e-3, np.abs(other).max()))
    for weight, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_step_in_double_precision_is_that_of_the_whole_batch(parts, float64):
    spec = experiment("digits", "advnet", scale="tiny", classifier="d2", classifier_width=2, generator_width=1)
    spec = dataclasses.replace(spec, regulariser="exact", batch_size=5, generator_steps=1, generators=("released_mnist",))
    rng = np.random.default_rng(0)
    x, y = rng.random((5, 8, 8, 1)), rng.integers(0, 10, 5)
    found = []
    for count in (1, 2):
        parts(count)
        players = defences.make_players(spec)
        assert all(is_split(model) == (count > 1) for model in (players.d, players.g))
        scalars = defences.adversarial_network_step(players, x, y, spec, (0, 0))
        found.append([*scalars.values(), *players.variables()])
    for whole, shared in zip(*found, strict=True):
        np.testing.assert_allclose(shared, whole, rtol=1e-7, atol=1e-10)


def _same_steps_again():
    make_deterministic()
    spec = experiment("digits", "pgd", scale="tiny", classifier="d2", pgd_steps=2)
    with shallow_networks():
        players, rng = defences.make_players(spec), np.random.default_rng(0)
    x, y = rng.random((64, 8, 8, 1), np.float32), rng.integers(0, 10, 64)
    start, ends = [variable.numpy() for variable in players.variables()], set()
    for _ in range(10):
        for variable, value in zip(players.variables(), start, strict=True):
            variable.assign(value)
        for number in range(2):
            defences.pgd_step(players, x, y, spec, (0, number))
        ends.add(b"".join(variable.numpy().tobytes() for variable in players.variables()))
    print("split", is_split(players.d), "ends", len(ends))
    return 0


@pytest.mark.slow
def test_two_cores_give_the_same_bits_again(fork):
    started = fork(_same_steps_again, TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="2")
    assert started.wait() == 0, started.said()
    assert "split True ends 1" in started.said()


@pytest.mark.parametrize("name", ["d1", pytest.param("d2", marks=pytest.mark.slow)])
def test_attacks_on_any_number_of_images_are_those_on_the_whole_batch(name, parts):
    model = runtime.prepare(randomised(NETWORKS[name]()))
    parts(3)
    shared = runtime.prepare(randomised(NETWORKS[name]()))
    shared.set_weights(model.get_weights())
    assert is_split(shared) and not is_split(model)
    rng = np.random.default_rng(0)
    for images in (1, 2, 5):
        x, y = rng.random((images, *model.input_shape[1:]), np.float32), rng.integers(0, 4, images)
        np.testing.assert_allclose(attacks.predict(shared, x), attacks.predict(model, x), atol=1e-5)
        found, whole = (attacks.pgd(own, x, y, 0.1, steps=3, clip_start=False) for own in (shared, model))
        np.testing.assert_allclose(found, whole, atol=1e-5)


def sizes_of_convolved_batches(model, shape, *, training):
    """The number of images that each convolution gets of a batch of six."""
    traced = tf.function(lambda x: model(x, training=training)).get_concrete_function(tf.zeros([6, *shape]))
    nodes = [node for node in traced.graph.get_operations() if node.type == "Conv2D"]
    return [node.outputs[0].shape[0] for node in nodes if node.inputs[1].shape.rank == 4]


@pytest.mark.parametrize("training", [True, False])
def test_each_part_is_convolved_by_itself(training, parts):
    parts(2)
    model = runtime.prepare(NETWORKS["d1"]())
    assert sizes_of_convolved_batches(model, (8, 8, 1), training=training) == [3, 3, 3, 3]


class Centred(keras.layers.Layer):
    """A user's layer that looks at all images of a batch."""

    def call(self, x):
        return x - keras.ops.mean(x, 0, keepdims=True)


class Dense(keras.layers.Dense):
    """One with the name of a layer of Keras."""

    def call(self, x):
        return super().call(x - keras.ops.mean(x, 0))


def centred(x):
    return x - keras.ops.mean(x, 0, keepdims=True)


def with_another_call():
    layer = keras.layers.ReLU()
    layer.call = centred
    return layer


ACROSS_IMAGES = {
    "a user's layer": Centred,
    "a user's layer of a known name": lambda: Dense(2),
    "a user's model": lambda: keras.Sequential([Centred()]),
    "a function": lambda: keras.layers.Lambda(centred),
    "a function as activation": lambda: keras.layers.Activation(centred),
    "a function as a layer's activation": lambda: keras.layers.Dense(3, activation=centred),
    "an operation as a layer's activation": lambda: keras.layers.Dense(3, activation=keras.ops.cumsum),
    "a layer whose method was replaced": with_another_call,
    "softmax over images": lambda: keras.layers.Softmax(axis=0),
    "softmax over images, counted from the end": lambda: keras.layers.Softmax(axis=-4),
    "mean over images": lambda: lambda x: x - keras.ops.mean(x, 0),
    "sum over images": lambda: lambda x: x / keras.ops.sum(x, 0),
    "sum over all": lambda: lambda x: x / keras.ops.sum(x),
    "a constant for each image": lambda: lambda x: x + np.arange(6, dtype=np.float32)[:, None, None, None],
    "a number of each image, broadcast": lambda: lambda x: keras.ops.sum(x, (2, 3))[:, :6] + keras.ops.sum(x, (1, 2, 3)),
}


@pytest.mark.parametrize("make", ACROSS_IMAGES.values(), ids=ACROSS_IMAGES)
def test_models_with_layers_across_images_get_whole_batches(make, parts):
    parts(2)
    image = keras.Input((6, 2, 2))
    x = tf.constant(np.random.default_rng(0).random((6, 6, 2, 2), np.float32))
    model = keras.Model(image, make()(image))
    whole = {training: model(x, training=training) for training in (True, False)}
    runtime.prepare(model)
    for training, expected in whole.items():
        np.testing.assert_array_equal(model(x, training=training), expected)
        np.testing.assert_array_equal(runtime.run_compiled(runtime.raw_outputs, model, training, x), expected)


def test_a_method_that_is_replaced_later_gets_whole_batches(parts):
    parts(2)
    model = runtime.prepare(randomised(NETWORKS["d1"]()))
    x = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    attacks.predict(model, x)
    model.layers[-1].activation = centred
    np.testing.assert_allclose(np.mean(attacks.predict(model, x), 0), 0, atol=1e-6)


def test_a_model_whose_own_method_was_replaced_is_left_alone(parts):
    parts(2)
    model = NETWORKS["d1"]()
    model.call = lambda x, training=None: centred(x)
    x = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(runtime.prepare(model)(x), centred(x))


LAYERS_OF_BATCHES = {
    "dropout": lambda: keras.layers.Dropout(0.5),
    "noise": lambda: keras.layers.GaussianNoise(0.5),
    "normalisation": keras.layers.BatchNormalization,
}


@pytest.mark.parametrize("options", [{}, {"training": True}, {"training": False}], ids=["as called", "on", "off"])
@pytest.mark.parametrize("name", LAYERS_OF_BATCHES)
def test_nested_models_are_split_in_training_and_draw_for_the_whole_batch(name, options, parts):
    image = keras.Input((4, 4, 1))
    inner = keras.Model(image, LAYERS_OF_BATCHES[name]()(keras.layers.Conv2D(2, 3)(image), **options))
    last = (keras.layers.AveragePooling2D(2), keras.layers.Flatten(), keras.layers.Dense(3))
    model = randomised(keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Rescaling(2), inner, *last]))
    kept, x, found = model.get_weights(), np.random.default_rng(0).random((6, 4, 4, 1), np.float32), []
    for count in (1, 2):
        parts(count)
        runtime.prepare(model)
        assert sizes_of_convolved_batches(model, (4, 4, 1), training=True) == [6 // count] * count
        model.set_weights(kept)
        with runtime.dropping(tf.constant([0, 1])):
            found.append([model(x, training=True), *model.get_weights()])
    for whole, split in zip(*found, strict=True):
        np.testing.assert_allclose(split, whole, rtol=1e-5, atol=1e-5)


def test_a_plain_runtime_splits_nothing(parts, plain):
    parts(2)
    model = runtime.prepare(NETWORKS["d2"]())
    assert not any("call" in vars(part) for part in (model, *model.layers))


def test_loaded_models_are_split_and_saved_as_they_were(parts, tmp_path):
    parts(2)
    networks.d1((8, 8, 1), 4, 2).save(tmp_path / "d.keras")
    loaded = evaluation.load_model(tmp_path / "d.keras")
    assert is_split(loaded)
    loaded.save(tmp_path / "again.keras")
    plain = keras.models.load_model(tmp_path / "again.keras")
    assert not is_split(plain)
    x = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    np.testing.assert_allclose(loaded(x), plain(x), atol=1e-6)


def _split_after_start(environment, sharing, mode):
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    runtime.configure(mode)
    start_tensorflow(quiet=False, sharing=sharing)
    print(runtime.choices())
    print("split", is_split(runtime.prepare(networks.d1((8, 8, 1), 4, 2))))
    return 0


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.parametrize(
    ("environment", "sharing", "mode", "expected"),
    [
        ({}, True, "auto", True),
        ({"TF_NUM_INTEROP_THREADS": "3"}, True, "auto", False),
        ({}, False, "auto", False),
        ({}, True, "plain", False),
    ],
)
def test_on_two_cores_batches_are_split_unless_threads_are_given(fork, environment, sharing, mode, expected):
    started = fork(_split_after_start, environment, sharing, mode)
    assert started.wait() == 0, started.said()
    assert f"split {expected}" in started.said()
    assert f"{mode}: oneDNN" in started.said()
    assert ("batches in 2 parts" in started.said()) == expected


@pytest.mark.parametrize(("within", "at_once", "expected"), [("1", "3", 3), ("2", "2", 1), ("", "", 1), ("1", "", 1)])
def test_the_environment_says_how_many_parts(within, at_once, expected, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", within)
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", at_once)
    assert (f"batches in {expected} parts" if expected > 1 else "batches whole") in runtime.choices()
