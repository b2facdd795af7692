"""Attacks without a ball: against closed forms on a linear classifier, and against Foolbox and SciPy on digits."""

import keras
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import sklearn.neural_network
import tensorflow as tf

from adv_networks import attacks, data, evaluation
from adv_networks.attacks.distances import distances
from adv_networks.errors import UsageError
from tests.conftest import precision

RNG = np.random.default_rng(1)
WEIGHTS, BIAS = RNG.normal(size=(16, 5)), RNG.normal(size=5)
COUNT = 50


@pytest.fixture(scope="module")
def linear():
    """A linear classifier of grey images near a half, whose nearest boundaries are within [0,1], images, and their labels."""
    with precision("float64"):
        dense = keras.layers.Dense(5)
        model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), dense])
        dense.set_weights([WEIGHTS, BIAS])
    x = RNG.uniform(0.4, 0.6, (12, 4, 4, 1))
    logits = x.reshape(12, -1) @ WEIGHTS + BIAS
    return model, x, logits, logits.argmax(1).astype(np.int32)


def shortest(logits, labels, dual):
    """The distance of each image to the nearest boundary: min over k of (Z_y − Z_k) / ‖w_k − w_y‖ in the dual norm."""
    found = []
    for own, label in zip(logits, labels, strict=True):
        others = [k for k in range(5) if k != label]
        found.append(min((own[label] - own[k]) / np.linalg.norm(WEIGHTS[:, k] - WEIGHTS[:, label], dual) for k in others))
    return np.array(found)


@pytest.mark.parametrize(("norm", "dual"), [("l2", 2), ("linf", 1)])
def test_deepfool_is_its_closed_form_on_a_linear_classifier(norm, dual, linear):
    model, x, logits, labels = linear
    found = attacks.deepfool(model, x, labels, norm=norm).numpy()
    expected = shortest(logits, labels, dual)
    # A step goes 1e-4 of the logits beyond the boundary, and 2% farther.
    assert (distances(x, found, norm) >= 1.0199 * expected).all()
    np.testing.assert_allclose(distances(x, found, norm), 1.02 * expected, rtol=0, atol=1e-4)
    assert (attacks.predict(model, found).numpy().argmax(1) != labels).all()


@pytest.mark.parametrize(
    ("name", "norm", "dual", "slack"),
    [
        ("cw_l2:searches=8:steps=300:c=0.1:rate=0.02", "l2", 2, 1.01),
        ("cw_linf:steps=200:c=0.01", "linf", 1, 1.2),
        ("cw_linf:steps=200:c=0.01:factor=10", "linf", 1, 1.2),
    ],
)
def test_carlini_and_wagner_come_near_the_closed_form(name, norm, dual, slack, linear):
    model, x, logits, labels = linear
    found = attacks.named(name, 0.1).craft(model, x, labels).numpy()
    ratio = distances(x, found, norm) / shortest(logits, labels, dual)
    assert (attacks.predict(model, found).numpy().argmax(1) != labels).all()
    assert ratio.min() > 1 - 1e-6 and np.median(ratio) < slack, ratio


@pytest.mark.parametrize("factor", ["", ":factor=10"])
def test_few_pixels_are_the_fewest_of_all_subsets(factor, linear):
    """One pixel may take any value: which images that fools is known by trying all; two are tried where one does not."""
    model, x, logits, labels = linear
    found = attacks.named(f"cw_l0:steps=60:rate=0.1:c=10{factor}", 0.1).craft(model, x, labels).numpy()
    assert (attacks.predict(model, found).numpy().argmax(1) != labels).all()
    change = np.stack([WEIGHTS * (bound - x.reshape(12, 16, 1)) for bound in (0, 1)], 1)  # [images, bounds, pixels, classes]
    one_is_enough = np.array([((logits[i] + change[i]).argmax(-1) != labels[i]).any() for i in range(12)])
    count = distances(x, found, "l0")
    assert (count[~one_is_enough] >= 2).all() and (count[one_is_enough] == 1).mean() >= 0.5
    assert count.max() <= 4


