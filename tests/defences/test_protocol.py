"""A defence of another kind, declared here alone: it trains no classifier, needs two runs, and stands in front of one."""

import csv
import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import data, defences, evaluation, training
from adv_networks.defences.updates import apply_gradient, compiled, gradient_of, values
from adv_networks.errors import UsageError
from adv_networks.evaluation import gallery
from adv_networks.experiments import METHODS, SETTINGS, experiment, setting
from benchmarks.kill import outcome
from tests.training.helpers import stopped, train


@dataclasses.dataclass(frozen=True)
class OwnSettings:
    noise: float = setting(0.1, "standard deviation of the noise that the autoencoder is to take away", least=0)


@dataclasses.dataclass(eq=False)
class Autoencoder(defences.TrainingState):
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    teachers: tuple[keras.Model, ...]

    def networks(self):
        return {"autoencoder.keras": self.model}

    def optimizers(self):
        return {"learning_rate": self.optimizer}


@compiled
def reform(state, x, y, spec, seed):
    """One step on the squared error of the reconstruction, and on what two classifiers make of it; y are soft labels."""
    noisy = x + spec.own.noise * tf.random.stateless_normal(tf.shape(x), seed, dtype=x.dtype)
    with tf.GradientTape() as tape:
        images = state.model(noisy, training=True)
        loss = tf.reduce_mean((images - x) ** 2)
        seen = [tf.nn.softmax_cross_entropy_with_logits(y, teacher(images, training=False)) for teacher in state.teachers]
        objective = loss + 0.01 * tf.reduce_mean(seen)
    gradient = gradient_of(tape, objective, values(state.model), state.model)
    apply_gradient(state.optimizer, gradient, state.model.trainable_variables)
    return {"reconstruction_loss": loss}


class Reformer(defences.InputDefence):
    name, letter, title = "reformer", "R", "an autoencoder in front of a classifier"
    reads = ("perturbation", "pgd")  # of the teacher's training
    trains_classifier = False
    Settings = OwnSettings
    metrics = ("reconstruction_loss", "validation_error")

    def needs(self, spec):
        return {"classifier": spec.sibling("standard"), "teacher": spec.sibling("pgd")}

    def files(self, spec):
        return "autoencoder.keras", "reconstructions.png"

    def build(self, spec, needed):
        keras.utils.set_random_seed(spec.seed)
        image = keras.Input((8, 8, 1), name="image")
        flat = keras.layers.Dense(32, "relu")(keras.layers.Flatten()(image))
        model = keras.Model(image, keras.layers.Reshape((8, 8, 1))(keras.layers.Dense(64, "sigmoid")(flat)))
        optimizer = keras.optimizers.Adam(spec.learning_rate)
        optimizer.build(model.trainable_variables)
        return Autoencoder(model, optimizer, (needed["classifier"].classifier(), needed["teacher"].network("d.keras")))

    def batches(self, spec, needed, training_images, start, **further):
        rows = super().batches(spec, needed, training_images, start, **further)
        return rows.map(lambda x, y: (x, 0.9 * tf.one_hot(y, 10) + 0.01))

    def step(self, players, x, y, spec, seed):
        return reform(players, x, y, spec, seed)

    def validate(self, players, validation, spec):
        x = validation.images / np.float32(255)
        return {"validation_error": float(np.mean((players.model.predict(x, verbose=0) - x) ** 2))}

    def pictures(self, players, shown, spec):
        x = shown.images / np.float32(255)
        changed = players.model.predict(x, verbose=0)
        made = gallery.Gallery(x, shown.labels, {"autoencoder": changed}, [shown.labels] * 2, float(np.abs(changed - x).max()))
        return {"reconstructions": gallery.draw(made, spec.dataset)}

    def wrap(self, classifier, parts, spec):
        autoencoder = parts["autoencoder.keras"]
        image = keras.Input((8, 8, 1), name="image")
        model = keras.Model(image, classifier(autoencoder(image)))
        return defences.Defended(
            model=model, rejects=lambda x: tf.reduce_mean((autoencoder(x, training=False) - x) ** 2, (1, 2, 3)) > 0.2
        )


