"""Several classifiers in one game: their mean as the prediction, and updates that are those of games of one, put together."""

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from adv_networks import data, defences, evaluation
from adv_networks.attacks import fgs, predict
from adv_networks.errors import UsageError
from adv_networks.experiments import METHODS, experiment
from tests.conftest import SMALLEST, randomised, run_eagerly

SMALL = dict(
    classifiers=("d1", "mlp"), generators=("released_mnist", "released_mnist"), classifier_width=4, generator_width=4,
    generator_steps=1, generator_optimizer="sgd", generator_learning_rate=0.5, generator_momentum=0.0, momentum=0.0,
    learning_rate=0.1, input_dropout=0.0, dropout=0.0, validation=0, steps=2, train_images=64, test_images=50,
)  # fmt: skip


def game(**changed):
    return experiment("digits", "advnet_several", scale="tiny", **{**SMALL, **changed})


@pytest.fixture(scope="module")
def played():
    """A game before its first step, with a minibatch and its experiment."""
    spec = game()
    players = METHODS["advnet_several"].build(spec, {})
    for seed, model in enumerate((*players.members, *players.generators)):
        randomised(model, seed=seed)
    x, y = data.load("digits", "train", limit=8)
    return spec, players, tf.constant(x / np.float32(255)), tf.constant(y, tf.int32)


def alone(players, member):
    """A game of copies of one of the classifiers and the generators."""
    spec = experiment("digits", "advnet", scale="tiny", **{key: value for key, value in SMALL.items() if key != "classifiers"})
    copies = [keras.models.clone_model(model) for model in (players.members[member], *players.generators)]
    for copy, model in zip(copies, (players.members[member], *players.generators), strict=True):
        copy.set_weights(model.get_weights())
    d, g, *further = copies
    rates = (keras.optimizers.SGD(spec.learning_rate), keras.optimizers.SGD(spec.generator_learning_rate))
    for optimizer, models in zip(rates, ((d,), (g, *further)), strict=True):
        optimizer.build([variable for model in models for variable in model.trainable_variables])
    return spec, defences.Players(d, rates[0], g, rates[1], tuple(further))


def weights_of(models):
    return [weight for model in models for weight in model.get_weights()]


def trained_weights(models):
    """Without BN's averages."""
    return [variable.numpy() for model in models for variable in model.trainable_variables]


def test_mean_predicts_by_the_mean_of_the_probabilities(played, tmp_path):
    _, players, x, _ = played
    probabilities = np.mean(
        [scipy.special.softmax(predict(member, x).numpy().astype(float), 1) for member in players.members], 0
    )
    np.testing.assert_allclose(predict(players.d, x), np.log(probabilities), rtol=1e-4, atol=1e-5)
    players.d.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    np.testing.assert_allclose(loaded(x), np.log(probabilities), rtol=1e-4, atol=1e-5)
    assert len(players.d.weights) == sum(len(member.weights) for member in players.members)


def test_steps_are_those_of_games_of_one(played):
    """Each classifier moves as it would alone, and the generators by the mean of how each would move them."""
    spec, players, x, y = played
    seed = tf.constant([0, 3])
    singles = [alone(players, member) for member in range(2)]
    for own_spec, own in singles:
        with run_eagerly():
            defences.discriminator_step(own, x, y, own_spec, seed)
    before = weights_of(players.members)
    with run_eagerly():
        defences.discriminator_step(players, x, y, spec, seed)
    after = weights_of(players.members)
    assert any((one != other).any() for one, other in zip(before, after, strict=True))
    for found, expected in zip(after, weights_of([own.d for _, own in singles]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    start, moves = trained_weights(players.generators), []
    for own_spec, own in singles:
        with run_eagerly():
            defences.generator_step(own, x, y, own_spec, seed)
        moves.append([end - begin for end, begin in zip(trained_weights(own.generators), start, strict=True)])
    with run_eagerly():
        defences.generator_step(players, x, y, spec, seed)
    for found, begin, *each in zip(trained_weights(players.generators), start, *moves, strict=True):
        np.testing.assert_allclose(found - begin, np.mean(each, 0), rtol=1e-3, atol=1e-5)
    assert max(np.abs(move).max() for move in moves[0]) > 1e-3


def test_every_classifier_is_a_file_and_attacks_transfer_between_them(played):
    spec, players, _, _ = played
    promised = METHODS["advnet_several"].files(spec)
    assert promised[:3] == ("d.keras", "d-1.keras", "d-2.keras") and players.networks().keys() == set(promised[:-1])
    members = {defences.member_file(position): member for position, member in enumerate(players.members)}
    tested = data.load("digits", "test", limit=50)
    records = evaluation.grid({"d.keras": players.d, **members}, members, [spec.attack("fgs")], *tested)
    assert {(record.target, record.source) for record in records} == {
        (target, source) for target in ("d.keras", *members) for source in members
    }


@pytest.mark.slow
def test_run_prints_every_classifier_and_the_transfer_between_them(run, tmp_path):
    options = ("--steps=60", "--learning_rate=0.05", "--classifiers=mlp,mlp", "--test_images=100")
    command = ("--method=advnet_several", *(own for own in SMALLEST if not own.startswith("--classifier=")), *options)
    code, output, error = run(*command)
    assert code == 0, error
    heading, *lines = output.partition("Each classifier and their mean")[2].splitlines()[1:5]
    columns = [name.strip() for name in heading.strip().split("  ")]
    rows = {line[:10].strip(): dict(zip(columns, map(float, line[10:].split()), strict=True)) for line in lines[:3]}
    assert list(rows) == ["mean", "d-1 (mlp)", "d-2 (mlp)"]
    (directory,) = (tmp_path / "runs").glob("*advnet_several*")
    models = {label: keras.models.load_model(directory / f"{label[:3].strip()}.keras") for label in list(rows)[1:]}
    models["mean"] = keras.models.load_model(directory / "d.keras")
    x, y = data.load("digits", "test", limit=100)
    x = x / np.float32(255)
    for source, model in models.items():
        adversarial = fgs(model, x, y, 0.15)
        for target, attacked in models.items():
            right = 100 * np.mean(predict(attacked, adversarial).numpy().argmax(1) == y)
            assert rows[target][f"FGS {source}"] == pytest.approx(right, abs=0.01)
    assert rows["d-1 (mlp)"]["FGS d-1 (mlp)"] < rows["d-1 (mlp)"]["No Noise"]
    (records,) = (tmp_path / "results").rglob("records.csv")
    written = records.read_bytes()
    assert run(*command)[:2] == (0, output) and records.read_bytes() == written


def test_two_of_a_family_are_two_classifiers(tmp_path):
    players = METHODS["advnet_several"].build(game(classifiers=("d1", "d1"), logits_initializer="glorot_uniform"), {})
    first, second = players.members
    assert any((one != other).any() for one, other in zip(first.get_weights(), second.get_weights(), strict=True))
    players.d.save(tmp_path / "d.keras")
    assert len(keras.models.load_model(tmp_path / "d.keras").get_weights()) == 2 * len(first.get_weights())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"classifiers": ("d1",)}, "classifiers: expected at least 2, received 1"),
        ({"classifiers": ("d1", "d7")}, "classifiers: expected one of .*, received d7"),
        ({"compare_regulariser": True}, "compare_regulariser: expected false with method advnet_several, received true"),
    ],
)
def test_wrong_settings_are_one_line(changed, said):
    with pytest.raises(UsageError, match=f"^{said}$"):
        game(**changed)