class Counting(keras.layers.Layer):
    """Counts the images that pass, also in compiled graphs."""

    def __init__(self, **options):
        super().__init__(**options)
        self.passed = [0]

    def call(self, x):
        def count(size):
            self.passed[0] += int(size)
            return np.int32(0)

        tf.numpy_function(count, [tf.shape(x)[0]], tf.int32)
        return x


@pytest.mark.parametrize(
    "attack",
    [
        attacks.CarliniWagnerL2(searches=4, steps=50, rate=0.05, c=0.01),
        attacks.CarliniWagnerLinf(steps=50, rate=0.05, c=0.01),
        attacks.CarliniWagnerL0(steps=50, rate=0.1, c=0.1),
    ],
)
def test_rounds_of_an_image_do_not_depend_on_the_other_images(attack, linear):
    """Images start their rounds at different times; alone or together, each takes the same steps."""
    model, x, _, labels = linear
    together = attack.crafted(model, x, labels)
    for rows in (slice(0, 1), slice(3, 8)):
        apart = attack.crafted(model, x[rows], labels[rows])
        assert (apart.queries == together.queries[rows]).all()
        np.testing.assert_allclose(apart.images, together.images[rows], rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_search_ends_on_a_classifier_that_cannot_be_fooled(dtype):
    """However small c is at first, it grows: 1e-50 is 0 in single precision, and 2e6 infinite in half."""
    with precision(dtype):
        dense = keras.layers.Dense(2)
        model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), dense])
        dense.set_weights([np.zeros((4, 2)), np.array([9.0, 0.0])])
    x, y = np.full((2, 2, 2, 1), 0.5), np.zeros(2, int)
    for attack in (attacks.CarliniWagnerLinf(c=1e-50, steps=1), attacks.CarliniWagnerL0(c=1e-45, factor=1.9, steps=1)):
        np.testing.assert_array_equal(attack.crafted(model, x, y).images, x)


def test_classifier_in_half_precision_is_fooled(linear):
    """In float16 only: with oneDNN limited to AVX2, TensorFlow aborts on a matrix product of bfloat16."""
    with precision("float16"):
        dense = keras.layers.Dense(5)
        model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), dense])
        dense.set_weights([WEIGHTS, BIAS])
    _, x, _, _ = linear
    labels = attacks.predict(model, x).numpy().argmax(1)
    for attack in (
        attacks.CarliniWagnerL2(searches=4, steps=60, rate=0.05, c=1.0),
        attacks.CarliniWagnerLinf(steps=60, rate=0.05, c=1.0),
        attacks.CarliniWagnerL0(steps=60, rate=0.1, c=10.0),
        attacks.EvadingCarliniWagner(epsilon=0.3),
    ):
        images = attack.craft(model, x, labels)
        assert images.dtype == "float16"
        # Rounding the images to half precision may undo a success that is just beyond the boundary.
        assert (attacks.predict(model, images).numpy().argmax(1) != labels).mean() >= 0.5


def test_few_passes_are_of_images_that_are_done(linear):
    """An image's next round starts while others are in theirs: most of what goes through the network counts as a query."""
    model, x, _, labels = linear
    counting = Counting()
    counted = keras.Sequential([keras.Input((4, 4, 1)), counting, model])
    queries = attacks.CarliniWagnerL0(epsilon=16, steps=60, rate=0.02, c=0.1).crafted(counted, x, labels).queries
    assert queries.sum() <= counting.passed[0] < 1.1 * queries.sum()


def test_confidence_is_the_gap_that_is_asked_for(linear):
    model, x, _, labels = linear
    for targeted, wanted in ((False, labels), (True, (labels + 1) % 5)):
        found = attacks.cw_l2(model, x, wanted, targeted=targeted, kappa=0.5, searches=4, steps=200, c=1, rate=0.05)
        logits = attacks.predict(model, found).numpy()
        own = logits[np.arange(12), wanted]
        others = np.where(np.eye(5, dtype=bool)[wanted], -np.inf, logits).max(1)
        assert ((own - others if targeted else others - own) >= 0.5 - 1e-9).all()


