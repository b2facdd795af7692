"""Networks of one architecture are attacked by one graph, each with its own weights."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, networks
from adv_networks.runtime import cores, graphs, kernels
from tests.conftest import randomised

SHAPE = (8, 8, 1)
MAKE = {
    "d1": lambda: networks.d1(SHAPE, 3, 2),
    "d2": lambda: networks.d2((8, 8, 3), 3, 2),
    "g1": lambda: networks.g1((8, 8, 3), 1),
    "g1 in l2, whose last operations are no layers": lambda: networks.g1((8, 8, 3), 1, norm="l2"),
}


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    monkeypatch.setattr(graphs, "_representatives", {})


def sharing(model, *, seed=0):
    randomised(model, seed=seed)
    graphs.share_graphs(model)
    return model


def traces(model):
    return {function: graph.experimental_get_tracing_count() for function, graph in attacks._compiled[model].items()}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
def test_networks_share_graphs_but_no_weights(make, shallow):
    first, second = (sharing(make(), seed=seed) for seed in (0, 1))
    x = np.random.default_rng(0).random((4, *first.input_shape[1:]), np.float32)
    outputs = [attacks.predict(first, x).numpy()]
    before = traces(first)
    outputs += [attacks.predict(model, x).numpy() for model in (second, first)]
    second.set_weights(first.get_weights())
    outputs.append(attacks.predict(second, x).numpy())
    assert traces(first) == before
    assert graphs.representative(second) is first
    assert not np.allclose(outputs[0], outputs[1], atol=0.01)
    np.testing.assert_allclose(outputs[0], first(x, training=False), atol=1e-6)
    for again in outputs[2:]:
        np.testing.assert_array_equal(again, outputs[0])


def test_attacks_follow_the_gradient_of_the_network_that_is_attacked():
    x, y = np.random.default_rng(0).random((4, *SHAPE), np.float32), np.arange(4) % 3
    models = [sharing(networks.d1(SHAPE, 3, 2), seed=seed) for seed in (0, 1)]
    shared = [attacks.pgd(model, x, y, 0.1, seed=1).numpy() for model in models]
    for model, found in zip(models, shared, strict=True):
        graphs._representatives.clear()
        np.testing.assert_array_equal(attacks.pgd(model, x, y, 0.1, seed=1), found)
    assert not np.array_equal(*shared)


def test_batch_statistics_leave_the_averages_of_both_networks_alone():
    models = [sharing(networks.d2((8, 8, 3), 3, 2), seed=seed) for seed in (0, 1)]
    before = [model.get_weights() for model in models]
    x = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    first, second = (attacks.predict(model, x, training=True) for model in models)
    assert not np.allclose(first, second, atol=0.01)
    for model, weights in zip(models, before, strict=True):
        for weight, kept in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(weight, kept)


def test_mirrored_weights_are_read_by_the_graph_of_the_architecture():
    x = np.random.default_rng(0).random((4, *SHAPE), np.float32)
    alone = sharing(networks.d1(SHAPE, 3, 2), seed=0)
    expected = attacks.predict(alone, x)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        mirrored = sharing(networks.d1(SHAPE, 3, 2), seed=1)
        assert isinstance(mirrored.variables[0].value, tf.distribute.DistributedValues)
        assert not np.allclose(attacks.predict(mirrored, x), expected, atol=0.01)
        mirrored.set_weights(alone.get_weights())
        assert graphs.representative(mirrored) is alone
        np.testing.assert_allclose(attacks.predict(mirrored, x), expected, atol=1e-6)


def test_networks_of_others_have_graphs_of_their_own():
    first, second = (randomised(networks.d1(SHAPE, 3, 2)) for _ in range(2))
    assert [graphs.representative(model) for model in (first, second)] == [first, second]


@pytest.mark.parametrize("frozen", [0, 1], ids=["the first", "another"])
def test_a_network_that_is_frozen_later_no_longer_shares_graphs(frozen, shallow):
    models = [sharing(networks.d2((8, 8, 3), 3, 2), seed=seed) for seed in range(3)]
    x = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    for model in models[:2]:
        attacks.predict(model, x)
    models[frozen].trainable = False
    for model in models:
        found = attacks.predict(model, x, training=True)  # which is traced anew
        np.testing.assert_allclose(found, networks.discarding_statistics(model, x, training=True), atol=1e-5)
    first, other = models[:frozen] + models[frozen + 1 :]
    assert graphs.representative(models[frozen]) is models[frozen]
    assert graphs.representative(other) is graphs.representative(first) is first


def test_names_of_layers_are_not_taken_for_their_settings():
    def named(activation):
        image = keras.Input(SHAPE)
        return sharing(keras.Model(image, keras.layers.Activation(activation, name=activation)(image)))

    relu, tanh = named("relu"), named("tanh")
    assert [graphs.representative(model) for model in (relu, tanh)] == [relu, tanh]


def test_networks_that_nothing_else_refers_to_are_forgotten():
    representative, model = (sharing(networks.d1(SHAPE, 3, 2)) for _ in range(2))
    for own in (representative, model):
        attacks.predict(own, np.zeros((1, *SHAPE), np.float32))
    assert graphs.representative(model) is representative
    left = weakref.ref(model)
    del model, own
    gc.collect()
    assert left() is None


def test_graphs_of_networks_that_share_none_go_with_them():
    x, y = np.zeros((2, *SHAPE), np.float32), np.zeros(2, int)
    gc.collect()
    before = len(attacks._compiled)
    graphs = []
    for _ in range(20):
        model = networks.d1(SHAPE, 3, 2)
        attacks.fgs(model, x, y, 0.1)
        graphs += map(weakref.ref, attacks._compiled[model].values())
        del model
        gc.collect()
    assert len(attacks._compiled) <= before
    assert not any(graph() for graph in graphs)


def accelerated(model):
    kernels.accelerate(model)
    return model


def in_halves(model, monkeypatch):
    monkeypatch.setattr(cores, "count", lambda: 2)
    cores.share(model)
    return model


def test_networks_that_compute_otherwise_have_graphs_of_their_own(monkeypatch):
    plain, frozen, rescaled = networks.d1(SHAPE, 3, 2), networks.d1(SHAPE, 3, 2), networks.d2((8, 8, 3), 3, 2, pixel_levels=256)
    frozen.layers[2].trainable = False
    different = [plain, frozen, rescaled, networks.d2((8, 8, 3), 3, 2), networks.d1(SHAPE, 3, 4), networks.d1(SHAPE, 4, 2)]
    different += [accelerated(networks.d1(SHAPE, 3, 2)), in_halves(networks.d1(SHAPE, 3, 2), monkeypatch)]
    different.append(in_halves(accelerated(networks.d1(SHAPE, 3, 2)), monkeypatch))
    with networks.computing_in("mixed_bfloat16"):
        different.append(networks.d1(SHAPE, 3, 2))
    assert [graphs.representative(sharing(model)) for model in different] == different
    assert graphs.representative(sharing(accelerated(networks.d1(SHAPE, 3, 2)))) is different[6]
