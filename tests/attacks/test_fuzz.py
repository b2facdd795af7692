"""Whatever the public functions are given, they return images within ε and [0,1], or say in one line what they expected."""

import time
from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import attacks, evaluation
from adv_networks.errors import UsageError
from adv_networks.experiments import NORMS
from tests.conftest import randomised

CASES = 2_000
SHAPE = (4, 4, 1)


@pytest.fixture(scope="module")
def models():
    def classifier(classes):
        layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(6, "relu"), keras.layers.Dense(classes)]
        model = randomised(keras.Sequential(layers))
        # Some classifiers' logits are of another type than their weights.
        dtype = {2: "float16", 10: "float64"}.get(classes, "float32")
        return model if dtype == "float32" else keras.Model(model.inputs, keras.ops.cast(model.outputs[0], dtype))

    return {classes: classifier(classes) for classes in (1, 2, 10)} | {"own": OfOnesOwn(3), "own, one logit": OfOnesOwn(1)}


class OfOnesOwn(keras.Model):
    """A model of the user's own class, which says neither what it takes nor what it returns."""

    def __init__(self, classes):
        super().__init__()
        self.flatten, self.logits = keras.layers.Flatten(), keras.layers.Dense(classes)
        self(np.zeros((1, *SHAPE)))

    def call(self, x):
        return self.logits(self.flatten(x))


def some_images(rng, count):
    shape = [SHAPE] * 8 + [(4, 4), (4, 4, 3), (5, 4, 1), (), (16,)]
    shape = (count, *shape[rng.integers(len(shape))])
    unit = rng.random(shape)
    kinds = [
        lambda: (255 * unit).astype(np.uint8),
        lambda: unit.astype(np.float32),
        lambda: unit,
        lambda: unit.astype(np.float16),
        lambda: tf.constant(unit, tf.float32),
        lambda: np.round(unit).astype(np.float32) * np.float32(1.0000001),
        lambda: (2 * unit - 1).astype(np.float32),
        lambda: (255 * unit).astype(np.float32),
        lambda: (255 * unit).astype(int),
        lambda: np.where(unit < 0.1, np.nan, unit),
        lambda: unit > 0.5,
        lambda: unit.astype(complex),
        lambda: unit.astype(str),
        lambda: unit.astype(object),
        lambda: unit.tolist(),
        lambda: unit.astype(np.longdouble),
        lambda: np.ma.masked_less(unit, 0.1),
        lambda: [[0.5], [0.5, 0.5]],
        lambda: tf.sparse.from_dense(unit),
        lambda: keras.KerasTensor((None, *SHAPE)),
    ]
    return kinds[rng.integers(len(kinds)) if rng.random() < 0.5 else rng.integers(5)]()