def test_black_and_white_become_pictures_of_every_class(linear):
    model, *_ = linear
    for value in (0.0, 1.0):
        start = np.full((5, 4, 4, 1), value)
        found = attacks.cw_l2(model, start, np.arange(5), targeted=True, searches=6, steps=300, c=1, rate=0.1)
        assert (attacks.predict(model, found).numpy().argmax(1) == np.arange(5)).mean() >= 0.8


@pytest.mark.parametrize(("start", "value"), [("black", 0.0), ("white", 1.0)])
def test_start_of_the_grammar_is_that_picture_and_distances_count_from_it(start, value, linear):
    (model, x, *_), labels = linear, np.arange(12) % 5
    empty, targets = np.full_like(x, value), (labels + 1) % 5
    drawn = attacks.cw_l2(model, empty, targets, targeted=True, searches=3, steps=100, c=1, rate=0.1).numpy()
    attack = attacks.named(f"cw_l2:start={start}:target=next:searches=3:steps=100:c=1:rate=0.1", 0.1)
    found = attack.crafted(model, x, labels)
    moved = found.changed
    assert moved.any() and not moved.all()  # Empty images already have one of the classes.
    np.testing.assert_array_equal(found.images, np.where(moved[:, None, None, None], drawn, x))
    assert (attacks.predict(model, found.images).numpy().argmax(1) == targets)[moved].all()
    (measured,) = evaluation.measure([model], x, labels, attack, model)
    np.testing.assert_allclose(measured.distances["l2"][moved], distances(empty, drawn, "l2")[moved])
    held = attacks.CarliniWagnerL2(start=start, target="next", searches=3, steps=100, c=1.0, rate=0.1, epsilon=1e-3)
    np.testing.assert_array_equal(held.craft(model, x, labels), x)
    assert "start" in attack.settings() and "start" not in attacks.CarliniWagnerL2().settings()


def test_lbfgs_of_a_batch_is_that_of_each_image_alone(linear):
    model, x, _, labels = linear
    attack = attacks.LBFGS(searches=4, steps=20)
    together = attack.crafted(model, x, labels)
    alone = [attack.crafted(model, x[row : row + 1], labels[row : row + 1]) for row in range(len(x))]
    np.testing.assert_allclose(together.images, np.concatenate([one.images for one in alone]), rtol=0, atol=1e-9)
    assert together.queries.tolist() == [int(one.queries[0]) for one in alone]
    assert len(set(together.queries.tolist())) > 1  # Some searches end before others.


def test_lbfgs_is_as_near_as_scipys_constrained_minimum(linear):
    model, x, _, labels = linear
    targets = ((labels + 1) % 5)[:4]
    found = attacks.lbfgs(model, x[:4], targets, searches=10, steps=60).numpy()
    ratios = []
    for image, target, own in zip(x, targets, found, strict=False):
        normals = (WEIGHTS[:, [k for k in range(5) if k != target]].T - WEIGHTS[:, target]).T
        offsets = np.array([BIAS[k] - BIAS[target] for k in range(5) if k != target])
        least = scipy.optimize.minimize(
            lambda r: r @ r,
            np.zeros(16),
            method="SLSQP",
            bounds=[(-v, 1 - v) for v in image.ravel()],
            constraints={"type": "ineq", "fun": lambda r, i=image, n=normals, o=offsets: -((i.ravel() + r) @ n + o)},
        )
        ratios.append(np.linalg.norm(own - image) / np.sqrt(least.fun))
    assert min(ratios) > 1 - 1e-6 and np.median(ratios) <= 1.05 and max(ratios) <= 1.1, ratios


