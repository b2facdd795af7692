"""The universal perturbation: it is in its ball, does more than noise to images and classifiers it never saw, and says so."""

import keras
import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from adv_networks import attacks, data, evaluation
from adv_networks.attacks import Universal
from adv_networks.errors import UsageError
from adv_networks.evaluation.exports import Exports

EPSILON = 0.2


def perceptron(images, labels, seed):
    """A hidden layer trained by scikit-learn, as a Keras model."""
    trained = MLPClassifier(32, random_state=seed, max_iter=60).fit(images.reshape(len(images), -1) / 255, labels)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(32, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    weights = zip(trained.coefs_, trained.intercepts_, strict=True)
    model.set_weights([part for layer in weights for part in layer])
    return model


@pytest.fixture(scope="module")
def digits():
    """Two classifiers, training images and test images."""
    training, tested = data.load("digits", "train", limit=800), data.load("digits", "test")
    with pytest.warns(Warning, match="Maximum iterations"):
        models = [perceptron(*training, seed) for seed in (0, 1)]
    return models, training, tested


def changed_labels(model, images, perturbation):
    """The share of the images whose label the perturbation changes, clipped to [0,1]."""
    x = images / np.float32(255)
    before, after = (np.argmax(model(inputs), 1) for inputs in (x, np.clip(x + perturbation, 0, 1)))
    return np.mean(before != after)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_fools_test_images_and_another_classifier_more_than_random_signs_do(norm, digits):
    models, training, tested = digits
    radius = EPSILON if norm == "linf" else 8 * EPSILON
    found = attacks.universal_perturbation(models[0], training.images[:100], radius, norm=norm, passes=2).numpy()
    assert (np.abs(found).max() if norm == "linf" else np.linalg.norm(found)) <= radius + 1e-6
    signs = np.random.default_rng(0).choice([-EPSILON, EPSILON], (20, 8, 8, 1)).astype(np.float32)
    for model, more in zip(models, (0.1, 0.0), strict=True):
        by_noise = np.mean([changed_labels(model, tested.images, own) for own in signs])
        assert changed_labels(model, tested.images, found) > by_noise + more


@pytest.mark.parametrize("epsilon", [0.05, 1.0])
def test_one_image_is_moved_by_deepfool_and_projected(epsilon, digits):
    models, training, _ = digits
    x = training.images[:1] / np.float32(255)
    way = attacks.deepfool(models[0], x, np.argmax(models[0](x), 1), steps=10).numpy() - x
    found = attacks.universal_perturbation(models[0], x, epsilon, passes=1).numpy()
    expected = np.clip(way[0], -epsilon, epsilon)
    # It is kept where it changes the label.
    fools = np.argmax(models[0](np.clip(x + expected, 0, 1))) != np.argmax(models[0](x))
    np.testing.assert_allclose(found, expected if fools else np.zeros_like(expected), atol=1e-6)
    assert fools or epsilon < 1


def test_records_say_what_it_learned_from(digits):
    models, training, tested = digits
    attack = attacks.named("universal:images=20:passes=1", EPSILON)
    asked = []

    def first(count):
        asked.append(count)
        return training.first(count)

    named = {"a": models[0], "b": models[1]}
    of_source = {"a": models[0]}
    records = evaluation.grid(named, of_source, [attack], *tested.first(50), training=first)
    assert asked == [20] and {record.learned_from.split()[0] for record in records} == {"20"}
    state = attack.fit(models[0], *training.first(20))
    for record, model in zip(records, models, strict=True):
        x = np.clip(tested.images[:50] / np.float32(255) + state, 0, 1)
        assert record.correct == (np.argmax(model(x), 1) == tested.labels[:50]).sum()
    again = evaluation.grid(named, of_source, [attack], *tested.first(50), known=records, training=training.first)
    assert again == records

    def last(count):
        return tuple(part[-count:] for part in training)

    others = evaluation.grid(named, of_source, [attack], *tested.first(50), known=records, training=last)
    assert {record.key for record in others}.isdisjoint(record.key for record in records)


def test_it_learns_before_it_attacks(digits):
    models, training, tested = digits
    attack = Universal(epsilon=EPSILON, images=20)
    with pytest.raises(UsageError, match="attack universal: expected training images to learn from, received none"):
        evaluation.grid({"a": models[0]}, {"a": models[0]}, [attack], *tested.first(9))
    with pytest.raises(UsageError, match=r"expected what `fit` learned from images \[8, 8, 1\], received nothing"):
        attack.craft(models[0], *tested.first(9))
    with pytest.raises(UsageError, match=r"received a perturbation \[4, 4, 1\]"):
        attack.craft(models[0], *tested.first(9), state=np.zeros((4, 4, 1)))
    found = evaluation.evaluate(
        models[0], *tested.first(50), ["clean", "universal:images=20"], epsilon=EPSILON, training=training
    )
    assert found["universal:images=20"] < found["clean"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"norm": "l1"}, "norm: expected linf or l2 for attack universal, received l1"),
        ({"passes": 0}, "passes: expected at least 1, received 0"),
        ({"rate": 0}, "rate: expected a value above 0 and of at most 1, received 0"),
        ({"epsilon": -1}, "epsilon: expected one number of at least 0, received -1"),
    ],
)
def test_wrong_arguments_are_refused(options, said, digits):
    with pytest.raises(UsageError, match=f"^{said}$"):
        attacks.universal_perturbation(digits[0][0], digits[1].images[:3], **{"epsilon": EPSILON, **options})


def test_exported_images_are_those_of_what_it_learned_from_training_images(digits, tmp_path):
    """Nor is an attack without a ball left out, and what is crafted on no model is."""
    models, training, tested = digits
    learning, attacked = attacks.named("universal:images=20:passes=1", EPSILON), models[0]
    crafted = [(text, attacks.named(text, EPSILON), attacked) for text in ("deepfool:steps=2", "clean")]
    exports = Exports(adversarial=tmp_path / "all.npz")
    exports.write(attacked, *tested.first(30), [("U", learning, attacked), *crafted], training.first)
    with np.load(tmp_path / "all.npz") as saved:
        assert list(saved["attacks"]) == ["U", "deepfool:steps=2"]
        state = learning.fit(attacked, *training.first(20))
        expected = evaluation.craft_all(learning, attacked, *tested.first(30), state=state)
        np.testing.assert_array_equal(saved["adversarial"][0], expected)
