"""A classifier from elsewhere, trained here with model.fit: its input range, where it comes from, and attacks on it."""

import csv
import re

import keras
import numpy as np
import pytest

from adv_networks import attacks, data, evaluation, networks, runtime, training
from adv_networks.commands.evaluate_model import EvaluateModel
from adv_networks.errors import UserError
from adv_networks.evaluation import own_model
from adv_networks.experiments import experiment
from adv_networks.training import Workspace
from tests.conftest import SMALL, randomised, written_at
from tests.training.helpers import train


@pytest.fixture(scope="module")
def trained():
    """A small CNN for images in [0,1], returning logits."""
    keras.utils.set_random_seed(0)
    images, labels = data.load("digits", "train")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss)
    model.fit(images / np.float32(255), labels, batch_size=128, epochs=8, verbose=0)
    assert evaluation.accuracy(model, *data.load("digits", "test")) > 0.9
    return model


def of_range(model, low, high):
    """The classifier's twin, whose inputs for black and white are `low` and `high`."""
    to_unit = keras.layers.Rescaling(1 / (high - low), -low / (high - low))
    return keras.Sequential([keras.Input(model.input_shape[1:]), to_unit, model])


# Of few steps and images, as the checks take many times the steps.
FEW = dict(pgd_steps=5, test_images=150)


@pytest.fixture(scope="module")
def printed(trained):
    """What is printed of the classifier itself, but for the heading."""
    options = dict(dataset="digits", input_range=(0, 1), workspace=Workspace(), overrides=FEW)
    (text,) = EvaluateModel(model=trained, **options).run()
    return text.splitlines()[1:]


@pytest.mark.slow
def test_declared_range_gives_the_numbers_of_the_rescaled_twin(trained, printed, run, tmp_path):
    low, high = -1, 1
    own = of_range(trained, low, high)
    own.save(tmp_path / "own.keras")
    files = (f"--save_adversarial={tmp_path}/own.npz", f"--save_predictions={tmp_path}/own.csv")
    options = (f"--input_range={low},{high}", "--dataset=digits", *(f"--{name}={value}" for name, value in FEW.items()))
    code, output, error = run(f"--model={tmp_path}/own.keras", *options, *files)
    assert code == 0, error
    assert output.splitlines()[1:] == printed
    clean, *attacked = accuracies = [float(line.split()[-1]) for line in printed[:3]]
    assert clean > 90 and max(attacked) < clean - 20
    # The saved images, classified by plain Keras in the range that the file's model takes, give what was printed.
    with np.load(tmp_path / "own.npz") as saved:
        shown = [saved["images"] / np.float32(255), *saved["adversarial"]]
        labels, attacks_of_file = saved["labels"], list(saved["attacks"])
    seen = [own.predict(x * (high - low) + low, verbose=0).argmax(1) for x in shown]
    assert [round(100 * float(np.mean(one == labels)), 2) for one in seen] == accuracies
    assert attacks_of_file == ["FGS", "PGD"]
    with (tmp_path / "own.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name, one in zip(("No Noise", "FGS", "PGD"), seen, strict=True):
        assert [int(row[name]) for row in rows] == one.tolist()


@pytest.mark.parametrize(
    ("own_range", "declared"), [((-1, 1), (0, 1)), ((0, 255), (0, 1)), ((0, 255), (-1, 1)), ((0, 1), (-1, 1))]
)
def test_wrong_range_is_refused(own_range, declared, trained):
    examples = data.load("digits", "train", limit=500)
    own = of_range(trained, *own_range)
    own_model.check_range(own, own_range, examples)
    with pytest.raises(UserError, match=r"input_range: expected .*, received .* labels \d+% of 500 .* with ") as error:
        own_model.check_range(own, declared, examples)
    assert error.value.args[0].endswith(f"with {own_range[0]},{own_range[1]})")


class Noise(keras.layers.GaussianNoise):
    """Noise that is there in inference too."""

    def call(self, x, training=None):
        return super().call(x, training=True)


def test_range_in_which_noise_is_smaller_is_no_better_one(trained):
    examples = data.load("digits", "train", limit=500)
    noisy = keras.Sequential([keras.Input((8, 8, 1)), Noise(0.5, seed=0), of_range(trained, 0, 1)])
    right = [np.mean(np.argmax(noisy(examples.images / np.float32(255) * high), 1) == examples.labels) for high in (1, 255)]
    assert right[0] < right[1] - 0.05, "the larger range was meant to be better"
    own_model.check_range(noisy, (0, 1), examples)
    with pytest.raises(UserError, match=r"with 0,255\)$"):
        own_model.check_range(
            keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), noisy]), (0, 1), examples
        )