def trained_perceptron():
    """A perceptron of 16 tanh units in double precision, with weights that scikit-learn has trained on the digits."""
    images, labels = data.load("digits", "train")
    fitted = sklearn.neural_network.MLPClassifier((16,), activation="tanh", max_iter=60, random_state=0)
    fitted.fit(images.reshape(-1, 64) / 255, labels)
    with precision("float64"):
        layers = [keras.layers.Flatten(), keras.layers.Dense(16, "tanh"), keras.layers.Dense(10)]
        model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    (first, second), (one, two) = fitted.coefs_, fitted.intercepts_
    model.set_weights([first, one, second, two])
    return model


def nearest_by_scipy(weights, image, target, searches, steps):
    """The distance of the nearest image with the target class: L-BFGS-B on c‖r‖² + ℓ(x + r, t), log c by bisection."""
    kernel, bias, second, second_bias = weights

    def logits(flat):
        return np.tanh(flat @ kernel + bias) @ second + second_bias

    def loss(flat, c):
        hidden = np.tanh(flat @ kernel + bias)
        errors = scipy.special.softmax(logits(flat)) - np.eye(10)[target]
        value = c * ((flat - image) ** 2).sum() - scipy.special.log_softmax(logits(flat))[target]
        return value, 2 * c * (flat - image) + kernel @ ((1 - hidden**2) * (second @ errors))

    low, high, nearest = 1e-3, 10.0, np.inf
    for _ in range(searches):
        c = np.sqrt(low * high)
        how = dict(jac=True, method="L-BFGS-B", bounds=[(0, 1)] * 64, options=dict(maxiter=steps))
        found = scipy.optimize.minimize(loss, image, (c,), **how).x
        if logits(found).argmax() == target:
            nearest, low = min(nearest, np.linalg.norm(found - image)), c
        else:
            high = c
    return nearest


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_lbfgs_reaches_what_scipy_does_and_no_farther_on_digits():
    model, (images, labels) = trained_perceptron(), data.load("digits", "test")
    logits = attacks.predict(model, images / 255).numpy()
    right = np.flatnonzero(logits.argmax(1) == labels)[:COUNT]
    x, logits = images[right] / 255, logits[right]
    logits[np.arange(COUNT), labels[right]] = -np.inf
    targets = logits.argmax(1)
    found = attacks.lbfgs(model, x, targets, searches=9, steps=60).numpy()
    reached, size = attacks.predict(model, found).numpy().argmax(1) == targets, distances(x, found, "l2")
    nearest = [nearest_by_scipy(model.get_weights(), *own, 9, 60) for own in zip(x.reshape(-1, 64), targets, strict=True)]
    assert reached.sum() >= np.isfinite(nearest).sum() > 0
    assert np.median(size[reached]) <= 1.05 * np.median(np.array(nearest)[np.isfinite(nearest)])


@pytest.fixture(scope="module")
def digits(partly_robust):
    """Digits that the classifier labels correctly."""
    model, x, y = partly_robust.model, partly_robust.x, partly_robust.y
    right = np.flatnonzero(attacks.predict(model, x[:100]).numpy().argmax(1) == y[:100])[:COUNT]
    return model, x[right], y[right]


def success_and_norm(model, x, y, found, norm):
    fooled = attacks.predict(model, found).numpy().argmax(1) != y
    return fooled.mean(), np.median(distances(x, found, norm)[fooled])


