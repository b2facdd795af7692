"""Compiled functions of a model follow whatever is changed in it, and are traced again for nothing else."""

import functools
import gc
import types
import weakref
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, runtime
from tests.conftest import randomised

SHAPE = (4, 4, 1)
IMAGES = np.random.default_rng(0).random((3, *SHAPE), np.float32)
LABELS = np.arange(3)


class Scaled(keras.Model):
    """A user's classifier, with settings of its own."""

    temperature = 2.0

    def __init__(self):
        super().__init__()
        self.flatten, self.head = keras.layers.Flatten(), keras.layers.Dense(3)
        self.shifts, self.offset, self.table = [1.0, 2.0], np.ones(3, np.float32), {"sign": 1.0}
        self.act = tf.nn.tanh

    def call(self, x):
        scaled = self.act(self.head(self.flatten(x))) / self.temperature
        return self.table["sign"] * scaled + self.shifts[0] + self.offset


def scaled():
    model = Scaled()
    model(IMAGES)
    return randomised(model)


class Circular(Scaled):
    """A user's classifier with a list that contains itself."""

    gains: ClassVar[list] = [1.0]
    gains.append(gains)

    def call(self, x):
        return self.gains[0] * super().call(x)


def circular():
    model = Circular()
    model(IMAGES)
    return randomised(model)


GAINS = {"of all": 1.0}


class Amplified(keras.layers.Layer):
    """A user's layer, which reads a global variable."""

    def call(self, x):
        return GAINS["of all"] * x


OFFSETS, MODULE = {"of all": 0.0}, types.ModuleType("settings_of_a_user")
vars(MODULE)["slope"] = 1.0


class Factors:
    """Settings in a class that is no layer."""

    of_all = 1.0


def moved(x):
    return (lambda: MODULE.slope * Factors.of_all * x + OFFSETS["of all"])()


def moved_by_another(x):
    return moved(x)


class Moved(keras.layers.Layer):
    """A user's layer, which calls functions that read global variables, a module's and a class's."""

    @staticmethod
    def step(x):
        return moved_by_another(x)

    def call(self, x):
        return self.step(x)


# A table of functions, one of which looks up another in it, and a container within itself.
FUNCTIONS: dict[str, Any] = {}
SLOPES = [1.0]


def by_table(x):
    return FUNCTIONS["steps"][0](x)


def by_slope(x):
    return SLOPES[0] * x


FUNCTIONS.update(first=by_table, steps=[by_slope], all=FUNCTIONS)


def behind(layer):
    return randomised(keras.Sequential([keras.Input(SHAPE), layer, keras.layers.Flatten(), keras.layers.Dense(3)]))


def with_partial():
    return behind(keras.layers.Lambda(functools.partial(lambda by, x: by[0] * x, [1.0])))


def amplified():
    return behind(Amplified())


def shifted():
    """A model with a function that reads a variable of the function around it."""
    shift = [0.0]
    parts = [keras.layers.Lambda(lambda x: x + shift[0]), keras.layers.Flatten(), keras.layers.Dense(3)]
    return randomised(keras.Sequential([keras.Input(SHAPE), *parts]))


def set_shift(model):
    model.layers[0].function.__closure__[0].cell_contents[0] = 4.0


def normalised():
    layers = keras.layers
    parts = [layers.Rescaling(2.0), layers.Conv2D(3, 3), layers.BatchNormalization(), layers.Flatten()]
    return randomised(keras.Sequential([keras.Input(SHAPE), *parts, layers.Dense(3, "tanh")]))


def functional():
    image = keras.Input(SHAPE)
    x = keras.ops.clip(keras.layers.Conv2D(3, 3)(image), -1.0, 1.0)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return randomised(keras.Model(image, keras.layers.Dense(3, "tanh", name="head")(x)))


def replace_last(model, dtype="float32"):
    model.pop()
    model.add(keras.layers.Dense(3, dtype=dtype))
    randomised(model, seed=5)


