"""Each check passes a plain classifier, and fails a model that was built to fail it."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import data, runtime
from adv_networks.attacks import PGD as ProjectedGradientDescent
from adv_networks.evaluation import check_records, checks
from adv_networks.evaluation.checks import FAIL, NOT_APPLICABLE, PASS, Changed, Measured
from adv_networks.storage.records import merge, read, record_key

PGD = ProjectedGradientDescent(epsilon=0.1, steps=10, step_fraction=0.25)
MEASURED = (Measured("PGD", 40.0, True), Measured("Square", 60.0, False))

FALLS, STRONGER, CHANGE = (
    "accuracy falls with ε, to about 0", "PGD is not weaker than FGS", "more steps or restarts change little",
)  # fmt: skip
SCALE = "the logits' scale hides nothing"
BLACK_BOX, VANISH = "no transfer and no query attack beats white-box", "gradients do not vanish"
CHANGES = "every attack changes images"
LOGITS, DETERMINISTIC, ALONE = (
    "outputs are logits, not probabilities", "inference is deterministic", "an image's prediction does not depend on its batch",
)  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    images, labels = data.load("digits", "train")
    return images[:60], labels[:60]


def to_class_means(scale=1.0):
    """A linear classifier: the nearest of the classes' mean images."""
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.set_weights(weights_of_means(scale))
    return model


def weights_of_means(scale):
    images, labels = data.load("digits", "train")
    means = np.stack([(images[labels == label] / 255).reshape(-1, 64).mean(0) for label in range(10)], 1)
    return [scale * 2 * means, -scale * (means**2).sum(0)]


@pytest.fixture(scope="module")
def linear():
    """That classifier by its scale: one model, whose graphs serve all of its weights."""
    model = to_class_means()

    def of(scale=1.0):
        model.set_weights(weights_of_means(scale))
        return model

    return of


def before(layer):
    """The classifier behind a layer."""
    return keras.Sequential([keras.Input((8, 8, 1)), layer, to_class_means()])