CASES = {
    "deepfool:candidates=4": ("L2DeepFoolAttack", "l2", dict(candidates=4)),
    "deepfool:candidates=4:norm=linf": ("LinfDeepFoolAttack", "linf", dict(candidates=4)),
    "cw_l2:searches=3:steps=40:c=0.1:rate=0.05": (
        "L2CarliniWagnerAttack", "l2", dict(binary_search_steps=3, steps=40, initial_const=0.1, stepsize=0.05),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if "norm=linf" in name else name for name in CASES]
)
def test_success_is_not_lower_and_the_median_norm_no_larger_than_foolboxs(name, digits):
    foolbox = pytest.importorskip("foolbox")
    (kind, norm, options), (model, x, y) = CASES[name], digits
    compiled = tf.function(lambda images: model(images, training=False), autograph=False)
    wrapped = foolbox.TensorFlowModel(compiled, bounds=(0, 1), device="/CPU:0")
    made = getattr(foolbox.attacks, kind)(**options)
    theirs = made(wrapped, tf.constant(x), tf.constant(y, tf.int64), epsilons=None)[1].numpy()
    # Foolbox's C&W returns a black image for a failure, which the classifier may well label otherwise.
    theirs = np.where(theirs.any((1, 2, 3), keepdims=True), theirs, x)
    ours = attacks.named(name, 0.1).craft(model, x, y).numpy()
    (success, size), (their_success, their_size) = (success_and_norm(model, x, y, found, norm) for found in (ours, theirs))
    assert success >= their_success and size <= 1.05 * their_size, (success, their_success, size, their_size)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_no_image_of_deepfool_is_found_by_rounding_alone(norm, digits):
    """Its points end next to a boundary, where a batch of another size would label some of them as before."""
    model, x, y = digits
    logits = attacks.predict(model, attacks.deepfool(model, x, y, norm=norm, candidates=4)).numpy()
    own = np.eye(logits.shape[1], dtype=bool)[y]
    gap = np.where(own, -np.inf, logits).max(1) - logits[own]
    assert (gap > 5e-6 * np.abs(logits).max(1)).all(), np.sort(gap)[:3]


def test_ball_is_a_threshold_and_queries_are_counted(digits):
    model, x, y = digits
    name = "deepfool:candidates=4"
    free, held = (attacks.named(f"{name}{ball}", 0.1).crafted(model, x, y) for ball in ("", ":norm=l2:epsilon=0.5"))
    size = distances(x, free.images.numpy(), "l2")
    within = size <= 0.5
    assert 0 < within.mean() < 1
    np.testing.assert_array_equal(held.images.numpy(), np.where(within[:, None, None, None], free.images, x))
    assert held.changed.all() and (held.queries >= 1 + 3 + 1).all()
    found = evaluation.measure([model], x, y, attacks.named(name, 0.1), model)[0].measures(np.ones(len(x), bool))
    assert found["success_percent"] >= 98 and found["l2_median"] == pytest.approx(np.median(size), abs=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, y: attacks.cw_l0(m, x, y, c=0), "c: expected a finite number above 0, received 0"),
        (lambda m, x, y: attacks.cw_linf(m, x, y, c=-1.0), "c: expected a finite number above 0, received -1.0"),
        (lambda m, x, y: attacks.cw_l2(m, x, y, rate=float("nan")), "rate: expected one number of at least 0, received nan"),
        (lambda m, x, y: attacks.cw_l2(m, x, y, kappa=-1), "kappa: expected a value of at least 0, received -1"),
        (lambda m, x, y: attacks.deepfool(m, x, y, norm="l1"), "norm: expected l2 or linf for attack deepfool, received l1"),
        (lambda m, x, y: attacks.deepfool(m, x, y, steps=0), "steps: expected at least 1, received 0"),
        (lambda m, x, y: attacks.cw_l0(m, x, y, factor=1.0), "factor: expected a finite number above 1, received 1.0"),
        (lambda m, x, y: attacks.named("cw_linf:factor=1", 0.1), "factor: expected a value above 1"),
        (lambda m, x, y: attacks.named("cw_l0:norm=l2", 0.1).check(classes=5), "norm: expected l0 for attack cw_l0"),
        (lambda m, x, y: attacks.fgs(m, x, y, 3, norm="l0"), "norm: expected one of linf, l2, l1, received l0"),
        (lambda m, x, y: attacks.named("cw_l2:kappa=-1", 0.1), "kappa: expected a value of at least 0"),
        (lambda m, x, y: attacks.named("cw_l2:start=grey", 0.1), "start: expected one of image, black, white, received grey"),
        (lambda m, x, y: attacks.named("cw_l2:start=black", 0.1), "target: expected one of .* with start black, received none"),
    ],
)
def test_wrong_arguments_are_one_line(call, message, linear):
    with pytest.raises(UsageError, match=message) as error:
        call(linear[0], linear[1], linear[3])
    assert "\n" not in str(error.value)