@pytest.mark.parametrize("seed", (0, 1, 46, 49))  # With the last two, another range is better by over five points.
def test_untrained_classifier_is_of_no_range_and_goes_through(seed):
    examples = data.load("digits", "train", limit=500)
    keras.utils.set_random_seed(seed)
    hidden = [keras.layers.Dense(64, "relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), *hidden, keras.layers.Dense(10)])
    for declared in own_model.COMMON_RANGES:
        own_model.check_range(model, declared, examples)


def test_undeclared_range_is_asked_for_and_a_wrong_one_is_one_line(trained, run, tmp_path):
    of_range(trained, 0, 255).save(tmp_path / "own.keras")
    own = (f"--model={tmp_path}/own.keras", "--dataset=digits")
    code, output, error = run(*own)
    assert (code, output, error.count("\n")) == (2, "", 1) and "--input_range=LOW,HIGH" in error
    code, output, error = run(*own, "--input_range=0,1")
    assert (code, output, error.count("\n")) == (1, "", 1) and "input_range: expected" in error


def test_logits_that_are_not_finite_are_refused():
    image = keras.Input((8, 8, 1))
    own = keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(keras.layers.Rescaling(1e38)(image))))
    with pytest.raises(UserError, match="expected finite logits"):
        own_model.check_range(randomised(own), (0, 255), data.load("digits", "train", limit=10))


@pytest.mark.slow  # To trace a generator's training in half precision takes ten seconds.
def test_generator_of_mixed_precision_is_saved_in_float32_with_the_given_classifier_left_alone(trained, tmp_path):
    small = dict(steps=2, generators=("released_mnist",), generator_width=4, validation=0)
    spec = experiment("digits", "generator", scale="tiny", precision="mixed_bfloat16", **small)
    before = evaluation.weights_hash(trained)
    train(spec, tmp_path, classifier=trained)
    assert evaluation.weights_hash(trained) == before
    assert {layer.compute_dtype for layer in evaluation.load_model(tmp_path / "g.keras").layers} == {"float32"}


@pytest.mark.slow
def test_function_of_a_module_gives_the_classifier(trained, printed, run, tmp_path, monkeypatch):
    trained.save(tmp_path / "own.keras")
    (tmp_path / "mymodels.py").write_text(
        "import keras\n"
        f"def classifier():\n    return keras.models.load_model('{tmp_path}/own.keras')\n"
        "def other():\n    return 3\n"
        "def failing():\n    raise KeyError('no weights')\n"
    )
    monkeypatch.chdir(tmp_path)
    declared = ("--input_range=0,1", "--dataset=digits")
    code, output, error = run("--model=mymodels:classifier", *declared, *(f"--{name}={value}" for name, value in FEW.items()))
    assert code == 0, error
    assert output.splitlines()[1:] == printed
    for name, found in (
        ("mymodels:other", "one that returns int"),
        ("mymodels:failing", "KeyError: 'no weights'"),
        ("mymodels:none", "AttributeError"),
        ("nomodule:none", "ModuleNotFoundError"),
    ):
        code, output, error = run(f"--model={name}", *declared)
        assert (code, output, error.count("\n")) == (1, "", 1) and found in error


class Subclassed(keras.Model):
    """Layers that differ between training and inference, called without saying which."""

    def __init__(self):
        super().__init__()
        layers = keras.layers
        self.parts = [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.5), layers.Flatten()]
        self.logits = keras.layers.Dense(10)

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return self.logits(x)


