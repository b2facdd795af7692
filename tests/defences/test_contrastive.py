"""The contrastive latent space by hand: loss and gradient, pairs, 1-NN, and the numbers behind its pictures."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, data
from adv_networks.data import Images
from adv_networks.defences.contrastive import Settings, contrastive_loss, loss_of_pairs
from adv_networks.errors import UsageError, UserError
from adv_networks.evaluation import latent_space
from adv_networks.experiments import METHODS, experiment
from tests.conftest import randomised

MARGIN = 2.0


def test_loss_and_gradient_by_hand():
    """d² for one class; (α − d)² for two within the margin, nothing beyond; finite where both are the same point."""
    first = tf.constant([[3.0, 4.0], [0.6, 0.8], [3.0, 4.0], [1.0, 1.0]], tf.float64)
    second = tf.constant([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]], tf.float64)
    same = tf.constant([True, False, False, False])
    with tf.GradientTape() as tape:
        tape.watch(first)
        loss = contrastive_loss(first, second, same, MARGIN)
    np.testing.assert_allclose(loss, [25, 1, 0, (MARGIN - 1e-6) ** 2], rtol=1e-9)
    gradient = tape.gradient(loss, first)
    np.testing.assert_allclose(gradient, [[6, 8], [-1.2, -1.6], [0, 0], [0, 0]], atol=1e-9)


@pytest.mark.parametrize("pairs", ["shifted", "all"])
def test_pairs_of_a_minibatch(pairs):
    rng = np.random.default_rng(0)
    latents, y = rng.normal(size=(8, 3)), rng.integers(0, 3, 8)
    rows = [(i, i + 4) for i in range(4)] if pairs == "shifted" else [(i, j) for i in range(8) for j in range(i)]
    each = []
    for i, j in rows:
        d = np.linalg.norm(latents[i] - latents[j])
        each.append(d**2 if y[i] == y[j] else max(0, MARGIN - d) ** 2)
    found = loss_of_pairs(tf.constant(latents), tf.constant(y), Settings(contrastive_pairs=pairs))
    assert float(found) == pytest.approx(np.mean(each))


@pytest.fixture(scope="module")
def classifier():
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(6, "relu"), keras.layers.Dense(10)]
    sequential = randomised(keras.Sequential(layers))
    return keras.Model(sequential.inputs[0], sequential.outputs[0])


@pytest.fixture(scope="module")
def digits():
    return Images(*data.load("digits", "train"))


def test_nearest_reference_is_1_nn_and_saves_without_our_code(classifier, digits, tmp_path):
    references = latent_space.references(digits, 10, 5)
    assert references.shape == (50, 8, 8, 1)
    model = latent_space.nearest_reference(classifier, references)
    x = digits.images[200:260] / np.float32(255)
    hidden, bias = classifier.get_weights()[:2]
    latents, of_references = (
        np.maximum(images.reshape(len(images), -1).astype(np.float64) @ hidden + bias, 0) for images in (x, references / 255)
    )
    apart = np.linalg.norm(latents[:, None] - of_references[None], axis=-1)
    outputs = attacks.predict(model, x).numpy()
    np.testing.assert_allclose(outputs, -apart.reshape(60, 10, 5).min(-1), atol=1e-4)
    assert (outputs.argmax(1) == apart.argmin(1) // 5).all()
    model.save(tmp_path / "nearest.keras")
    again = keras.models.load_model(tmp_path / "nearest.keras")
    np.testing.assert_allclose(again(x), outputs, atol=1e-6)
    assert np.abs(attacks.fgs(model, x, np.arange(60) % 10, 0.1) - x).max() > 0


def test_class_without_enough_references_is_refused(digits):
    with pytest.raises(UserError, match="class 0: expected 5 training images for references, found"):
        latent_space.references(digits.first(8), 10, 5)


def test_numbers_behind_the_picture_by_hand():
    latents = np.array([[0.0, 1.0], [0.0, -1.0], [6.0, 2.0], [6.0, -2.0]])
    clusters = latent_space.Clusters(latents, np.array([0, 0, 1, 1]))
    assert clusters.between_within == pytest.approx(6 / 1.5)
    np.testing.assert_array_equal(clusters.inside(np.array([[6.0, 1.9], [0.5, 1.0]]), np.array([1, 0])), [True, False])
    np.testing.assert_allclose(latent_space.to_nearest(latents, latents[1:3]), [2, 0, 0, 4])
    # The first class has references at 0 and 10, the second at 4 and 5.
    near = latent_space.nearest_class(np.array([[1.0], [3.0], [6.0], [9.0]]), np.array([[[0.0], [10.0]], [[4.0], [5.0]]]))
    assert near.tolist() == [0, 1, 1, 0]
    mean, directions = latent_space.plane_of(latents)
    np.testing.assert_allclose(mean, [3, 0])
    np.testing.assert_allclose(directions, np.eye(2), atol=1e-12)


def test_odd_minibatch_has_no_halves():
    with pytest.raises(UsageError, match="batch_size: expected an even number with method contrastive, received 63"):
        experiment("digits", "contrastive", batch_size=63)


def test_head_at_test_is_the_one_asked_for(classifier, digits):
    method = METHODS["contrastive"]
    heads = [experiment("digits", "contrastive", contrastive_head=head) for head in ("softmax", "nearest")]
    first, second = (method.as_evaluated(classifier, spec, lambda: digits) for spec in heads)
    assert first is classifier
    assert attacks.predict(second, digits.images[:3]).numpy().max() <= 0
