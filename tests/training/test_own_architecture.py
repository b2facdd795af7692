"""Your own classifier and generator in a training: from a file or a function, in their own range, saved and loaded again."""

import json
import re
import shutil

import keras
import numpy as np
import pytest

from adv_networks import data, defences, evaluation, networks, training
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import METHODS, Experiment, experiment
from adv_networks.training import beginning
from tests.conftest import SMALL, randomised, run_eagerly, written_at
from tests.training.helpers import train

CODE = '''
import keras

class Halved(keras.layers.Layer):
    """A layer of nobody else's, which is registered nowhere."""

    def call(self, x):
        return x / 2

def classifier():
    image = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, activation="relu")(x))
    x = Halved()(keras.layers.Dropout(0.2)(x))
    return keras.Model(image, {"logits": keras.layers.Dense(10)(keras.layers.Flatten()(x)), "few": keras.layers.Dense(3)(x)})

def probabilities():
    model = classifier()
    return keras.Model(model.input, keras.layers.Softmax()(model.output["logits"]))

class Opaque(keras.Model):
    def __init__(self):
        super().__init__()
        self.logits = keras.layers.Dense(10)

    def call(self, x):
        return self.logits(keras.ops.reshape(x, (-1, 64)))

def subclassed():
    model = Opaque()
    model(keras.ops.zeros((1, 8, 8, 1)))
    return model

def generator():
    image = keras.Input((8, 8, 1))
    return keras.Model(image, keras.layers.Conv2D(1, 3, padding="same", activation="tanh")(image))

def too_large():
    image = keras.Input((8, 8, 1))
    return keras.Model(image, 2 * keras.layers.Conv2D(1, 3, padding="same", bias_initializer="ones")(image))

class Forgetful(keras.layers.Layer):
    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        return super(keras.layers.Layer, self).get_config()

class Unsaved(Forgetful):
    def get_config(self):
        raise NotImplementedError("later")

def behind(layer):
    dense = keras.layers.Dense(10)
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), dense, layer])

def forgetful():
    return behind(Forgetful(2.0))

def unsaved():
    return behind(Unsaved(2.0))

class Capped(Forgetful):
    def call(self, x):
        return keras.ops.minimum(x, self.factor)

class Rooted(Forgetful):
    def call(self, x):
        return x + 0 * keras.ops.sqrt(1.5 - self.factor)

class Full(Forgetful):
    def get_config(self):
        raise OSError(28, "No space left on device")

class Strict(Forgetful):
    def get_config(self):
        return {**super().get_config(), "units (of what)": 1}

def forgetful_of_bright_pixels():
    return keras.Sequential([keras.Input((8, 8, 1)), Capped(99.0), keras.layers.Flatten(), keras.layers.Dense(10)])

def forgetful_of_what_gives_nan():
    return behind(Rooted(2.0))

def strict():
    return behind(Strict(1.0))

def full():
    return behind(Full(1.0))

def of_code():
    return behind(keras.layers.Lambda(lambda x: 2 * x))

def of_code_too():
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Lambda(lambda x: 0.5 * x)])
'''
OWN = ("--classifier=mine:classifier", "--generators=mine:generator", "--input_range=0,255", "--dataset=digits")
SMALLEST = [flag for flag in SMALL if "generators" not in flag and "width" not in flag]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The working directory, with a module of the user's own."""
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)
    return tmp_path