def some_labels(rng, count, classes):
    good = rng.integers(0, classes, count)
    kinds = [
        lambda: good.astype(np.int32),
        lambda: good.astype(np.uint8),
        lambda: tf.constant(good, tf.int64),
        lambda: good + classes,
        lambda: good - 1,
        lambda: good / 1.0,
        lambda: np.eye(classes)[good],
        lambda: good[:, None],
        lambda: good[: count // 2],
        lambda: np.array(7),
        lambda: good.astype(str),
        lambda: [[0], [0, 0]],
        lambda: np.ma.masked_equal(good, 0),
        lambda: good.astype(object),
    ]
    return kinds[rng.integers(len(kinds)) if rng.random() < 0.4 else rng.integers(3)]()


def some_epsilon(rng):
    some = [
        0.1,
        0.0,
        1,
        np.float32(0.3),
        Fraction(1, 9),
        np.array(0.2),
        2.5,
        -0.1,
        np.nan,
        np.inf,
        np.full(3, 0.1),
        "0.1",
        None,
    ]
    some += [10**400, np.array("0.1"), np.array(None), True]
    return some[rng.integers(len(some)) if rng.random() < 0.3 else rng.integers(6)]


def call(rng, model, x, y, epsilon):
    """The result of a public function, and the norm of the ball that it is to be in; None where it returns no images."""
    norm = ["linf", "l2", "l1", "l3", 2, ["l2"]][rng.integers(6 if rng.random() < 0.1 else 3)]
    seed = [0, 7, (1, 2), 1.5, "7", None, (1, 2, 3), 2**70][rng.integers(8 if rng.random() < 0.1 else 3)]
    steps = int(rng.integers(-1, 3))
    size = [0.05, 0.0, np.nan, np.inf, -0.1, np.full(3, 0.05)][rng.integers(6 if rng.random() < 0.2 else 1)]
    functions = [
        lambda: (attacks.fgs(model, x, y, epsilon, norm=norm), norm),
        lambda: (attacks.fgs(model, x, None, epsilon, norm=norm), norm),
        lambda: (attacks.least_likely(model, x, epsilon, norm=norm), norm),
        lambda: (attacks.pgd(model, x, y, epsilon, norm=norm, steps=steps, restarts=int(rng.integers(0, 3)), seed=seed), norm),
        lambda: (attacks.restarted_pgd(model, x, y, epsilon, step_size=size, steps=steps, restarts=2), "linf"),
        lambda: (attacks.iterative(model, x, y, epsilon, alpha=size, steps=steps, norm=norm), norm),
        lambda: (attacks.r_fgs(model, x, y, epsilon, alpha=size), "linf"),
        lambda: (attacks.fgs_targeted(model, x, y, epsilon, norm=norm), norm),
        lambda: (attacks.evading_pgd(model, x, y, epsilon, step_size=size, steps=steps, norm=norm), norm),
        lambda: (attacks.evading_cw(model, x, y, epsilon, rate=size, steps=steps), "linf"),
        lambda: (attacks.apgd(model, x, y, epsilon, steps=steps, loss=["cross_entropy", "dlr"][rng.integers(2)]), "linf"),
        lambda: (attacks.fab(model, x, y, epsilon, targets=2, steps=steps), "linf"),
        lambda: (attacks.square(model, x, y, epsilon, queries=steps), "linf"),
        lambda: (attacks.predict(model, x), None),
        lambda: (evaluation.accuracy(model, x, y), None),
        lambda: (evaluation.grid({"d": model}, {"d": model}, [attacks.FGS(epsilon=epsilon)], x, y), None),
        lambda: (evaluation.evaluate(model, x, y, [f"pgd:steps={steps}"], epsilon=epsilon, norm=norm)["worst"], None),
    ]
    return functions[rng.integers(len(functions))]()


@pytest.mark.slow
def test_whatever_is_given_comes_to_images_in_the_ball_or_to_one_line(models):
    started, refused = time.process_time(), 0
    for case in range(CASES):
        rng = np.random.default_rng(case)
        count = int([0, 1, 3, 300][rng.choice(4, p=[0.05, 0.3, 0.6, 0.05])])
        classes = int(rng.choice([1, 2, 3, 10], p=[0.05, 0.3, 0.3, 0.35]))
        x, y, epsilon = some_images(rng, count), some_labels(rng, count, classes), some_epsilon(rng)
        try:
            model = models["own" if classes == 3 else classes]
            model = models["own, one logit" if classes == 1 and rng.random() < 0.5 else classes] if classes == 1 else model
            found, norm = call(rng, model, x, y, epsilon)
        except UsageError as error:
            assert "\n" not in str(error) and "expected" in str(error), (case, error)
            refused += 1
            continue
        if norm is None:
            continue
        start = np.asarray(x, np.float64) / (255 if np.asarray(x).dtype == np.uint8 else 1)
        found = np.asarray(found, np.float64)
        assert found.shape == start.shape and (not found.size or (found.min() >= 0 and found.max() <= 1)), case
        size = np.linalg.norm((found - start).reshape(len(start), -1), NORMS[norm], axis=1) if count else 0
        assert np.all(size <= epsilon + 1e-5 * start[:1].size), (case, size, epsilon)
    assert 0.2 * CASES < refused < 0.9 * CASES
    assert time.process_time() - started < 60
