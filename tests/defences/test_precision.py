"""Training in mixed precision and by XLA: near float32 and the same in float64, and refused where it would be noise."""

import contextlib
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import data, defences, evaluation, networks, runtime, training
from adv_networks.attacks.gradient import loss_gradient
from adv_networks.defences import updates
from adv_networks.errors import UsageError
from adv_networks.evaluation import own_model
from adv_networks.experiments import METHODS, experiment
from adv_networks.runtime import determinism
from tests.conftest import run_eagerly
from tests.training.helpers import train


@pytest.fixture(scope="module")
def minibatch():
    images, labels = data.load("digits", "train")
    return images[:32] / np.float32(255), labels[:32]


def tiny(method="standard", **overrides):
    return experiment("digits", method, scale="tiny", classifier_width=4, generator_width=2, **overrides)


def one_step(spec, minibatch, seed=(0, 0)):
    players = defences.make_players(spec)
    return players, {name: float(value) for name, value in METHODS[spec.method].step(players, *minibatch, spec, seed).items()}


GAME = dict(method="advnet", generators=("released_mnist",), regulariser="none", generator_steps=1)


@pytest.fixture(
    scope="module",
    params=[pytest.param(dict(method="pgd", pgd_steps=3), id="pgd"), pytest.param(GAME, id="advnet", marks=pytest.mark.slow)],
)
def in_float32(request, minibatch):
    """Settings, and what one step with them logs."""
    with run_eagerly():
        return request.param, one_step(tiny(**request.param), minibatch)[1]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_near_float32(precision, in_float32, minibatch):
    settings, expected = in_float32
    with run_eagerly() if precision == "mixed_float16" else contextlib.nullcontext():
        players, scalars = one_step(tiny(**settings, precision=precision), minibatch)
    models = [players.d, *players.generators]
    for model in models:
        convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
        assert convolutions[0].compute_dtype == precision.removeprefix("mixed_")
        assert model.outputs[0].dtype == "float32"
        assert {variable.dtype for variable in model.variables} == {"float32"}
    for name in ("d_loss", "d_loss_adversarial", "g_loss", "d_weight_decay"):
        assert scalars.get(name, 0) == pytest.approx(expected.get(name, 0), rel=0.05)
    assert scalars["d_gradient_norm"] == pytest.approx(expected["d_gradient_norm"], rel=0.2)
    assert keras.config.dtype_policy().name == "float32"


def test_exact_regulariser_in_bfloat16_is_near_float32(minibatch):
    settings = dict(GAME, regulariser="exact", logits_initializer="glorot_uniform")
    with run_eagerly():
        (_, scalars), (_, expected) = (
            one_step(tiny(**settings, precision=name), minibatch) for name in ("mixed_bfloat16", "float32")
        )
    assert scalars["regulariser_norm"] == pytest.approx(expected["regulariser_norm"], rel=0.5)


@pytest.mark.parametrize("scaled", [True, False])
def test_small_gradients_survive_float16_by_scaling_the_loss(scaled, minibatch, monkeypatch, shallow):
    if not scaled:
        monkeypatch.setattr(networks, "loss_scale", lambda model: 1)
    gradients = []
    for precision in ("mixed_float16", "float32"):
        d = defences.make_players(tiny(classifier="d2", precision=precision)).d
        with tf.GradientTape() as tape:
            loss = 1e-5 * updates.cross_entropy(minibatch[1], d(minibatch[0], training=True))
        gradient = updates.gradient_of(tape, loss, [variable.value for variable in d.trainable_variables], d)
        gradients.append(np.concatenate([np.ravel(part) for part in gradient]))
    error = np.linalg.norm(gradients[0] - gradients[1]) / np.linalg.norm(gradients[1])
    assert error < 0.15 if scaled else error > 0.5


def test_the_game_scales_its_losses_where_any_of_the_players_is_in_float16(minibatch, monkeypatch):
    asked = []
    monkeypatch.setattr(networks, "loss_scale", lambda model: asked.append(model) or 1)
    with run_eagerly():
        players, _ = one_step(tiny(**GAME), minibatch)
    assert asked.count(players.g) == 2  # G's step, and v in that of D