@pytest.mark.slow
def test_they_are_trained_saved_exported_and_left_once_finished(mine, run):
    files = (f"--save_adversarial={mine}/out.npz", f"--save_predictions={mine}/out.csv")
    command = (*OWN, *SMALLEST, "--method=advnet", "--test_images=60")
    code, output, error = run(*command, *files)
    assert code == 0, error
    numbers = [float(number) for number in re.search(r"^advnet \(C\)(.*)$", output, re.MULTILINE)[1].split()]
    (workdir,) = (mine / "runs").iterdir()
    assert workdir.name.startswith(
        "digits-advnet-tiny-s0-classifier=mine_classifier-generators=mine_generator-input_range=0_255"
    )
    written = written_at(mine / "runs")
    assert run(*command)[1] == output and written_at(mine / "runs") == written
    code, _, error = run(*command, "--steps=4", f"--workdir={workdir}-longer")
    assert code == 0 and f"continuing from step 3 of {workdir}" in error
    shutil.rmtree(f"{workdir}-longer")
    with np.load(mine / "out.npz") as saved:
        exported = dict(saved)
    assert list(exported["attacks"]) == ["FGS", "PGD", "G mine:generator"]
    # In range of the saved network, [0,1], whatever that of the function's is: plain Keras with the user's own layer.
    import mine as code_of_mine

    plain = keras.models.load_model(workdir / "d.keras", custom_objects={"Halved": code_of_mine.Halved})
    labels = exported["labels"]
    images, expected_labels = data.load("digits", "test", limit=60)
    np.testing.assert_array_equal(exported["images"], images)
    np.testing.assert_array_equal(labels, expected_labels)
    shown = [exported["images"] / np.float32(255), *exported["adversarial"]]
    for x, seen, printed in zip(shown, [exported["predictions"], *exported["adversarial_predictions"]], numbers, strict=True):
        predicted = plain.predict(x, verbose=0).argmax(1)
        np.testing.assert_array_equal(predicted, seen)
        assert round(100 * float(np.mean(predicted == labels)), 2) == printed
    distances = np.abs(exported["adversarial"] - shown[0]).max((2, 3, 4))
    np.testing.assert_allclose(exported["linf"], distances, rtol=1e-5)
    assert json.loads(str(exported["settings"][1]))["kind"] == "pgd"
    lines = (mine / "out.csv").read_text().splitlines()
    assert lines[0] == "image,label,No Noise,FGS,PGD,G mine:generator" and len(lines) == 61
    assert lines[5].split(",")[:3] == ["4", str(labels[4]), str(exported["predictions"][4])]
    code, output, error = run(*OWN, *SMALLEST, "--table=grid", "--plan")
    assert code == 0 and "--classifier=mine:classifier" in output and "whose cost is not known" in output


def test_weights_are_kept_or_fresh_and_another_range_is_noticed(mine):
    images, labels = data.load("digits", "train")
    image = keras.Input((8, 8, 1))
    negative = keras.ops.minimum(image, 0.0)  # Blind to images of a range without negative values.
    own = keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(negative)))
    own.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    own.fit(images / np.float32(127.5) - 1, labels, batch_size=128, epochs=4, verbose=0)
    own.save("own.keras")
    settings = dict(scale="tiny", classifier="own.keras", validation=0)
    spec = experiment("digits", "standard", input_range=(-1, 1), **settings)
    kept = defences.make_players(spec).d
    test = data.load("digits", "test")
    seen = own.predict(test.images / np.float32(127.5) - 1, verbose=0).argmax(1)
    assert evaluation.accuracy(kept, *test) == float(np.mean(seen == test.labels)) > 0.7
    fresh = defences.make_players(
        experiment("digits", "standard", input_range=(-1, 1), classifier_weights="fresh", **settings)
    ).d
    assert evaluation.weights_hash(fresh) != evaluation.weights_hash(kept) == evaluation.weights_hash(own)
    with pytest.raises(UserError, match=r"input_range: .*received 0,255, where .* with -1,1\)"):
        training.train(experiment("digits", "standard", input_range=(0, 255), **settings), mine / "other", progress=False)


@pytest.mark.slow
def test_run_starts_from_another_runs_weights_and_classes_are_weighed(tmp_path):
    settings = dict(scale="tiny", validation=0)
    first = experiment("digits", "standard", steps=1, classifier_width=2, **settings)
    train(first, tmp_path / first.name)
    trained = evaluation.load_classifier(tmp_path / first.name)
    then = experiment("digits", "pgd", from_run=first.name, classifier_width=2, **settings)
    players = defences.make_players(then)
    assert evaluation.weights_hash(players.d) != evaluation.weights_hash(trained)
    beginning.take_initial_weights(then, tmp_path / "then", players)
    assert evaluation.weights_hash(players.d) == evaluation.weights_hash(trained)
    found = beginning.made_of_networks(then, tmp_path / "then")
    assert found == {"initial_weights": evaluation.file_hash(tmp_path / first.name / "d.keras")}
    lost = experiment("digits", "standard", from_run="nosuch", **settings)
    with pytest.raises(UserError, match="from: expected a finished run, found none in nosuch or"):
        beginning.made_of_networks(lost, tmp_path / "x")
    wider = experiment("digits", "standard", from_run=first.name, classifier_width=3, **settings)
    with pytest.raises(UserError, match="expected the weights of a network like"):
        beginning.take_initial_weights(wider, tmp_path / "wider", defences.make_players(wider))
    weights = beginning.balanced_weights(np.array([0, 0, 0, 1]), 2)
    np.testing.assert_allclose(weights, (2 / 3, 2))
    spec = experiment("digits", "standard", classifier_width=2, **settings)
    x, y = np.random.default_rng(0).random((4, 8, 8, 1), np.float32), np.array([0, 0, 0, 1])
    losses = {}
    for given in (None, (2 / 3, 2.0, *[1.0] * 8)):
        players = defences.make_players(spec)
        randomised(players.d)
        logits = players.d(x).numpy()
        players.weigh_classes(given)
        with run_eagerly():
            losses[given] = float(defences.standard_step(players, x, y, spec, (0, 0))["d_loss"])
    own = np.log(np.exp(logits).sum(1)) - logits[np.arange(4), y]
    np.testing.assert_allclose(list(losses.values()), [own.mean(), (own * np.array(given)[y]).mean()], rtol=1e-5)


