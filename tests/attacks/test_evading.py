"""Attacks that evade detectors, against linear programming: whether an image that does so exists in the ball."""

import keras
import numpy as np
import pytest
import scipy.optimize

from adv_networks import attacks
from tests.conftest import precision

EPSILON, CLEARLY = 0.3, 0.02
RANDOM = np.random.default_rng(5)
WEIGHTS, BIAS = RANDOM.normal(size=(16, 3)), RANDOM.normal(size=3)
DIRECTION, LIMIT = RANDOM.normal(size=16), 0.2


def linear_with_detector():
    """A linear classifier, and a detector that refuses an image if it is too bright in a random direction."""
    with precision("float64"):
        image = keras.Input((4, 4, 1))
        flat = keras.layers.Flatten()(image)
        classifier, detector = keras.layers.Dense(3), keras.layers.Dense(1)
        model = keras.Model(image, [classifier(flat), detector(flat)[:, 0]])
    classifier.set_weights([WEIGHTS, BIAS])
    detector.set_weights([DIRECTION[:, None], np.array([-LIMIT])])
    return model


def exists(x, label, slack):
    """Whether some image in the ball of x has another label and is not refused, both by at least the slack."""
    bounds = [(max(0, v - EPSILON), min(1, v + EPSILON)) for v in x]
    for other in set(range(3)) - {label}:
        rows = np.stack([WEIGHTS[:, label] - WEIGHTS[:, other], DIRECTION])
        limits = [BIAS[other] - BIAS[label] - slack, LIMIT - slack]
        if scipy.optimize.linprog(np.zeros(16), A_ub=rows, b_ub=limits, bounds=bounds).success:
            return True
    return False


@pytest.mark.parametrize(("attack", "share"), [(attacks.EvadingCarliniWagner, 0.95), (attacks.EvadingPGD, 0.5)])
def test_images_that_evade_are_found_where_they_exist_and_nowhere_else(attack, share):
    model = linear_with_detector()
    x = np.random.default_rng(6).random((80, 4, 4, 1))
    labels = np.asarray(model(x)[0]).argmax(1)
    found = np.asarray(attack(epsilon=EPSILON).craft(model, x, labels))
    assert (np.abs(found - x) <= EPSILON + 1e-9).all() and (found >= 0).all() and (found <= 1).all()
    logits, excess = map(np.asarray, model(found))
    evades = (logits.argmax(1) != labels) & (excess < 0)
    possible = np.array([exists(own.ravel(), label, 0) for own, label in zip(x, labels, strict=True)])
    clearly = np.array([exists(own.ravel(), label, CLEARLY) for own, label in zip(x, labels, strict=True)])
    assert 0.3 < clearly.mean() < 0.9  # The test is neither trivial nor hopeless.
    assert not (evades & ~possible).any()
    assert evades[clearly].mean() >= share


def test_image_that_evades_already_stays_as_it_is():
    """Pixels at the ends of their box would otherwise start beside the image, here on the other side of the boundary."""
    image = keras.Input((2, 2, 1))
    mean = keras.ops.mean(image, (1, 2))
    model = keras.Model(image, keras.ops.concatenate([mean, keras.ops.full_like(mean, 0.002)], 1))
    x, y = np.zeros((1, 2, 2, 1), np.float32), np.zeros(1, int)
    np.testing.assert_array_equal(attacks.evading_cw(model, x, y, 0.3, rounds=1, steps=3), x)


def test_detector_with_a_huge_gradient_is_evaded_too():
    """Adam squares gradients: above 1.8e19 a square is infinite in single precision, and the image stood still."""
    image = keras.Input((2, 2, 1))
    mean = keras.ops.mean(image, (1, 2))
    logits = keras.ops.concatenate([mean, keras.ops.full_like(mean, 0.55)], 1)
    model = keras.Model(image, [logits, 1e25 * (keras.ops.abs(mean[:, 0] - 0.35) - 0.05)])
    x, y = np.full((1, 2, 2, 1), 0.6, np.float32), np.zeros(1, int)
    found = attacks.evading_cw(model, x, y, 0.3, steps=50)
    assert 0.3 < np.asarray(found).mean() < 0.4