def reloaded(model, directory):
    model.save(directory / "d.keras")
    return evaluation.load_model(directory / "d.keras")


FROM_FLOAT16 = {
    "reloaded": reloaded,
    "for another range": lambda model, _: own_model.with_unit_range(model, (0, 255)),
    "sharing graphs": lambda model, _: runtime.prepare(model, share_graphs=True),
}


@pytest.mark.parametrize("changed", FROM_FLOAT16.values(), ids=FROM_FLOAT16)
def test_attacks_scale_the_loss_of_models_with_layers_in_float16(changed, minibatch, tmp_path):
    x, y = minibatch
    with networks.computing_in("mixed_float16"):
        model = networks.d1((8, 8, 1), 10, 4)
    # Of this size the gradient by what the last layer takes is 0 in float16 unless it is scaled.
    model.get_layer("logits").kernel.assign(1e-7 * model.get_layer("logits").kernel)
    model = changed(model, tmp_path)
    assert networks.loss_scale(model) == 2**10
    gradient = runtime.run_compiled(loss_gradient, model, False, tf.constant(x), tf.constant(y)).numpy()
    assert (gradient != 0).any((1, 2, 3)).mean() > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(precision="mixed_bfloat16"), "expected exact or none with precision mixed_bfloat16, received fd"),
        (dict(precision="mixed_float16", regulariser="exact"), "expected none with precision mixed_float16, received exact"),
        (
            dict(precision="mixed_bfloat16", regulariser="none", compare_regulariser=True),
            "expected exact or none with precision mixed_bfloat16, received fd and exact",
        ),
    ],
)
def test_products_of_too_little_precision_are_refused(settings, message):
    with pytest.raises(UsageError, match=f"regulariser: {message}"):
        tiny("advnet", **settings)
    tiny("standard", **settings)


@pytest.mark.slow
def test_run_in_mixed_precision_saves_networks_of_float32(tmp_path):
    spec = tiny("advnet", generators=("released_mnist",), regulariser="none", precision="mixed_bfloat16", steps=3)
    train(spec, tmp_path)
    for name in ("d.keras", "g.keras"):
        model = evaluation.load_model(tmp_path / name)
        assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    saved = tf.train.load_checkpoint(tf.train.latest_checkpoint(tmp_path / "checkpoints"))
    kernel = evaluation.load_model(tmp_path / "d.keras").trainable_variables[0].numpy()
    assert any(
        np.array_equal(saved.get_tensor(name), kernel)
        for name, shape in saved.get_variable_to_shape_map().items()
        if shape == list(kernel.shape)
    )


@pytest.fixture
def nondeterministic():
    """XLA has no deterministic gradient of max-pooling; a run by XLA does not ask for one."""
    with determinism.suspended():
        yield


@pytest.mark.slow
def test_step_by_xla_is_the_same_step(float64, nondeterministic, minibatch):
    x, y = minibatch[0].astype(np.float64), minibatch[1]
    ends = []
    for xla in (True, False):
        spec = tiny("standard", classifier="d1", xla=xla)
        players, _ = one_step(spec, (x, y))
        (compiled,) = players.graphs.values()
        concrete = compiled.get_concrete_function(tf.constant(x), tf.constant(y), tf.constant([0, 0]))
        assert concrete.function_def.attr["_XlaMustCompile"].b == xla
        ends.append(np.concatenate([np.ravel(value) for value in players.d.get_weights()]))
    np.testing.assert_allclose(*ends, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_run_by_xla_leaves_determinism_alone_and_takes_one_replica(tmp_path, nondeterministic):
    train(tiny(steps=2, xla=True), tmp_path)
    assert not determinism.is_deterministic()
    tf.config.list_logical_devices()
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    with pytest.raises(UsageError, match="xla: expected a single replica, received 2"):
        training.train(tiny(steps=2, xla=True), tmp_path / "other", strategy=strategy)