@pytest.fixture(scope="module")
def registered():
    before = dict(METHODS), dict(SETTINGS)
    defences.register(Reformer)
    yield
    for registry, names in zip((METHODS, SETTINGS), before, strict=True):
        for name in registry.keys() - names.keys():
            del registry[name]


def reformer(**overrides):
    small = dict(steps=30, learning_rate=0.03, validation=100, noise=0.2, classifier="mlp", classifier_width=4, pgd_steps=1)
    return experiment("digits", "reformer", scale="tiny", **(small | overrides))


@pytest.fixture(scope="module")
def run(registered, tmp_path_factory):
    return training.train(reformer(), tmp_path_factory.mktemp("runs") / "reformer", progress=False)


def test_own_settings_are_its_own(registered):
    spec = reformer()
    assert spec.own == OwnSettings(0.2)
    assert "noise=0.2" in spec.name
    assert (spec.settings()["noise"], "noise" in spec.needs()["classifier"].settings()) == (0.2, False)
    assert "noise" not in experiment("digits", "standard", noise=0.2).trained().name
    with pytest.raises(UsageError, match="noise: expected a value of at least 0"):
        reformer(noise=-1)
    with pytest.raises(ValueError, match="defence other: expected settings of its own, received noise"):
        clash = dataclasses.make_dataclass("Settings", [("noise", float, setting(0.5, "another"))], frozen=True)
        defences.register(type("Other", (defences.Defence,), dict(name="other", Settings=clash)))
    assert "other" not in METHODS


@pytest.mark.slow
def test_it_trains_its_parts_upon_the_runs_that_it_needs(run):
    spec, description = reformer(), training.describe(run)
    assert training.is_finished(spec, run)
    for role, needed in spec.needs().items():
        of_needed = training.describe(run.parent / needed.name)
        assert description["provenance"][f"{role}_weights"] == of_needed["hashes"]["d.keras"]["weights"]
        assert training.is_finished(needed, run.parent / needed.name)
    assert {file.name for file in run.iterdir() if file.suffix in (".keras", ".png")} == set(METHODS["reformer"].files(spec))
    with (run / "metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert float(lines[-1]["reconstruction_loss"]) < 0.8 * float(lines[0]["reconstruction_loss"])
    assert 0 < float(lines[-1]["validation_error"]) < 0.2
    assert lines[-1]["d_loss"] == ""


@pytest.mark.slow
def test_its_steps_have_the_labels_that_its_batches_have_and_resume_to_the_same_bits(run):
    again = run.parent / "again"
    stopped(reformer(), again, 7)
    train(reformer(), again)
    assert outcome(again) == outcome(run)


@pytest.mark.slow
def test_classifier_behind_it_is_a_classifier(run):
    spec = reformer()
    classifier = evaluation.load_classifier(run.parent / spec.needs()["classifier"].name)
    parts = {"autoencoder.keras": evaluation.load_model(run / "autoencoder.keras")}
    defended = METHODS["reformer"].wrap(classifier, parts, spec)
    images, labels = data.load("digits", "test")
    x = images / np.float32(255)
    seen = np.argmax(classifier.predict(parts["autoencoder.keras"].predict(x, verbose=0), verbose=0), 1)
    assert evaluation.accuracy(defended.model, images, labels) == pytest.approx(np.mean(seen == labels))
    attacked = evaluation.accuracy(defended.model, images, labels, attack=spec.attack("pgd"))
    assert attacked <= evaluation.accuracy(defended.model, images, labels)
    rejected = defended.rejects(tf.constant(np.concatenate([x[:8], 1 - x[:8]])))
    assert (rejected.dtype, rejected.shape) == (tf.bool, (16,))


@pytest.mark.slow
def test_settings_of_a_defence_change_no_other_run(run, tmp_path):
    """Runs of before a defence existed, and of others, do not have its settings."""
    spec = experiment("digits", "standard", scale="tiny", steps=2, validation=0)
    workdir = train(spec, tmp_path / "run")
    assert "noise" not in json.loads((workdir / "experiment.json").read_text())["experiment"]
    assert training.is_finished(spec, workdir)