class Training(keras.layers.Layer):
    """A layer that is in training mode whatever it is told."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(x, training=True)


class OfNumPy(keras.layers.Layer):
    """Noise that a graph holds as a constant."""

    def call(self, x):
        return x + keras.ops.convert_to_tensor(np.random.normal(size=x.shape[1:]), "float32")


class OfTensorFlow(keras.layers.Layer):
    """Noise that no seed of ours reaches."""

    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


CHANGED = (Changed("PGD", 100.0, 90.0), Changed("APGD", 88.0, 90.0))


def outcomes(model, digits, *, pgd=PGD, measured=MEASURED, changed=CHANGED, **options):
    found = checks.of_classifier(model, *digits, pgd, measured, changed=changed, **options)
    return {check.name: check for check in found}


def test_plain_classifier_passes_everything(digits, linear):
    found = outcomes(linear(), digits)
    assert set(found) == {STRONGER, FALLS, CHANGE, SCALE, BLACK_BOX, CHANGES, VANISH, LOGITS, DETERMINISTIC, ALONE}
    assert {name for name, check in found.items() if check.outcome != PASS} == set()
    assert found[BLACK_BOX].detail == "Square 60.0%, PGD 40.0%"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: before(keras.layers.Lambda(lambda x: keras.ops.round(4 * x) / 4)),
            {VANISH: "100.0% of the images", FALLS: "1: "},
        ),
        (lambda: before(keras.layers.Lambda(keras.ops.sqrt)), {VANISH: "100.0% one that is not finite"}),
        pytest.param(
            lambda: keras.Sequential([before(OfNumPy()), keras.layers.Softmax()]),
            {
                DETERMINISTIC: "but not in a graph: draw its random numbers with keras.random",
                LOGITS: "their sums from 1 to 1",
            },
            marks=pytest.mark.slow,
        ),
        (lambda: before(OfTensorFlow()), {DETERMINISTIC: "random; given the seed two calls differ by"}),
        pytest.param(
            lambda: before(Training(keras.layers.BatchNormalization())),
            {ALONE: "alone and in a batch differ by"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["rounding", "root of zero", "frozen noise, and probabilities", "noise without a seed", "batch normalisation"],
)
def test_model_built_to_fail_a_check_fails_it_and_is_left_as_it_was(make, expected, digits):
    model = make()
    weights = model.get_weights()
    assert_fails(outcomes(model, digits), expected)
    for after, own in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(after, own)


def assert_fails(found, expected):
    for name, detail in expected.items():
        assert found[name].outcome == FAIL, found[name]
        assert detail in found[name].detail


def test_huge_logits_fail(digits, linear):
    expected = {VANISH: "gradient of zero", SCALE: "on a loss that ignores the scale (dlr)"}
    assert_fails(outcomes(linear(scale=1e4), digits), expected)


def test_logits_next_to_equal_fail(digits, linear):
    """Cross-entropy then weighs all other classes alike."""
    found = outcomes(linear(scale=1e-4), digits, pgd=dataclasses.replace(PGD, epsilon=0.2))
    assert found[SCALE].outcome == FAIL
    assert outcomes(linear(), digits, pgd=dataclasses.replace(PGD, epsilon=0.2))[SCALE].outcome == PASS


def test_scale_of_two_classes_is_checked_by_the_margin(digits):
    model = keras.Sequential([to_class_means(), keras.layers.Dense(2, use_bias=False, kernel_initializer="ones")])
    images, labels = digits
    assert "(margin)" in outcomes(model, (images[:9], labels[:9] % 2))[SCALE].detail


@pytest.mark.slow
def test_random_model_passes_given_the_seed_and_is_not_asked_about_its_batch(digits):
    options, model = dict(pgd=dataclasses.replace(PGD, steps=3)), before(Training(keras.layers.Dropout(0.5)))
    found = outcomes(model, digits, **options)
    assert found[DETERMINISTIC].outcome == PASS
    assert found[DETERMINISTIC].detail.startswith("random; given the seed two calls differ by 0, without it by")
    assert found[ALONE].outcome == NOT_APPLICABLE
    assert found == outcomes(model, digits, **options)  # the same numbers again, though its own seeds have moved


@pytest.mark.slow
def test_batch_statistics_fail_as_they_are_evaluated(digits):
    model = before(keras.layers.BatchNormalization())
    assert outcomes(model, digits)[ALONE].outcome == PASS
    assert outcomes(model, digits, bn_evaluation="batch")[ALONE].outcome == FAIL


def test_pgd_that_hardly_moves_fails(digits, linear):
    found = outcomes(linear(), digits, pgd=dataclasses.replace(PGD, step_fraction=0.1, steps=4))
    assert found[STRONGER].outcome == found[CHANGE].outcome == FAIL


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ([], NOT_APPLICABLE),
        ([Changed("FGS", None, None)], NOT_APPLICABLE),
        ([Changed("FGS", 100.0, 90.0), Changed("strong", 0.9, 90.0)], PASS),
        ([Changed("FGS", 100.0, 90.0), Changed("art:SaliencyMapMethod", 0.0, 90.0)], FAIL),
        ([Changed("nearest", 0.0, 90.0, leaves_failures=True), Changed("FGS", 100.0, 90.0)], PASS),
        ([Changed("FGS", 0.0, 0.0)], PASS),
    ],
)
def test_attack_that_changes_nothing_fails(changed, expected):
    found = checks.every_attack_changes_images(changed)
    assert found.outcome == expected
    assert found.outcome != FAIL or found.detail == "art:SaliencyMapMethod 0.0%"


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ((Measured("PGD", 40.0, True), Measured("PGD(A')", 38.0, False)), FAIL),
        ((Measured("PGD", 40.0, True), Measured("FGS", 30.0, True), Measured("Square", 32.0, False)), PASS),
        ((Measured("PGD", 40.0, True),), NOT_APPLICABLE),
        ((Measured("Square", 40.0, False),), NOT_APPLICABLE),
    ],
)
def test_black_box_is_held_against_the_strongest_white_box(measured, expected):
    assert checks.black_box_is_not_stronger(measured).outcome == expected


def test_lines_replace_those_of_the_same_target_check_and_columns(tmp_path):
    found = [checks.Check("one", FAIL, "50.0%, 40.0%"), checks.Check("two", PASS, "")]
    for identity, labels in (("first", "ab"), ("second", "ab"), ("third", "abc")):
        merge(tmp_path / "checks.csv", check_records.records_of("d", found, identity, labels), check_records.CheckRecord)
    lines = read(tmp_path / "checks.csv", check_records.CheckRecord)
    assert [line.identity for line in lines] == ["second", "second", "third", "third"]
    own = check_records.Checked("standard (A)", lines[:2])
    text = check_records.as_text([own])
    assert text.splitlines() == ["checks against false security of d: 1 of 2 passed", "  fail: one (50.0%, 40.0%)"]
    assert "| d | one | fail | 50.0%, 40.0% |" in check_records.as_markdown([own])


def test_lines_of_other_evaluations_are_kept_and_named_by_their_rows(tmp_path):
    file, found = tmp_path / "checks.csv", [checks.Check("one", PASS, "")]
    usual, other = (check_records.records_of("d", found, "", "ab", evaluation) for evaluation in ("", "bn_evaluation = batch"))
    # As from before there was an evaluation: with the same key, and without the column.
    line = usual[0]
    assert line.key == record_key(target="d", check="one", labels=("a", "b"))
    file.write_text(f"key,identity,target,check,outcome,detail\n{line.key},first,d,one,fail,\n")
    assert read(file, check_records.CheckRecord) == [dataclasses.replace(line, identity="first", outcome=FAIL)]
    merge(file, [*usual, *other], check_records.CheckRecord)
    assert read(file, check_records.CheckRecord) == [*usual, *other] and len({usual[0].key, other[0].key}) == 2
    checked = [check_records.Checked("paper", usual), check_records.Checked("paper, but bn_evaluation = batch", other)]
    assert "| d (paper, but bn_evaluation = batch) | one | pass |" in check_records.as_markdown(checked)
    assert "checks against false security of d (paper): 1 of 1 passed" in check_records.as_text(checked)


BOUNDED = {
    "sigmoids": keras.activations.sigmoid,
    "softmax": keras.activations.softmax,
    "tanh": lambda x: keras.ops.tanh(x),
    "softmax in bfloat16": lambda x: keras.ops.cast(keras.ops.softmax(keras.ops.cast(x, "bfloat16")), "float32"),
    "softmax in float16": lambda x: keras.ops.cast(keras.ops.softmax(keras.ops.cast(x, "float16")), "float32"),
    "sigmoids that nobody names": lambda x: keras.ops.sigmoid(x),
    "ten times sigmoids": lambda x: 10 * keras.ops.sigmoid(20 * (x - 8)),
    "sigmoids less a half in float16": lambda x: keras.ops.cast(
        keras.ops.sigmoid(keras.ops.cast(20 * (x - 8), "float16")) - 0.5, "float32"
    ),
    "five times tanh in bfloat16": lambda x: keras.ops.cast(
        5 * keras.ops.tanh(keras.ops.cast(20 * (x - 8), "bfloat16")), "float32"
    ),
    "clipping": lambda x: keras.ops.clip(20 * (x - 8), -30.0, 30.0),
    "an arc tangent": lambda x: keras.ops.arctan(1000 * (x - 8)),
}
# What is bounded by little enough that only its name tells.
NAMED = {
    "softmax": lambda x: 100 * keras.ops.softmax(x) - 50,
    "sigmoid": lambda x: keras.ops.cast(keras.ops.sigmoid(keras.ops.cast(x / 10, "bfloat16")), "float32") * 30,
    "tanh": lambda x: keras.layers.Rescaling(5.0, 1.0)(keras.layers.Activation("tanh")(x)),
    "clip": lambda x: keras.layers.Flatten()(keras.ops.clip(x, -10.0, 10.0)),
    "relu6 or hard_sigmoid": lambda x: -keras.layers.Activation("hard_sigmoid")(x),
}
# What is bounded, by functions without a name, to far more than any output: it stays where the function is linear.
LINEAR = {
    "tanh": lambda x: tf.nn.tanh(x),
    "relu6 or hard_sigmoid": lambda x: keras.ops.hard_sigmoid(x),
    "clip": lambda x: tf.clip_by_value(x, -9.0, 9.0),
    "softsign": lambda x: 5 * keras.ops.softsign(x) - 0.1,
    "arctan": tf.function(lambda x: keras.ops.reshape(keras.ops.arctan(x), (-1, 10))),
    "sigmoid": lambda x: keras.ops.mean(keras.ops.stack([keras.ops.sigmoid(x), 0.5 * keras.ops.sigmoid(-x)]), 0) - 0.4,
}


@pytest.mark.parametrize("name", NAMED)
def test_bounded_outputs_are_named_however_they_are_scaled(name, digits):
    image = keras.Input((8, 8, 1))
    inner = keras.Model(image, NAMED[name](to_class_means()(image)))
    for model in (inner, keras.Sequential([keras.Input((8, 8, 1)), inner, keras.layers.Activation("linear")])):
        found = checks.outputs_are_logits(model, np.asarray(model(digits[0] / np.float32(255))))
        assert found.outcome == FAIL and f"ends in {name}: let the classifier return the values before it" in found.detail


class Bounded(keras.Model):
    """A subclassed model with a function of its own at the end; the layer made last is no hint at it."""

    def __init__(self, function):
        super().__init__()
        self.last, self.first, self.function = keras.layers.Dense(10), keras.layers.Flatten(), function

    def call(self, x):
        return self.function(self.last(self.first(x)))


@pytest.mark.parametrize("name", LINEAR)
def test_bounds_that_no_output_comes_near_are_seen_in_the_graph(name, digits):
    means, image = to_class_means(0.001), keras.Input((8, 8, 1))
    x = digits[0] / np.float32(255)
    own = Bounded(LINEAR[name])
    own(x)
    own.set_weights(means.get_weights())
    of_operations = LINEAR[name](means(image)) if name in ("relu6 or hard_sigmoid", "softsign", "sigmoid") else None
    lambdas = keras.layers.Lambda(LINEAR[name])(means(image))
    for model in (own, *(keras.Model(image, made) for made in (lambdas, of_operations) if made is not None)):
        found = checks.outputs_are_logits(model, np.asarray(model(x)))
        assert found.outcome == FAIL and f"ends in {name}: " in found.detail


UNBOUNDED = {
    "a linear layer": lambda x: x,
    "a lower bound": lambda x: tf.nn.relu(x + 1000),
    "a product with a sigmoid": keras.ops.silu,
    "a difference from tanh": keras.ops.tanh_shrink,
    "a quotient": lambda x: keras.ops.tanh(x) / x,
    "a linear layer after tanh": lambda x: keras.ops.tanh(x) @ np.eye(10, dtype=np.float32),
    "logarithms of probabilities": lambda x: keras.ops.log(keras.ops.softmax(x)),
    "tanh of no image": lambda x: x + keras.ops.tanh(keras.ops.arange(10.0)),
    "the size of what has an upper bound": lambda x: keras.ops.abs(keras.ops.minimum(x, 1.0)),
    "the square of what has an upper bound": lambda x: tf.square(tf.minimum(x, 1.0)),
    "two upper bounds": lambda x: -keras.ops.maximum(-keras.ops.minimum(x, 1.0), -1.0),
    "a bound of one summand": lambda x: x + keras.ops.clip(x, -1, 1),
}


def test_only_bounds_of_the_outputs_are_seen():
    image = keras.Input((8, 8, 1))
    for name, function in UNBOUNDED.items():
        model = keras.Model(image, keras.layers.Lambda(function)(to_class_means()(image)))
        assert runtime.bounding_operation(model) is None, name
    turned = keras.layers.Lambda(lambda x: -keras.ops.maximum(-keras.ops.maximum(x, -9.0), -9.0))
    assert runtime.bounding_operation(keras.Model(image, turned(to_class_means()(image)))) == "clip"


def test_bounds_that_the_graph_hides_fail_another_check_where_they_matter(digits):
    model = keras.Sequential([to_class_means(), keras.layers.Lambda(lambda x: 10 * x / (1 + keras.ops.abs(x)))])
    found = outcomes(model, digits)
    assert found[LOGITS].outcome == PASS
    means = model.layers[0]
    means.set_weights([weight * 1e4 for weight in means.get_weights()])
    found = outcomes(model, digits)
    assert {name for name, check in found.items() if check.outcome == FAIL} & {VANISH, SCALE, LOGITS}


LOGITS_OF_SEVERAL_KINDS = {
    "one is far above the others": lambda x: x + 1000.0 * keras.ops.cast(keras.ops.arange(10) == 3, "float32"),
    "one is far below": lambda x: x - 1000.0 * keras.ops.cast(keras.ops.arange(10) == 3, "float32"),
    "all are large": lambda x: 1e4 * x,
    "all are small": lambda x: 1e-3 * x - 0.01,
    "moved": lambda x: x + 100,
    "in float16": lambda x: keras.ops.cast(keras.ops.cast(x, "float16"), "float32"),
    "log-probabilities": keras.ops.log_softmax,
}


@pytest.mark.parametrize("function", LOGITS_OF_SEVERAL_KINDS.values(), ids=LOGITS_OF_SEVERAL_KINDS)
def test_logits_of_every_size_are_logits(function, digits):
    model = keras.Sequential([keras.Input((8, 8, 1)), to_class_means(), keras.layers.Lambda(function)])
    assert checks.outputs_are_logits(model, np.asarray(model(digits[0] / np.float32(255)))).outcome == PASS


@pytest.mark.parametrize("function", BOUNDED.values(), ids=BOUNDED)
def test_bounded_outputs_are_no_logits(function, digits):
    inner = to_class_means()
    model = keras.Sequential([keras.Input((8, 8, 1)), inner, keras.layers.Activation(function)])
    found = checks.outputs_are_logits(model, np.asarray(model(digits[0] / np.float32(255))))
    assert found.outcome == FAIL and "let " in found.detail