def freeze_batch_normalisation(model):
    model.layers[2].trainable = False


def compute_in_bfloat16(model):
    for layer in model.layers:
        layer.dtype_policy = "mixed_bfloat16"


def set_class_attribute(model):
    Scaled.temperature = 0.5


def set_class_method(model):
    Scaled.call = lambda self, x: self.head(self.flatten(x))


# What makes the model, what changes it, and in which mode that is seen.
CHANGES = {
    "the last activation": (normalised, lambda model: setattr(model.layers[-1], "activation", keras.activations.linear), False),
    "an activation": (functional, lambda model: setattr(model.get_layer("head"), "activation", keras.activations.relu), False),
    "another layer": (normalised, replace_last, False),
    "another layer whose weights are of another type": (normalised, lambda model: replace_last(model, "float64"), False),
    "frozen BN": (normalised, freeze_batch_normalisation, True),
    "type of the computation": (normalised, compute_in_bfloat16, False),
    "a number of a layer": (normalised, lambda model: setattr(model.layers[0], "scale", 3.0), False),
    "a number of BN": (normalised, lambda model: setattr(model.layers[2], "epsilon", 1.0), True),
    "a method of a layer": (functional, lambda model: setattr(model.layers[1], "call", lambda x: tf.repeat(x, 3, -1)), False),
    "a method of the model": (functional, lambda model: setattr(model, "call", lambda x, training: x[:, 0, :3, 0]), False),
    "an operation that is no layer": (functional, lambda model: setattr(model.operations[2], "x_max", -0.5), False),
    "a setting of a user's model": (scaled, lambda model: setattr(model, "temperature", 7.0), False),
    "a setting of the user's class": (scaled, set_class_attribute, False),
    "a method of the user's class": (scaled, set_class_method, False),
    "a function of a user's model": (scaled, lambda model: setattr(model, "act", tf.nn.relu), False),
    "within a list": (scaled, lambda model: model.shifts.__setitem__(0, 4.0), False),
    "within a dictionary": (scaled, lambda model: model.table.__setitem__("sign", -1.0), False),
    "a global variable": (amplified, lambda model: GAINS.update({"of all": 3.0}), False),
    "a global variable of a function called": (
        lambda: behind(Moved()),
        lambda model: OFFSETS.update({"of all": 3.0}),
        False,
    ),
    "a module's variable": (lambda: behind(keras.layers.Lambda(moved)), lambda model: setattr(MODULE, "slope", 3.0), False),
    "a variable of a class": (lambda: behind(Moved()), lambda model: setattr(Factors, "of_all", 3.0), False),
    "a function called": (lambda: behind(Moved()), lambda model: globals().update(moved=lambda x: 3 * x), False),
    "a function in a table": (
        lambda: behind(keras.layers.Lambda(lambda x: FUNCTIONS["first"](x))),
        lambda model: FUNCTIONS["steps"].__setitem__(0, lambda x: 3 * x),
        False,
    ),
    "what a function in a table reads": (
        lambda: behind(keras.layers.Lambda(by_table)),
        lambda model: SLOPES.__setitem__(0, 3.0),
        False,
    ),
    "within a list that contains itself": (circular, lambda model: model.gains.__setitem__(0, 4.0), False),
    "an argument kept by a partial": (with_partial, lambda model: model.layers[0].function.args[0].__setitem__(0, 3.0), False),
    "a variable of the function around it": (shifted, set_shift, False),
    "within an array": (scaled, lambda model: model.offset.__setitem__(1, 4.0), False),
}


@pytest.fixture
def class_kept():
    kept, function = (Scaled.temperature, Scaled.call), moved
    yield
    Scaled.temperature, Scaled.call = kept
    GAINS["of all"], OFFSETS["of all"], MODULE.slope, Factors.of_all = 1.0, 0.0, 1.0, 1.0
    globals()["moved"] = function
    SLOPES[0], FUNCTIONS["steps"][0], Circular.gains[0] = 1.0, by_slope, 1.0


