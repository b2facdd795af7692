"""Keras models of every kind as classifiers of a data set: the logits are those of the model, or one line says what to do."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from adv_networks import data, evaluation
from adv_networks.errors import UserError
from adv_networks.evaluation import own_model
from adv_networks.experiments import DATASETS, Dataset
from tests.conftest import randomised

SHAPE = (8, 8, 1)
IMAGES = np.random.default_rng(0).random((5, *SHAPE), np.float32)


@pytest.fixture(autouse=True)
def no_data_set_stays_declared():
    declared = dict(DATASETS)
    DATASETS["coins"] = Dataset("coins", None, SHAPE, 2, 10, 10, 0)
    yield
    for name in DATASETS.keys() - declared.keys():
        del DATASETS[name]


def dense(x, units, **options):
    return keras.layers.Dense(units, **options)(keras.layers.Flatten()(x))


def model(outputs, shape=SHAPE, **options):
    """A functional model of an input and what is made of it, its weights drawn at random."""
    image = keras.Input(shape, **options)
    return randomised(keras.Model(image, outputs(image)))


def several(kind):
    return model(lambda x: kind(dense(x, 3), dense(x, 10)))


class Subclassed(keras.Model):
    """A model that returns a dictionary, and says nothing of its shapes."""

    def __init__(self):
        super().__init__()
        self.inner = keras.layers.Dense(10)

    def call(self, x):
        return {"logits": self.inner(keras.ops.reshape(x, (-1, 64)))}


def subclassed():
    own = Subclassed()
    own(IMAGES)
    return randomised(own)


WORK = {
    "two outputs": (lambda: several(lambda *both: list(both)), lambda own, x: own(x)[1]),
    "dictionary": (lambda: several(lambda few, ten: {"few": few, "logits": ten}), lambda own, x: own(x)["logits"]),
    "nested": (
        lambda: several(lambda few, ten: {"few": few, "deep": [few, {"logits": ten}]}),
        lambda own, x: own(x)["deep"][1]["logits"],
    ),
    "dictionary of one": (lambda: model(lambda x: {"logits": dense(x, 10)}), lambda own, x: own(x)["logits"]),
    "list of one": (lambda: model(lambda x: [dense(x, 10)]), lambda own, x: own(x)),
    "subclassed dictionary": (subclassed, lambda own, x: own(x)["logits"]),
    "any sides": (
        lambda: model(lambda x: dense(keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(4, 3)(x)), 10), (None, None, 1)),
        lambda own, x: own(x),
    ),
    "fixed batch": (lambda: model(lambda x: dense(x, 10), batch_size=5), lambda own, x: own(x)),
    "double outputs": (lambda: model(lambda x: dense(x, 10, dtype="float64")), lambda own, x: own(x)),
    "double outputs of an activation": (
        lambda: model(lambda x: dense(x, 10, activation=lambda x: tf.cast(x, "float64") if tf.is_tensor(x) else x)),
        lambda own, x: own(x),
    ),
    "half outputs": (lambda: model(lambda x: keras.ops.cast(dense(x, 10), "float16")), lambda own, x: own(x)),
}


@pytest.mark.parametrize("kind", WORK)
def test_logits_are_those_of_the_model(kind):
    make, expected = WORK[kind]
    own = make()
    found = own_model.load(own, "digits")
    assert found(IMAGES).dtype == found.outputs[0].dtype
    logits = np.asarray(found(IMAGES), np.float64)
    assert logits.shape == (5, 10) and found.input_shape == (None, *SHAPE)
    assert found.outputs[0].dtype == own.trainable_variables[0].dtype, "expected a loss to have the type of the weights"
    np.testing.assert_allclose(logits, np.asarray(expected(own, IMAGES), np.float64), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(np.asarray(found(IMAGES[:3]), np.float64), logits[:3], rtol=1e-3, atol=1e-3)
    assert evaluation.weights_hash(found) == evaluation.weights_hash(own)


def test_one_logit_of_two_classes_is_two():
    own = model(lambda x: dense(x, 1))
    found = np.asarray(own_model.load(own, "coins")(IMAGES))
    np.testing.assert_array_equal(found, np.concatenate([np.zeros((5, 1)), own(IMAGES)], 1))
    sigmoid = model(lambda x: dense(x, 1, activation="sigmoid"))
    for guard in (lambda x: keras.ops.clip(x, -20, 20), lambda x: 30 * keras.ops.tanh(x / 30)):
        guarded = model(lambda x, guard=guard: guard(dense(x, 1)))
        np.testing.assert_array_equal(np.asarray(own_model.load(guarded, "coins")(IMAGES))[:, 1:], guarded(IMAGES))
    for bounded in (sigmoid, model(sigmoid)):
        with pytest.raises(UserError, match="expected one logit, found its sigmoid"):
            own_model.load(bounded, "coins")


def test_sigmoid_that_no_layer_names_is_noticed_by_what_it_is_right_about():
    images = np.random.default_rng(0).integers(0, 256, (200, *SHAPE), np.uint8)
    labels = (images[:, 0, 0, 0] > 127).astype(np.int32)

    def of(activation):
        return lambda x: activation(20 * (x[:, 0, 0, :] - 0.5))

    examples = data.Images(images, labels)
    own_model.check_range(own_model.load(model(of(lambda x: x)), "coins"), (0, 1), examples)
    with pytest.raises(UserError, match=r"expected one logit, found values from .* for 100% .* as probabilities and for "):
        own_model.check_range(own_model.load(model(of(lambda x: 1 / (1 + keras.ops.exp(-x)))), "coins"), (0, 1), examples)


class Unknown(keras.layers.Layer):
    """A layer that no file can bring along."""

    def call(self, x):
        return 2 * x


def saved(own, name="own.keras"):
    return lambda place: (own().save(place / name), str(place / name))[1]


def exported(place):
    model(lambda x: dense(x, 10)).export(place / "saved", verbose=False)
    return str(place / "saved")


def weights(place):
    model(lambda x: dense(x, 10)).save_weights(place / "own.weights.h5")
    return str(place / "own.weights.h5")


REFUSED = {
    "two that fit": (
        lambda place: model(lambda x: [dense(x, 10), dense(x, 10)]),
        r"found .* to 0: \(None, 10\) and 1: .*only one",
    ),
    "none that fits": (lambda place: model(lambda x: dense(x, 9)), r"\(None, 10\), found \(None, 8, 8, 1\) to \(None, 9\)"),
    "one logit of ten": (lambda place: model(lambda x: dense(x, 1)), r"to \(None, 1\)"),
    "integers": (lambda place: model(lambda x: dense(keras.ops.cast(x, "float32"), 10), dtype="uint8"), "found one of uint8, "),
    "integers out": (
        lambda place: model(lambda x: keras.ops.cast(100 * dense(x, 10), "int32")),
        "found one that returns int32, through which no gradient",
    ),
    "batches of 4 alone": (
        lambda place: model(lambda x: dense(keras.ops.reshape(keras.ops.reshape(x, (4, 64)), (4, 8, 8)), 10), batch_size=4),
        "found one of batches of 4, which fails with 5: .*build it without batch_size",
    ),
    "other images": (lambda place: model(lambda x: dense(x, 10), (64,)), r"found \(None, 64\)"),
    "custom layer": (saved(lambda: model(lambda x: Unknown()(dense(x, 10)))), "does not have: Unknown .*module:function"),
    "custom layer in .h5": (
        saved(lambda: model(lambda x: Unknown()(dense(x, 10))), "own.h5"),
        "does not have: Unknown .*module:function",
    ),
    "text": (
        lambda place: str((place / "own.keras").write_bytes(b"text") and place / "own.keras"),
        "found: another kind of file under that name",
    ),
    "lambda": (
        saved(lambda: model(lambda x: keras.layers.Lambda(lambda x: x)(dense(x, 10)))),
        "a Lambda layer, .*module:funct",
    ),
    "SavedModel": (exported, "found a SavedModel .*keras.layers.TFSMLayer"),
    "weights": (weights, "weights alone .*module:function"),
    "TFLite": (
        lambda place: str((place / "own.tflite").write_bytes(b"TFL3") and place / "own.tflite"),
        "a TFLite model, which",
    ),
    "nothing": (
        lambda place: str(place / "nosuch"),
        "expected a .keras file, found none .*run's directory and module:function",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_models_are_one_line_that_says_what_to_do(kind, tmp_path):
    make, said = REFUSED[kind]
    with pytest.raises(UserError, match=said) as error:
        own_model.load(make(tmp_path), "digits")
    assert "\n" not in str(error.value)


def shades(place, names):
    for number, name in enumerate(names):
        (place / name).mkdir(parents=True)
        for count in range(5):
            Image.new("L", (8, 8), 20 * number + count).save(place / name / f"{count}.png")
    return place


def by_shade(classes, order):
    """A classifier of plain images whose shades go up with their class, which it numbers by `order`."""
    image = keras.Input(SHAPE)
    shade = keras.ops.mean(image, (1, 2)) * 255
    distances = -keras.ops.abs(shade - keras.ops.convert_to_tensor([[20.0 * number + 2 for number in range(classes)]]))
    return keras.Model(image, keras.ops.take(distances, order, axis=1))


def test_other_common_order_of_class_folders_is_noticed(tmp_path):
    names = [str(number) for number in range(12)]
    place = shades(tmp_path / "mine", names)
    of_keras = by_shade(12, [names.index(name) for name in sorted(names)])
    declared = data.find_dataset(str(place))
    examples = data.load(declared.name, "train")
    with pytest.raises(
        UserError, match=r"class_order: .*received numbers, where it labels .*\(100% with --class_order=names\)"
    ):
        own_model.check_range(of_keras, (0, 1), examples, declared.name)
    with pytest.raises(UserError, match=r"input_range: .*received 0,255, .*100% with 0,1 and with --class_order=names\)"):
        own_model.check_range(of_keras, (0, 255), examples, declared.name)
    own_model.check_range(by_shade(12, list(range(12))), (0, 1), examples, declared.name)
    as_keras_does = data.own_data.opened(place, class_order=("names",))
    own_model.check_range(of_keras, (0, 1), data.load(as_keras_does.name, "train"), as_keras_does.name)


def test_range_where_logits_are_not_finite_is_not_the_better_one():
    own = model(lambda x: dense(keras.ops.sqrt(1.0001 - x), 10))
    own_model.check_range(own, (0, 1), data.load("digits", "train", limit=50))
    with pytest.raises(UserError, match="expected finite logits for inputs in 0,255, found infinite or NaN ones for 50 of 50"):
        own_model.check_range(own, (0, 255), data.load("digits", "train", limit=50))


def test_range_for_which_the_classifier_fails_is_not_the_better_one():
    layers = [keras.layers.Lambda(lambda x: keras.ops.cast(16 * x[..., 0], "int32")), keras.layers.Reshape((64,))]
    own = keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Embedding(17, 2), keras.layers.Flatten()])
    own.add(keras.layers.Dense(10))
    own_model.check_range(own, (0, 1), data.load("digits", "train", limit=50))
    with pytest.raises(UserError, match=r"^classifier: expected a model that can be computed .*: indices.* is not in") as error:
        own_model.check_range(own, (0, 255), data.load("digits", "train", limit=50))
    assert str(error.value).isprintable()


def test_class_names_are_in_the_file_and_logits_follow_them(tmp_path):
    trained_on = data.find_dataset(str(shades(tmp_path / "one" / "mine", ("ant", "bee", "cat"))))
    evaluation.save_model(by_shade(3, [0, 1, 2]), tmp_path / "own.keras", trained_on.class_names)
    with zipfile.ZipFile(tmp_path / "own.keras") as file:
        assert json.loads(file.read("metadata.json"))["class_names"] == ["ant", "bee", "cat"]
    x = np.full((1, *SHAPE), 22 / 255, np.float32)
    assert keras.models.load_model(tmp_path / "own.keras")(x).numpy().argmax() == 1
    other = data.own_data.opened(tmp_path / "one" / "mine", class_order=("cat", "bee", "ant"))
    for dataset, expected in ((trained_on, [0, 1, 2]), (other, [2, 1, 0])):
        found = own_model.load(tmp_path / "own.keras", dataset.name)
        shown = data.load(dataset.name, "train")
        seen = np.asarray(found(shown.images / np.float32(255))).argmax(1)
        np.testing.assert_array_equal(seen, shown.labels)
        assert [dataset.class_names.index(name) for name in trained_on.class_names] == expected
    foreign = data.find_dataset(str(shades(tmp_path / "two" / "mine", ("ant", "bee", "dog"))))
    with pytest.raises(
        UserError,
        match=r"expected a classifier of the classes of mine-.*, found one of other classes \(only one of the two has cat, dog",
    ):
        own_model.load(tmp_path / "own.keras", foreign.name)
    assert evaluation.class_names_of(tmp_path / "two") == ()