@pytest.mark.slow
def test_subclassed_model_has_the_gradients_and_the_inference_of_its_functional_twin():
    own = Subclassed()
    with pytest.raises(UserError, match="found a model that was never built"):
        own_model.load(own, "digits")
    images, labels = data.load("digits", "test", limit=20)
    x = images / np.float32(255)
    own(x)
    randomised(own)
    image = keras.Input((8, 8, 1))
    twin = keras.Model(image, own.call(image))
    model = own_model.load(own, "digits")
    assert evaluation.weights_hash(model) == evaluation.weights_hash(twin)
    np.testing.assert_array_equal(model(x, training=False), twin(x, training=False))
    assert evaluation.accuracy(model, images, labels) == evaluation.accuracy(twin, images, labels)
    for batch_statistics in (False, True):
        found = []
        for attacked in (model, twin):
            with runtime.drawing(0):  # what the dropout of batch statistics draws
                found.append(attacks.pgd(attacked, x, labels, 0.1, training=batch_statistics))
        np.testing.assert_array_equal(*found)
    assert evaluation.weights_hash(own) == evaluation.weights_hash(twin), "expected attacks to leave BN's averages"


@pytest.mark.slow
@pytest.mark.parametrize("further", [(), ("--method=generator", *SMALL)])
def test_function_may_return_a_subclassed_model(further, trained, run, tmp_path, monkeypatch):
    trained.save(tmp_path / "own.keras")
    (tmp_path / "subclassed.py").write_text(
        "import keras, numpy as np\n"
        "class Own(keras.Model):\n"
        "    def __init__(self, call):\n"
        f"        super().__init__()\n        self.inner = keras.models.load_model('{tmp_path}/own.keras')\n"
        "        self.called = call\n"
        "    def call(self, x):\n        return self.called(self.inner(x))\n"
        "def classifier():\n    own = Own(lambda x: x)\n    own(np.zeros((1, 8, 8, 1)))\n    return own\n"
        "def eager():\n    own = Own(lambda x: x.numpy())\n    own(np.zeros((1, 8, 8, 1)))\n    return own\n"
        "def other():\n    own = Own(lambda x: x[:, :9])\n    own(np.zeros((1, 8, 8, 1)))\n    return own\n"
    )
    monkeypatch.chdir(tmp_path)
    declared = ("--input_range=0,1", "--dataset=digits", "--test_images=60", "--pgd_steps=5", *further)
    code, output, error = run("--model=subclassed:classifier", *declared)
    assert code == 0, error
    assert output.splitlines()[1:] == run("--model=own.keras", *declared)[1].splitlines()[1:]
    for name, found in (
        ("eager", "whose call can be traced, found AttributeError"),
        ("other", r"found \(None, 8, 8, 1\) to \(None, 9\)"),
    ):
        code, output, error = run(f"--model=subclassed:{name}", *declared)
        assert (code, output, error.count("\n")) == (1, "", 1) and re.search(found, error)


def test_it_is_evaluated_under_the_protocol_that_is_asked_for(trained):
    """The released code's starts of PGD are not clipped, and its BN has the statistics of 64 images; a rest is left out."""
    options = dict(dataset="digits", input_range=(0, 1), workspace=Workspace(), overrides=dict(pgd_steps=5, test_images=70))
    (output,) = EvaluateModel(model=trained, protocol="released", **options).run()
    images, labels = data.load("digits", "test", limit=64)
    spec = experiment("digits", "standard", protocol="released", scale="paper", pgd_steps=5)
    pgd = spec.attack("pgd")
    assert (pgd.clip_start, spec.bn_evaluation) == (False, "batch")
    expected = 100 * evaluation.accuracy(trained, images, labels, attack=pgd, bn_evaluation="batch")
    assert float(re.search(r"^PGD +(\d+\.\d\d)$", output, re.MULTILINE)[1]) == pytest.approx(expected, abs=0.01)