def in_float32(tensor):
    return tf.cast(tensor, tf.float32).numpy()


def outputs_and_gradient(model, training, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = runtime.raw_outputs(model, training, x)
        total = tf.reduce_sum(tf.cast(outputs, x.dtype) ** 2)
    return outputs, tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)


@pytest.mark.parametrize(("make", "change", "training"), CHANGES.values(), ids=CHANGES)
def test_a_changed_model_and_its_gradient_are_computed_as_it_is_now(make, change, training, class_kept):
    model, x = make(), tf.constant(IMAGES)
    before, _ = runtime.run_compiled(outputs_and_gradient, model, training, x)
    change(model)
    found, gradient = runtime.run_compiled(outputs_and_gradient, model, training, x)
    expected, expected_gradient = outputs_and_gradient(model, training, x)
    assert found.dtype == expected.dtype
    atol = 1e-5 if found.dtype == tf.float32 else 0.05  # Some processors round other sums to bfloat16 in a graph.
    np.testing.assert_allclose(in_float32(found), in_float32(expected), atol=atol)
    np.testing.assert_allclose(gradient, expected_gradient, atol=atol)
    assert np.abs(in_float32(found) - in_float32(before)).max() > 1e-3, "the change was meant to be seen"


def test_a_changed_model_is_attacked_as_it_is_now():
    model = functional()
    before = attacks.fgs(model, IMAGES, LABELS, 0.1)
    model.get_layer("head").activation = keras.activations.relu
    attacked = attacks.fgs(model, IMAGES, LABELS, 0.1)
    assert np.any(attacked != before)
    runtime.caches.clear()
    np.testing.assert_array_equal(attacked, attacks.fgs(model, IMAGES, LABELS, 0.1))


def test_frozen_weights_that_change_places_are_not_confused():
    layers = [keras.layers.Dense(16, "tanh") for _ in range(2)]
    model = randomised(keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), *layers]))
    layers[0].trainable = False
    attacks.predict(model, IMAGES)
    layers[0].trainable, layers[1].trainable = True, False
    np.testing.assert_allclose(attacks.predict(model, IMAGES), model(IMAGES), atol=1e-6)
    layers[0].kernel.trainable = False
    np.testing.assert_allclose(attacks.predict(model, IMAGES), model(IMAGES), atol=1e-6)


def test_training_and_weights_need_no_other_graph():
    model = normalised()
    attacks.predict(model, IMAGES)
    for _ in range(2):
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(IMAGES, LABELS, epochs=1, verbose=0)
        model.set_weights([weight + 0.1 for weight in model.get_weights()])
        np.testing.assert_allclose(attacks.predict(model, IMAGES), model(IMAGES, training=False), atol=1e-5)
        np.testing.assert_allclose(model.predict(IMAGES, verbose=0), model(IMAGES, training=False), atol=1e-5)
    assert runtime.trace_counts(model) == {"raw_outputs": 1}


def test_layers_that_count_their_calls_are_traced_once():
    class Counting(keras.layers.Layer):
        calls = 0

        def call(self, x):
            self.calls += 1
            return x

    model = keras.Sequential([keras.Input(SHAPE), Counting(), keras.layers.Flatten()])
    for _ in range(3):
        attacks.predict(model, IMAGES)
    assert runtime.trace_counts(model) == {"raw_outputs": 1}


def test_graphs_go_with_their_model():
    gc.collect()
    before = runtime.trace_counts()
    left = []
    for _ in range(2):
        model = functional()
        attacks.pgd(model, IMAGES, LABELS, 0.1, steps=2)
        left.append(weakref.ref(model))
        del model
        gc.collect()
    assert not any(model() for model in left)
    assert runtime.trace_counts() == before


def test_cleared_caches_hold_no_graph():
    model = functional()
    attacks.predict(model, IMAGES)
    runtime.caches.clear()
    assert not runtime.trace_counts()
    np.testing.assert_allclose(attacks.predict(model, IMAGES), model(IMAGES), atol=1e-6)
