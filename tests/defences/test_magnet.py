"""MagNet: its marks and thresholds against NumPy and SciPy, its four cases image by image, and its run."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import jensenshannon

from adv_networks import data, evaluation
from adv_networks.defences import magnet
from adv_networks.errors import UsageError
from adv_networks.experiments import METHODS, experiment
from tests.training.helpers import train

METHOD = METHODS["magnet"]


def tiny(**overrides):
    return experiment("digits", "magnet", scale="tiny", **(dict(steps=12, batch_size=32, classifier_width=4) | overrides))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tiny(), tmp_path_factory.mktemp("runs") / "magnet")


@pytest.fixture(scope="module")
def classifier(run):
    spec = tiny().behind()
    return evaluation.load_classifier(train(spec, run.parent / spec.name))


@pytest.mark.parametrize(("rate", "count"), [(0.001, 5), (0.0001, 1), (0.005, 25), (1.0, 5000)])
def test_thresholds_are_numpys_quantiles(rate, count):
    marks = np.random.default_rng(0).gamma(2, size=(2, 5000))
    expected = np.quantile(marks, 1 - (count - 1) / 4999, axis=1, method="nearest")
    np.testing.assert_array_equal(magnet.thresholds(marks, rate), expected)
    assert ((marks >= magnet.thresholds(marks, rate)[:, None]).sum(1) == count).all()


def test_divergence_is_that_of_scipy():
    first, second = np.random.default_rng(0).normal(0, 30, (2, 6, 10))
    shares = [np.exp(own - own.max(1, keepdims=True)) for own in (first / 10, second / 10)]
    found = magnet.divergence(tf.constant(first / 10), tf.constant(second / 10))
    np.testing.assert_allclose(found, jensenshannon(*shares, axis=1) ** 2, rtol=1e-9)


@pytest.mark.slow
def test_thresholds_are_of_the_marks_of_the_validation_images(run, classifier):
    """With the classifier that stands behind, which the run does not know."""
    (_, validation), keep = data.training_and_validation(tiny()), np.load(run / "held_out.npy")
    np.testing.assert_array_equal(keep, validation.images)
    x = keep / np.float32(255)
    first, second = (keras.models.load_model(run / f"autoencoder_{number}.keras")(x).numpy() for number in (1, 2))
    softmax = [np.asarray(tf.nn.softmax(np.float64(classifier(images)) / 40)) for images in (x, first)]
    marks = {
        "error_1": np.mean((first - x) ** 2, (1, 2, 3)),
        "error_2": np.mean(np.abs(second - x), (1, 2, 3)),
        "divergence_40": jensenshannon(*softmax, axis=1) ** 2,
    }
    defended = METHOD.load(classifier, run, tiny(detectors=tuple(marks), detector_rate=0.1))
    expected = [np.sort(own)[-int(0.1 * len(own))] for own in marks.values()]
    # Float32 holds a divergence of two distributions so near one another no better.
    np.testing.assert_allclose(defended.settings["thresholds"], expected, rtol=0.02, atol=1e-7)


def marks_of_errors(run, x):
    first, second = (keras.models.load_model(run / f"autoencoder_{number}.keras")(x).numpy() for number in (1, 2))
    return np.stack([np.mean((first - x) ** 2, (1, 2, 3)), np.mean(np.abs(second - x), (1, 2, 3))])


@pytest.mark.slow
@pytest.mark.parametrize("parts", magnet.PARTS)
def test_each_case_counts_as_it_must_image_by_image(parts, run, classifier):
    spec = tiny(magnet_parts=parts, detector_rate=0.5, detectors=("error_2", "error_1"))
    assert spec.trained().name == tiny().name == spec.name != spec.target_name
    defended = METHOD.load(classifier, run, spec)
    images, labels = data.load("digits", "test", limit=100)
    x = images / np.float32(255)
    first, marks = keras.models.load_model(run / "autoencoder_1.keras")(x).numpy(), marks_of_errors(run, x)
    held_out = np.load(run / "held_out.npy") / np.float32(255)
    limits = magnet.thresholds(marks_of_errors(run, held_out), 0.5)
    refused = (marks >= limits[:, None]).any(0) & (parts in ("both", "detector"))
    seen = np.argmax(classifier(first if parts in ("both", "reformer") else x), 1)
    assert np.mean(refused) > 0.3 or parts in ("reformer", "none")
    clean = evaluation.accuracy(defended, images, labels)
    assert clean == pytest.approx(np.mean((seen == labels) & ~refused), abs=0.011)
    nothing = evaluation.accuracy(defended, images, labels, attack=spec.attack("fgs:epsilon=1e-7"), source=defended)
    assert nothing == pytest.approx(np.mean((seen == labels) | refused), abs=0.011)


@pytest.mark.slow
def test_run_loads_without_our_classes(run):
    layers = {type(layer).__module__ for layer in keras.models.load_model(run / "autoencoder_1.keras").layers}
    assert all(module.startswith("keras.") for module in layers)
    with pytest.raises(UsageError, match="validation: expected at least 1 image with method magnet"):
        METHOD.build(tiny(validation=0), {})


def grey(**overrides):
    small = dict(steps=2, batch_size=16, classifier_width=4, autoencoder_width=1, diversity=0.0)
    return experiment("digits", "magnet_grey", scale="tiny", **(small | overrides))


@pytest.mark.slow
def test_random_autoencoder_has_the_exact_mean_of_the_eight_and_its_outputs_are_one_of_theirs(run, classifier):
    method, spec = METHODS["magnet_grey"], grey()
    workdir = train(spec, run.parent / spec.name)
    images, labels = data.load("digits", "test", limit=30)
    each = {name: method.load(classifier, workdir, grey(autoencoder=name)) for name in "ABCDEFGH"}
    drawn = method.load(classifier, workdir, spec)
    assert len({evaluation.target_hash(one) for one in (*each.values(), drawn)}) == 9
    found = [evaluation.accuracy(one, images, labels) for one in each.values()]
    assert evaluation.accuracy(drawn, images, labels) == pytest.approx(np.mean(found))
    x = tf.constant(images / np.float32(255))
    outputs = np.stack([one.model(x) for one in each.values()])
    nearest = np.abs(outputs - drawn.model(x).numpy()).max(2)
    np.testing.assert_allclose(nearest.min(0), 0, atol=1e-5)


@pytest.mark.long
def test_autoencoders_differ_more_where_they_seek_to(run):
    spreads = []
    for diversity in (0.0, 20.0):
        spec = grey(diversity=diversity, alone=0.0)
        state = METHODS["magnet_grey"].build(spec, {})
        x = np.random.default_rng(0).random((16, 8, 8, 1)).astype(np.float32)
        for step in range(30):
            scalars = METHODS["magnet_grey"].step(state, x, np.zeros(16, int), spec, (0, step))
        spreads.append(float(scalars["spread"]))
    assert spreads[1] > 1.5 * spreads[0]
