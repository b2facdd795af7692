"""Defensive distillation: the steps of teacher and student against NumPy, and what is left of it under the right attack."""

import keras
import numpy as np
import pytest

from adv_networks import attacks, data, defences, evaluation
from adv_networks.attacks.saliency_map import OUTPUTS
from adv_networks.defences.distillation import Student, soft_labels, student_step, teacher_step
from adv_networks.errors import UsageError
from adv_networks.evaluation.gradients import gradient_report
from adv_networks.experiments import experiment

T, RATE = 7.0, 0.5


def linear(seed):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, use_bias=False)])
    model.set_weights([np.random.default_rng(seed).normal(size=(64, 10))])
    return model


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def minibatch():
    random = np.random.default_rng(3)
    return random.random((12, 8, 8, 1), np.float32), random.integers(0, 10, 12)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_step_is_the_one_computed_in_numpy(role):
    """The gradient by the logits is (softmax(z/T) − labels) / T, and the loss is multiplied by T."""
    spec = experiment("digits", "distillation", temperature=T, weight_decay=0.0)
    (x, y), d, teacher = minibatch(), linear(0), linear(1)
    optimizer = keras.optimizers.SGD(RATE)
    optimizer.build(d.trainable_variables)
    weights, flat = d.get_weights()[0], x.reshape(12, 64)
    labels = softmax(flat @ teacher.get_weights()[0] / T) if role == "student" else np.eye(10)[y]
    expected = weights - RATE * flat.T @ (softmax(flat @ weights / T) - labels) / 12
    before = teacher.get_weights()[0]
    step = student_step if role == "student" else teacher_step
    scalars = step(Student(d, optimizer, teacher=teacher), x, y, spec, (0, 0))
    np.testing.assert_allclose(d.get_weights()[0], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(teacher.get_weights()[0], before)
    loss = -np.mean(np.sum(labels * np.log(softmax(flat @ weights / T)), 1))
    assert float(scalars["d_loss"]) == pytest.approx(loss, rel=1e-5)


def test_soft_labels_by_hand():
    np.testing.assert_allclose(soft_labels(np.float32([[0, 7 * np.log(3)]]), 7.0), [[0.25, 0.75]], rtol=1e-6)


def test_student_learns_from_a_teacher_of_its_temperature():
    spec = experiment("digits", "distillation", temperature=20.0, classifier_width=4)
    needed = spec.needs()["teacher"]
    assert (needed.method, needed.own.temperature, needed.classifier_width) == ("teacher", 20.0, 4)


@pytest.mark.slow
def test_gradients_vanish_at_test_and_the_margin_brings_them_back():
    """Few steps at T = 100 on digits; nothing but the temperature differs from what is attacked afterwards."""
    images, labels = data.load("digits", "train")
    x, y = images[:640] / np.float32(255), labels[:640]
    spec = experiment("digits", "teacher", classifier_width=8, learning_rate=0.03)
    players = defences.make_players(spec)
    for number in range(100):
        rows = slice(64 * (number % 10), 64 * (number % 10) + 64)
        teacher_step(players, x[rows], y[rows], spec, (0, number))
    report = gradient_report(players.d, x[:100], y[:100])
    z = np.sort(attacks.predict(players.d, x[:100]).numpy(), 1)
    assert report.median_gap == pytest.approx(np.median(z[:, -1] - z[:, -2]), rel=1e-5)
    assert report.median_gap > 100
    assert report.zero_percent >= 50
    by_loss = [
        evaluation.accuracy(players.d, x[:100], y[:100], attack=attacks.named(f"pgd{argument}", 0.15))
        for argument in ("", ":temperature=100", ":loss=margin")
    ]
    assert max(by_loss[1:]) < by_loss[0] - 0.1


def test_saliency_map_of_probabilities_vanishes_and_those_of_logits_and_of_logarithms_do_not():
    images, labels = data.load("digits", "train")
    x, y = images[:12], labels[:12]
    means = np.stack([(images[labels == label] / 255).reshape(-1, 64).mean(0) for label in range(10)], 1)
    model = linear(0)
    model.set_weights([1e4 * (means - means.mean(1, keepdims=True))])
    y = attacks.predict(model, x).numpy().argmax(1)
    moved = {of: np.abs(attacks.jsma(model, x, y, share=0.5, of=of).numpy() - x / 255).max((1, 2, 3)) > 0.1 for of in OUTPUTS}
    assert not moved["probabilities"].any()
    assert moved["logits"].all() and moved["log_probabilities"].all()
    with pytest.raises(UsageError, match="of: expected one of logits, probabilities, log_probabilities, received scores"):
        attacks.jsma(model, x, y, of="scores")