@pytest.mark.slow
def test_generator_is_trained_against_it_and_the_worst_case_is_said(trained, run, tmp_path):
    trained.save(tmp_path / "own.keras")
    command = (f"--model={tmp_path}/own.keras", "--input_range=0,1", "--dataset=digits", "--method=generator", *SMALL)
    longer = ("--steps=60", "--epsilon=0.3", "--generators=released_mnist")
    code, output, error = run(*command, *longer)
    assert code == 0, error
    numbers = dict(re.findall(r"^(No Noise|FGS|PGD|G released_mnist) +(\d+\.\d\d)$", output, re.MULTILINE))
    assert len(numbers) == 4
    assert float(numbers["G released_mnist"]) < float(numbers["No Noise"]) - 10
    worst = min(numbers, key=lambda name: float(numbers[name]))
    assert f"labels {numbers['No Noise']}% of the clean images correctly" in output
    assert f"and {numbers[worst]}% in the worst case above ({worst})." in output
    (workdir,) = (tmp_path / "runs").iterdir()
    weights = evaluation.weights_hash(trained)
    assert workdir.name.endswith(f"-own-{weights[:8]}-inputs=0_1")
    assert training.describe(workdir)["provenance"]["classifier_weights"] == weights
    assert not (workdir / "d.keras").exists()
    generator = keras.models.load_model(workdir / "g.keras")
    images, labels = data.load("digits", "test")
    x = np.clip(images / np.float32(255) + 0.3 * generator.predict(images / np.float32(255), verbose=0), 0, 1)
    correct = trained.predict(x, verbose=0).argmax(1) == labels
    assert 100 * correct.mean() == pytest.approx(float(numbers["G released_mnist"]), abs=0.3)
    written = written_at(tmp_path / "runs")
    assert run(*command, *longer)[1] == output and written_at(tmp_path / "runs") == written


def test_file_with_code_in_a_layer_is_refused(tmp_path, run):
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Lambda(lambda x: x), keras.layers.Dense(10)]
    keras.Sequential(layers).save(tmp_path / "code.keras")
    code, output, error = run(f"--model={tmp_path}/code.keras", "--input_range=0,1", "--dataset=digits")
    assert (code, output, error.count("\n")) == (1, "", 1)
    assert "code.keras: expected a Keras model, found" in error and "Lambda" in error


@pytest.mark.slow
def test_defence_is_trained_for_an_own_classifier_and_evaluated_before_and_after(run, tmp_path):
    spec = experiment("digits", "standard", scale="tiny", steps=3, validation=0, classifier_width=4)
    networks.classifier(spec).save(tmp_path / "mine.keras")
    command = (
        f"--model={tmp_path}/mine.keras", "--dataset=digits", "--input_range=0,1", "--defence=magnet", "--scale=tiny",
        "--steps=4", "--batch_size=16", "--test_images=20", "--pgd_steps=2", "--noprogress",
    )  # fmt: skip
    code, output, errors = run(*command)
    assert code == 0, errors
    before, after = output.split("behind magnet: ")
    assert all("Adaptive" in part and "No Noise" in part for part in (before, after))
    assert "checks against false security" in after and "evades the detectors" not in before
    assert [place.name for place in (tmp_path / "runs").iterdir()] == ["digits-magnet-tiny-s0-batch_size=16-steps=4"]
    code, _, errors = run("--dataset=digits", "--defence=magnet")
    assert code == 2 and "--defence needs --model" in errors


@pytest.mark.parametrize("defence", [["--defence=defense_gan"], []])
def test_classifier_behind_a_defence_is_the_own_one(defence, run):
    own = ["--model=mine.keras", "--dataset=digits", "--input_range=0,1"]
    code, output, errors = run(*own, "--behind=reconstructed", *defence)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert "--model" in errors and "expected no --behind, received it" in errors


class AlwaysNoise(keras.layers.GaussianNoise):
    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


@pytest.mark.slow
def test_random_classifier_has_the_mean_of_draws_with_its_interval(trained):
    model = keras.Sequential([keras.Input((8, 8, 1)), AlwaysNoise(0.15), trained])
    options = dict(dataset="digits", input_range=(0, 1), workspace=Workspace(), overrides={"test_images": 24, "pgd_steps": 2})
    (printed,) = EvaluateModel(model=model, **options).run()
    mean, low, high = map(float, re.search(r"No Noise +([\d.]+) +\[([\d.]+), ([\d.]+)\], mean of 10 draws", printed).groups())
    assert low < mean < high
    images, labels = data.load("digits", "test")
    assert mean == pytest.approx(100 * evaluation.accuracy(model, images[:24], labels[:24]), abs=0.01)  # the same draws again
    assert "inference is deterministic" not in printed  # which passes, given the seed
