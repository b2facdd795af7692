"""The relatives of FGS against values computed by hand on a linear classifier in double precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks
from adv_networks.attacks.iterative_fast_gradient_sign import kurakin_steps
from adv_networks.attacks.targets import TARGETS, targets_of
from adv_networks.errors import UsageError
from tests.conftest import precision

EPSILON = 0.1
RNG = np.random.default_rng(5)
WEIGHTS, BIAS = RNG.normal(size=(9, 4)), RNG.normal(size=4)
X, Y = RNG.uniform(0.02, 0.98, (6, 3, 3, 1)), np.array([0, 1, 2, 3, 0, 1])


@pytest.fixture(scope="module")
def linear():
    with precision("float64"):
        dense = keras.layers.Dense(4)
        model = keras.Sequential([keras.Input((3, 3, 1)), keras.layers.Flatten(), dense])
        dense.set_weights([WEIGHTS, BIAS])
    return model


def logits(x):
    return x.reshape(len(x), -1) @ WEIGHTS + BIAS


def sign(x, y):
    """The sign of the gradient of the cross-entropy of y: W (p − e_y)."""
    exponentials = np.exp(logits(x))
    error = exponentials / exponentials.sum(1, keepdims=True) - np.eye(4)[y]
    return np.sign(error @ WEIGHTS.T).reshape(x.shape)


def projected(moved):
    return np.clip(np.clip(moved, X - EPSILON, X + EPSILON), 0, 1)


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_targeted_step_goes_down_the_loss_of_the_target(linear):
    targets = (Y + 1) % 4
    same(attacks.fgs_targeted(linear, X, targets, EPSILON), projected(X - EPSILON * sign(X, targets)))
    attack = attacks.named("fgs_targeted:target=next", EPSILON)
    same(attack.craft(linear, X, Y), projected(X - EPSILON * sign(X, targets)))


@pytest.mark.parametrize("towards", [False, True])
def test_iterative_steps_are_short_and_projected(linear, towards):
    labels, expected = np.argmin(logits(X), 1) if towards else Y, X
    for _ in range(7):
        expected = projected(expected + (-0.03 if towards else 0.03) * sign(expected, labels))
    same(attacks.iterative(linear, X, None if towards else Y, EPSILON, alpha=0.03, steps=7), expected)
    name = "iterative_least_likely" if towards else "iterative"
    same(attacks.named(f"{name}:alpha=0.03:steps=7", EPSILON).craft(linear, X, Y), expected)


@pytest.mark.parametrize(("levels", "steps"), [(0.1, 1), (1, 1), (4, 5), (8, 10), (16, 20), (16.4, 20), (64, 68)])
def test_steps_are_those_of_kurakin(levels, steps):
    assert kurakin_steps(levels / 255) == steps


@pytest.mark.parametrize("alpha", [None, 0.03])
def test_random_step_moves_every_pixel_by_alpha_and_the_gradient_is_taken_there(linear, alpha):
    size = EPSILON / 2 if alpha is None else alpha
    found = attacks.r_fgs(linear, X, Y, EPSILON, alpha=alpha, seed=3).numpy()
    (up,) = [up for up in (attacks.r_fgs(linear, X, Y, 1e-9 + size, alpha=size, seed=3).numpy() > X,) if 0 < up.mean() < 1]
    start = np.clip(X + np.where(up, size, -size), 0, 1)
    same(found, projected(start + (EPSILON - size) * sign(start, Y)))
    assert not np.array_equal(found, attacks.r_fgs(linear, X, Y, EPSILON, alpha=alpha, seed=4))


def test_targets_are_never_the_true_class(linear):
    by_hand = logits(X)
    for which in TARGETS:
        found = targets_of(linear, X, tf.constant(Y, tf.int32), which).numpy()
        assert (found != Y).all()
        if which == "next":
            assert found.tolist() == ((Y + 1) % 4).tolist()
        else:
            others = np.where(np.eye(4, dtype=bool)[Y], np.inf if which == "least_likely" else -np.inf, by_hand)
            assert found.tolist() == (others.argmin(1) if which == "least_likely" else others.argmax(1)).tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("r_fgs:alpha=0.1", "alpha: expected a value of at least 0 and below ε 0.1, received 0.1"),
        ("r_fgs:alpha=-0.1", "alpha: expected a value of at least 0"),
        ("iterative:alpha=0", "alpha: expected a value above 0"),
        ("fgs_targeted:target=true", "target: expected one of runner_up, least_likely, next, received true"),
    ],
)
def test_numbers_out_of_range_are_one_line(text, message):
    with pytest.raises(UsageError, match=message) as error:
        attacks.named(text, EPSILON).check(classes=4)
    assert "\n" not in str(error.value)
