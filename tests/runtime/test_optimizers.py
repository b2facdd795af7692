"""Updates in one operation against Keras' own, composed of many."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import runtime

pytestmark = pytest.mark.numerics

DROP = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.01])


def after_four_steps(optimizer, dtype):
    """Two parameters and the optimiser's state, steps and slots."""
    rng, shapes = np.random.default_rng(0), ((3, 4), (5,))
    parameters = [keras.Variable(rng.normal(size=shape), dtype=dtype) for shape in shapes]
    optimizer.build(parameters)
    apply = tf.function(lambda *gradients: optimizer.apply(gradients, parameters))
    for _ in range(4):
        apply(*(tf.constant(rng.normal(size=shape), dtype) for shape in shapes))
    return [np.asarray(variable.numpy()) for variable in (*parameters, *optimizer.variables)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sgd", dict(learning_rate=DROP, momentum=0.9)),
        ("sgd", dict(learning_rate=0.1)),
        ("sgd", dict(learning_rate=0.1, momentum=0.9, nesterov=True)),
        ("adam", dict(learning_rate=0.002, beta_1=0.5, epsilon=1e-8)),
        ("adam", dict(learning_rate=0.002, weight_decay=0.1, clipnorm=0.5, gradient_accumulation_steps=2)),
        ("adam", dict(learning_rate=DROP, amsgrad=True)),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_parameters_and_slots_are_those_of_keras(name, settings, dtype):
    ours = after_four_steps(getattr(runtime, name)(**settings), dtype)
    keras_own = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[name](**settings)
    for found, expected in zip(ours, after_four_steps(keras_own, dtype), strict=True):
        # Keras rounds β₂ to single precision even for double, and 1 − β₂ᵗ with it.
        np.testing.assert_allclose(found, expected, rtol=5e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("optimizer", "operation"),
    [
        (lambda: runtime.sgd(0.1, momentum=0.9), "ResourceApplyKerasMomentum"),
        (lambda: runtime.adam(0.1), "ResourceApplyAdam"),
    ],
    ids=["SGD", "Adam"],
)
def test_an_update_is_one_operation_a_parameter(optimizer, operation, auto):
    optimizer, parameters = optimizer(), [keras.Variable(np.ones(size)) for size in (2, 3, 4)]
    optimizer.build(parameters)
    apply = tf.function(lambda *parts: optimizer.apply(parts, parameters))
    graph = apply.get_concrete_function(*(tf.TensorSpec([size]) for size in (2, 3, 4))).graph
    kinds = [node.type for node in graph.get_operations()]
    assert kinds.count(operation) == 3
    assert kinds.count("Pow") <= 2, "those of the step, not of each parameter"
    assert sum("Assign" in kind for kind in kinds) == 1, "that of the number of steps"


def test_a_plain_runtime_has_keras_own(plain):
    assert type(runtime.sgd(0.1, momentum=0.9)) is keras.optimizers.SGD
    assert type(runtime.adam(0.1, beta_1=0.5)) is keras.optimizers.Adam
