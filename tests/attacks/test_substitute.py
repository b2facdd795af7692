"""The substitute: it learns the target from labels alone, by Jacobian augmentation, and attacks transfer from it."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, data, evaluation
from adv_networks.attacks import FGS, Substitute
from adv_networks.attacks.substitute import fresh_substitute
from adv_networks.errors import UsageError
from tests.conftest import randomised


class Labels:
    """A target that keeps what it was asked, and tells its labels and nothing else: one of its logits is 1, the others 0."""

    def __init__(self, classes=3):
        image = keras.Input((4, 4, 1))
        scores = keras.layers.Dense(classes)(keras.layers.Flatten()(image))
        self.scores = randomised(keras.Model(image, scores))
        one = keras.layers.Lambda(lambda logits: tf.one_hot(tf.argmax(logits, 1), classes))
        self.model = keras.Model(image, one(self.scores(image)))


@pytest.fixture(scope="module")
def target():
    return Labels()


def images(count):
    return np.random.default_rng(0).random((count, 4, 4, 1)).astype(np.float32)


def agreement(model, other, x):
    return np.mean([np.argmax(model(x), 1) == np.argmax(other(x), 1)])


def test_it_learns_a_target_from_its_labels(target):
    found = attacks.train_substitute(target.model, images(40), rounds=4, epochs=10)
    fresh = fresh_substitute("dg_e", (4, 4, 1), 3)
    x = np.random.default_rng(1).random((300, 4, 4, 1)).astype(np.float32)
    assert agreement(found, target.model, x) > max(0.8, agreement(fresh, target.model, x) + 0.2)
    again = attacks.train_substitute(target.model, images(40), rounds=4, epochs=10)
    for one, other in zip(found.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_convolutions_drop_by_the_seed_and_small_images_are_refused():
    x = np.random.default_rng(0).random((10, 28, 28, 1)).astype(np.float32)
    target = randomised(keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]))
    attack = attacks.named("substitute:network=dg_b:rounds=1:epochs=1:attack=fgs", 0.3)
    found, again, other = (
        dataclasses.replace(attack, seed=seed).fit(target, x, None).model.get_weights() for seed in (0, 0, 1)
    )
    assert all((one == same).all() for one, same in zip(found, again, strict=True))
    assert (found[0] != other[0]).any()
    with pytest.raises(UsageError, match="expected images of at least 27 pixels a side with network=dg_b, received 4×4"):
        attack.fit(Labels().model, images(3), None)


def test_new_images_are_a_step_up_the_logit_of_the_targets_label(target):
    """With one epoch on one image, which Adam takes by 0.001 a weight: the second round's new images by hand."""
    x, step = images(5), 0.2
    asked = []

    class Spy(keras.layers.Layer):
        def call(self, inputs):
            tf.py_function(lambda own: asked.append(own.numpy()), [inputs], [])
            return inputs

    image = keras.Input((4, 4, 1))
    spied = keras.Model(image, target.model(Spy()(image)))
    network = fresh_substitute("dg_e", (4, 4, 1), 3, seed=4)
    before = [weight.copy() for weight in network.get_weights()]
    attacks.train_substitute(spied, x, rounds=2, step=step, epochs=1, network=network)
    assert [len(own) for own in asked] == [5, 5]
    after_one = attacks.train_substitute(
        target.model, x, rounds=1, epochs=1, network=fresh_substitute("dg_e", (4, 4, 1), 3, seed=4)
    )
    labels = np.argmax(target.model(x), 1)
    given = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(given)
        total = tf.reduce_sum(tf.gather(after_one(given), labels, batch_dims=1))
    expected = np.clip(x + step * np.sign(tape.gradient(total, given)), 0, 1)
    np.testing.assert_allclose(asked[1], expected, atol=1e-6)
    assert any((one != other).any() for one, other in zip(before, network.get_weights(), strict=True))


@pytest.mark.slow
def test_attacks_transfer_from_the_substitute(partly_robust):
    training, tested = data.load("digits", "train", limit=150), data.load("digits", "test", limit=120)
    attack = attacks.named("substitute:images=150:rounds=3:attack=fgs:epsilon=0.3", 0.1)
    (record,) = evaluation.grid(
        {"d": partly_robust.model}, {"d": partly_robust.model}, [attack], *tested, training=training.first
    )
    clean = evaluation.accuracy(partly_robust.model, *tested)
    assert record.accuracy_percent < 100 * clean - 10 and record.epsilon == 0.3
    assert record.learned_from.startswith("150 training images")
    state = attack.fit(partly_robust.model, *training)
    found = evaluation.craft_all(attack, partly_robust.model, *tested, state=state)
    np.testing.assert_array_equal(found, evaluation.craft_all(FGS(epsilon=0.3), state.model, *tested))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model: attacks.train_substitute(model, images(3), rounds=0), "rounds: expected at least 1, received 0"),
        (lambda model: attacks.train_substitute(model, images(3), step=0), "step: expected a value above 0, received 0"),
        (
            lambda model: attacks.train_substitute(model, images(3), network=fresh_substitute("dg_e", (4, 4, 1), 7)),
            "network: expected logits of 3 classes, received 7",
        ),
        (
            lambda model: Substitute(wrapped=FGS(epsilon=0.1)).craft(model, images(3), np.zeros(3, int)),
            "attack substitute: expected the substitute that `fit` trains, received nothing",
        ),
        (
            lambda model: attacks.named("substitute:attack=clean", 0.1).check(classes=3),
            "attack substitute: expected an attack on a classifier, received clean",
        ),
        (
            lambda model: attacks.named("substitute:rounds=13", 0.1),
            "attack substitute: rounds: expected a value .*, received 13",
        ),
        (
            lambda model: evaluation.evaluate(model, images(3), np.zeros(3, int), ["substitute"], epsilon=0.1),
            "attack substitute: expected training images to learn from, received none",
        ),
    ],
)
def test_wrong_uses_are_one_line(call, said, target):
    with pytest.raises(UsageError, match=f"^{said}$"):
        call(target.model)
