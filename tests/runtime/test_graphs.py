"""Networks of one architecture are attacked by one graph, each with its own weights, for as long as they stay as they are."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, networks, runtime
from tests.conftest import randomised

SHAPE = (8, 8, 1)
MAKE = {
    "d1": lambda: networks.d1(SHAPE, 3, 2),
    "d2": lambda: networks.d2((8, 8, 3), 3, 2),
    "g1": lambda: networks.g1((8, 8, 3), 1),
    "g1 in l2, whose last operations are no layers": lambda: networks.g1((8, 8, 3), 1, norm="l2"),
}


IMAGE = np.random.default_rng(0).random((2, *SHAPE), np.float32)


@pytest.fixture(autouse=True)
def afresh():
    runtime.caches.clear()


def sharing(model, *, seed=0, **options):
    return runtime.prepare(randomised(model, seed=seed), share_graphs=True, **options)


def computed(model, x, *, training=False):
    """What a model returns, which need not be logits."""
    return runtime.run_compiled(runtime.raw_outputs, model, training, tf.constant(x))


def graphs_traced(models, x=IMAGE):
    """How many graphs it takes to predict with each of the models."""
    for model in models:
        computed(model, x)
    return runtime.trace_counts()["raw_outputs"]


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
def test_networks_share_graphs_but_no_weights(make, shallow):
    first, second = (sharing(make(), seed=seed) for seed in (0, 1))
    x = np.random.default_rng(0).random((4, *first.input_shape[1:]), np.float32)
    outputs = [computed(first, x).numpy()]
    outputs += [computed(model, x).numpy() for model in (second, first)]
    second.set_weights(first.get_weights())
    outputs.append(computed(second, x).numpy())
    assert runtime.trace_counts() == runtime.trace_counts(second) == {"raw_outputs": 1}
    assert not np.allclose(outputs[0], outputs[1], atol=0.01)
    np.testing.assert_allclose(outputs[0], first(x, training=False), atol=1e-6)
    for again in outputs[2:]:
        np.testing.assert_array_equal(again, outputs[0])


def test_attacks_follow_the_gradient_of_the_network_that_is_attacked():
    x, y = np.random.default_rng(0).random((4, *SHAPE), np.float32), np.arange(4) % 3
    models = [sharing(networks.d1(SHAPE, 3, 2), seed=seed) for seed in (0, 1)]
    shared = [attacks.pgd(model, x, y, 0.1, seed=1).numpy() for model in models]
    for model, found in zip(models, shared, strict=True):
        runtime.caches.clear()
        np.testing.assert_array_equal(attacks.pgd(model, x, y, 0.1, seed=1), found)
    assert not np.array_equal(*shared)


def test_batch_statistics_leave_the_averages_of_both_networks_alone(shallow):
    models = [sharing(networks.d2((8, 8, 3), 3, 2), seed=seed) for seed in (0, 1)]
    before = [model.get_weights() for model in models]
    x = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    first, second = (computed(model, x, training=True) for model in models)
    assert not np.allclose(first, second, atol=0.01)
    for model, weights in zip(models, before, strict=True):
        for weight, kept in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(weight, kept)


def test_mirrored_weights_are_read_by_the_graph_of_the_architecture():
    x = np.random.default_rng(0).random((4, *SHAPE), np.float32)
    alone = sharing(networks.d1(SHAPE, 3, 2), seed=0)
    expected = computed(alone, x)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        mirrored = sharing(networks.d1(SHAPE, 3, 2), seed=1)
        assert isinstance(mirrored.variables[0].value, tf.distribute.DistributedValues)
        assert not np.allclose(computed(mirrored, x), expected, atol=0.01)
        mirrored.set_weights(alone.get_weights())
        np.testing.assert_allclose(computed(mirrored, x), expected, atol=1e-6)


def test_networks_of_others_have_graphs_of_their_own():
    assert graphs_traced([runtime.prepare(randomised(networks.d1(SHAPE, 3, 2))) for _ in range(2)]) == 2


@pytest.mark.parametrize("frozen", [0, 1], ids=["the first", "another"])
def test_a_network_that_is_frozen_later_no_longer_shares_graphs(frozen, shallow):
    models = [sharing(networks.d2((8, 8, 3), 3, 2), seed=seed) for seed in range(3)]
    x = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    for model in models[:2]:
        computed(model, x, training=True)
    models[frozen].trainable = False
    for model in models:
        found = computed(model, x, training=True)
        np.testing.assert_allclose(found, networks.discarding_statistics(model, x, training=True), atol=1e-5)
    assert runtime.trace_counts()["raw_outputs"] == 2
    first, other = models[:frozen] + models[frozen + 1 :]
    assert (
        runtime.trace_counts(first) == runtime.trace_counts(other) == runtime.trace_counts(models[frozen]) == {"raw_outputs": 1}
    )


def test_a_network_that_is_changed_later_no_longer_shares_graphs():
    models = [sharing(networks.d1(SHAPE, 3, 2), seed=seed) for seed in (0, 1)]
    before = [computed(model, IMAGE) for model in models]
    models[0].layers[-1].activation = keras.activations.relu
    np.testing.assert_allclose(computed(models[0], IMAGE), np.maximum(before[0], 0), atol=1e-6)
    np.testing.assert_array_equal(computed(models[1], IMAGE), before[1])


def test_names_of_layers_are_not_taken_for_their_settings():
    def named(activation):
        image = keras.Input(SHAPE)
        return sharing(keras.Model(image, keras.layers.Activation(activation, name=activation)(image)))

    relu, tanh = named("relu"), named("tanh")
    np.testing.assert_array_equal(computed(relu, IMAGE), IMAGE)
    np.testing.assert_allclose(computed(tanh, IMAGE), np.tanh(IMAGE), atol=1e-6)


def test_networks_that_nothing_else_refers_to_are_forgotten():
    models = [sharing(networks.d1(SHAPE, 3, 2)) for _ in range(2)]
    assert graphs_traced(models) == 1
    left = [weakref.ref(model) for model in models]
    del models
    gc.collect()
    assert [model() for model in left] == [None, None]
    assert graphs_traced([sharing(networks.d1(SHAPE, 3, 2))]) == 1, "the graph is still there"


def different_networks():
    """By name, what makes a network that computes otherwise than all others, by one thing each."""

    def partly_frozen():
        model = networks.d1(SHAPE, 3, 2)
        model.layers[2].trainable = False
        return model

    def in_bfloat16():
        with networks.computing_in("mixed_bfloat16"):
            return networks.d1(SHAPE, 3, 2)

    return [
        lambda: networks.d1(SHAPE, 3, 2),
        partly_frozen,
        in_bfloat16,
        lambda: networks.d1(SHAPE, 3, 4),
        lambda: networks.d1(SHAPE, 4, 2),
        lambda: networks.d2(SHAPE, 3, 2),
        lambda: networks.d2(SHAPE, 3, 2, pixel_levels=256),
    ]


def test_networks_that_compute_otherwise_have_graphs_of_their_own(shallow):
    models = [sharing(make()) for make in different_networks() for _ in range(2)]
    assert graphs_traced(models) == len(different_networks())


def test_layers_in_another_form_have_graphs_of_their_own(shallow):
    def normalised(**options):
        return sharing(networks.d2((8, 8, 3), 3, 2), **options)

    x = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    assert graphs_traced([normalised(), normalised(double_backprop=True), normalised()], x) == 2
    assert graphs_traced([normalised(double_backprop=True)], x) == 2


def test_a_plain_runtime_shares_no_graphs(plain):
    assert graphs_traced([sharing(networks.d1(SHAPE, 3, 2)) for _ in range(2)]) == 2
