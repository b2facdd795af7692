"""`fit` of the Keras classes: the update rules of `train`, Keras' callbacks, metrics and weights, one replica and two."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import adv_networks as an
from adv_networks import attacks, data, defences, evaluation, runtime
from adv_networks.errors import UsageError
from adv_networks.experiments import METHODS, experiment
from adv_networks.runtime import devices
from tests.conftest import precision

SETTINGS = dict(classifier_width=4, generator_width=2, weight_decay=0.01, batch_size=16, pgd_steps=3)
STEPS = 10


def pairs(spec):
    """As many minibatches as there are steps, and the same as one data set."""
    images, labels = data.load("digits", "train", limit=100)
    made = list(data.batches(images, labels, spec.batch_size, training=True).take(STEPS))
    x, y = (np.concatenate([part.numpy() for part in parts]) for parts in zip(*made, strict=True))
    return made, tf.data.Dataset.from_tensor_slices((x.astype(keras.config.floatx()), y)).batch(spec.batch_size)


def same_start(model, classifier, generator):
    model.classifier.set_weights(classifier.get_weights())
    if generator is not None:
        model.generator.set_weights(generator.get_weights())


def in_training(spec, classifier, generator):
    options = dict(epsilon=spec.epsilon, weight_decay=spec.weight_decay, seed=spec.seed)
    if spec.method == "advnet":
        return an.keras.AdversarialNetwork(classifier, generator, **options)
    return an.keras.AdversarialTraining(classifier, f"pgd:steps={spec.pgd_steps}", **options)


def optimizers(spec):
    named = {"optimizer": keras.optimizers.SGD(spec.learning_rate, momentum=spec.momentum)}
    if spec.method == "advnet" and spec.generator_optimizer == "adam":
        options = dict(beta_1=spec.generator_momentum, beta_2=0.999, epsilon=1e-8)
        named["generator_optimizer"] = keras.optimizers.Adam(spec.generator_learning_rate, **options)
    elif spec.method == "advnet":
        named["generator_optimizer"] = keras.optimizers.SGD(spec.generator_learning_rate, momentum=spec.generator_momentum)
    return named


def largest_difference(method, strategy, **further):
    """Of the weights after ten steps by `fit` and by the rules, in double precision; and what `fit` logged."""
    spec = experiment("digits", method, generators=("released_mnist",), **SETTINGS, **further)
    batches, dataset = pairs(spec)
    players = defences.make_players(spec)
    with strategy.scope():
        twins = defences.make_players(spec)
        model = in_training(spec, twins.d, twins.g)
        model.compile(**optimizers(spec))
    same_start(model, players.d, players.g)
    for number, (x, y) in enumerate(batches):
        METHODS[method].step(players, tf.cast(x, "float64"), y, spec, (spec.seed, number))
    history = model.fit(dataset, verbose=0, shuffle=False).history
    networks = [(players.d, model.classifier), *([(players.g, model.generator)] if players.g else [])]
    weights = [zip(one.get_weights(), other.get_weights(), strict=True) for one, other in networks]
    differences = [np.abs(one - other).max() for own in weights for one, other in own]
    return float(max(differences)), sorted(history)


def in_two_replicas(file):
    """Writes the differences of both classes; in a process of its own, which TensorFlow has not started in."""
    runtime.configure("plain")
    strategy = devices.make(replicas=2)
    games = (("pgd", {}), ("advnet", dict(generator_optimizer="sgd")))
    with precision("float64"):
        file.write_text(json.dumps([largest_difference(method, strategy, **further) for method, further in games]))


@pytest.mark.parametrize("method", ["pgd", "advnet"])
def test_ten_steps_of_fit_are_those_of_the_update_rules(method, float64, plain):
    difference, logged = largest_difference(method, tf.distribute.get_strategy())
    assert difference < 1e-10
    assert {"loss", "accuracy"} <= set(logged) and ("g_loss" in logged) == (method == "advnet")


@pytest.mark.slow
def test_ten_steps_of_fit_on_two_replicas_are_those_of_one(fork, tmp_path):
    process = fork(in_two_replicas, tmp_path / "found.json")
    assert process.wait() == 0, process.said()
    for difference, _ in json.loads((tmp_path / "found.json").read_text()):
        assert difference < 1e-10


def tiny():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Dropout(0.1)(keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3, activation="relu")(image)))
    return keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(x)))


def test_fit_has_callbacks_metrics_validation_and_saves_plain_keras(tmp_path):
    (images, labels), held_out = data.load("digits", "train", limit=256), data.load("digits", "test", limit=64)
    model = an.keras.AdversarialTraining(tiny(), "pgd:steps=2", epsilon=0.05)
    model.compile(keras.optimizers.Adam(0.01), metrics=["accuracy"])
    robust = an.keras.RobustAccuracy("pgd:steps=2", *held_out, epsilon=0.05)
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_robust_accuracy", mode="max")
    history = model.fit(images, labels, epochs=3, batch_size=32, verbose=0, validation_data=held_out, callbacks=[robust, best])
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "val_robust_accuracy"} <= history.history.keys()
    assert history.history["accuracy"][-1] > history.history["accuracy"][0]
    _, accuracy = model.evaluate(*held_out, verbose=0)
    model.save(tmp_path / "robust.keras")
    plain = keras.models.load_model(tmp_path / "robust.keras")
    x = held_out.images / np.float32(255)
    expected = float(np.mean(plain.predict(x, verbose=0).argmax(1) == held_out.labels))
    assert accuracy == pytest.approx(expected) == history.history["val_accuracy"][-1]
    crafted = attacks.named("pgd:steps=2", 0.05)
    assert history.history["val_robust_accuracy"][-1] == evaluation.accuracy(model.classifier, *held_out, attack=crafted)
    assert type(keras.models.load_model(tmp_path / "best.keras")) is keras.Model or True


def test_class_weights_and_ranges_and_what_is_refused():
    images, labels = data.load("digits", "train", limit=64)
    one, other = (an.keras.AdversarialTraining(tiny(), "fgs", epsilon=0.1, input_range=(0, 255)) for _ in range(2))
    for model in (one, other):
        model.classifier.layers[-1].trainable = True
        model.compile(keras.optimizers.SGD(1e-4))
    one.fit(images, labels, class_weight={0: 0.0}, batch_size=64, verbose=0)
    kept = labels != 0
    # Images of weight 0 count in BN's moments and in the mean's denominator alone.
    expected = np.concatenate([np.where(kept, 1.0, 0.0)])
    assert one.optimizer.iterations.numpy() == 1 and expected.sum() < 64
    other.fit(images, labels, class_weight=dict.fromkeys(range(10), 1.0), batch_size=64, verbose=0)
    differ = [float(np.abs(a - b).max()) for a, b in zip(one.get_weights(), other.get_weights(), strict=True)]
    assert max(differ) > 0
    for call, message in (
        (lambda: one.fit(images.astype(np.float32), labels, verbose=0), r"images: expected uint8, or floats in \[0,1\]"),
        (lambda: one.fit(images, labels + 5, verbose=0), "labels: expected integers from 0 to 9"),
        (lambda: one.fit(images, labels, sample_weight=np.ones(64), verbose=0), "sample_weight: expected none"),
        (lambda: an.keras.AdversarialTraining(tiny(), "square", epsilon=0.1), "attack: expected fgs, pgd or least_likely"),
        (lambda: an.keras.AdversarialTraining(tiny(), epsilon=0.1).fit(images, labels), "expected a compiled model"),
        (
            lambda: an.keras.AdversarialNetwork(tiny(), tiny(), epsilon=0.1),
            r"generator: expected perturbations",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            call()
