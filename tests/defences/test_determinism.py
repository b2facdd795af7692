"""No compiled step leaves to the threads in which order it adds."""

import numpy as np
import pytest
import tensorflow as tf

from adv_networks import defences
from adv_networks.experiments import experiment
from adv_networks.runtime.determinism import make_deterministic


def sums(graph):
    """The number of terms of each AddN of a graph, loops included."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return [node.attr["N"].i for node in nodes if node.op == "AddN"]


@pytest.mark.parametrize(
    ("rules", "settings"),
    [
        ([defences.pgd_step], dict(method="pgd", classifier="d2")),
        pytest.param(
            [defences.generator_step, defences.discriminator_step],
            dict(method="advnet", generators=("released_mnist",)),
            marks=pytest.mark.slow,
        ),
        ([defences.discriminator_step], dict(method="advnet", generators=("released_mnist",), regulariser="exact")),
    ],
)
def test_no_step_adds_three_tensors_at_once(rules, settings, shallow):
    make_deterministic()
    assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] is False
    spec = experiment("digits", scale="tiny", generator_width=4, **settings)
    players = defences.make_players(spec)
    x, y = np.zeros([8, 8, 8, 1], np.float32), np.zeros([8], np.int32)
    for rule in rules:
        rule(players, x, y, spec, (0, 0))
    for compiled in players.graphs.values():
        found = sums(compiled.get_concrete_function(tf.constant(x), tf.constant(y), tf.constant([0, 0])).graph)
        assert found and set(found) == {2}


def test_sums_of_indexed_slices_stay_right():
    make_deterministic()
    table = tf.Variable([[1.0], [2.0]])
    with tf.GradientTape() as tape:
        total = sum(tf.reduce_sum(weight * tf.gather(table, [1])) for weight in (1.0, 2.0, 4.0)) + tf.reduce_sum(table)
    np.testing.assert_array_equal(tf.convert_to_tensor(tape.gradient(total, table)), [[1.0], [8.0]])