@pytest.mark.parametrize(("name", "message"), [("mine:nosuch", "AttributeError"), ("mine:too_large", r"in \[-1,1\] .*up to"),
                                               ("nosuch:g", "ModuleNotFound"), ("mine:classifier", "perturb")])  # fmt: skip
def test_what_is_no_generator_is_one_line(name, message, mine):
    spec = experiment("digits", "advnet", generators=(name,), scale="tiny")
    assert isinstance(spec, Experiment)
    with pytest.raises(UserError, match=message) as error:
        networks.generators(spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "message"), [("forgetful", "one with other outputs once it is loaded"),
                                               ("forgetful_of_bright_pixels", "one with other outputs"),
                                               ("forgetful_of_what_gives_nan", "one with other outputs"),
                                               ("strict", r"[^(]*\(layers, models, etc.\) returned by"),
                                               ("unsaved", "NotImplementedError"), ("of_code", "a Lambda layer, which is code"),
                                               ("of_code_too", "a Lambda layer, which is code")])  # fmt: skip
def test_what_cannot_be_saved_is_refused_before_it_is_trained(name, message, mine):
    """The end of a long run would find it out too late, and a forgotten argument never."""
    own = dict(generators=("mine:of_code_too",)) if name == "of_code_too" else dict(classifier=f"mine:{name}")
    spec = experiment("digits", "advnet", scale="tiny", input_range=(0, 255), steps=1, **own)
    expected = f"^mine:{name}: expected a model that Keras can save and load, found {message}"
    with pytest.raises(UserError, match=expected) as error:
        training.train(spec, mine / "run", progress=False)
    assert ("instead of a Lambda" in str(error.value)) == name.startswith("of_code")
    assert not (mine / "run" / "metrics.csv").exists()


def test_a_full_disk_is_not_taken_for_a_model_that_cannot_be_saved(mine):
    spec = experiment("digits", "advnet", scale="tiny", classifier="mine:full", input_range=(0, 1), steps=1)
    with pytest.raises(OSError, match="No space left on device"):
        training.train(spec, mine / "run", progress=False)


def test_probabilities_are_not_trained_as_logits(mine):
    spec = experiment("digits", "pgd", classifier="mine:probabilities", input_range=(0, 255), scale="tiny")
    with pytest.raises(UserError, match="mine:probabilities: expected logits for training, found probabilities"):
        defences.make_players(spec)


@pytest.mark.parametrize("method", ["noise", "contrastive"])
def test_defences_that_look_for_layers_find_those_of_your_own(method, mine):
    spec = experiment("digits", method, classifier="mine:classifier", input_range=(0, 255), scale="tiny", batch_size=16)
    players = METHODS[method].build(spec, {})
    names = [type(layer).__name__ for layer in players.d.layers]
    assert ("GaussianNoise" in names) == (method == "noise") and "Conv2D" in names
    images, labels = data.load("digits", "train", limit=16)
    before = players.d.get_weights()
    METHODS[method].step(players, images / np.float32(255), labels, spec, (0, 0))
    assert any(np.abs(one - other).max() > 0 for one, other in zip(before, players.d.get_weights(), strict=True))


def test_exported_models_are_one_line_that_says_what_to_do(mine):
    (mine / "saved").mkdir()
    for name, message in (("saved/saved_model.pb", "TFSMLayer"), ("saved", "TFSMLayer"), ("own.tflite", "no gradients"),
                          ("own.weights.h5", "expected a Keras model"), ("own.onnx", "an ONNX model")):  # fmt: skip
        if "." in name:
            (mine / name).write_bytes(b"")
        with pytest.raises(UserError, match=message):
            networks.classifier(experiment("digits", "pgd", classifier=name, scale="tiny"))
    with pytest.raises(UsageError, match="classifier: expected one of d1, "):
        experiment("digits", "pgd", classifier="x" * 5_000, scale="tiny")


def test_classifier_whose_layers_nobody_knows_is_refused_by_what_looks_for_them(mine):
    settings = dict(classifier="mine:subclassed", input_range=(0, 1), scale="tiny")
    for method, message in (("noise", "noise_position: expected a layer"), ("contrastive", "found Opaque as last layer")):
        with pytest.raises(UserError, match=message):
            METHODS[method].build(experiment("digits", method, **settings), {})
