"""Shapes, parameter counts and costs of the networks, against numbers worked out by hand."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import networks, runtime
from adv_networks.errors import UsageError
from adv_networks.experiments import DATASETS, GENERATORS, experiment
from adv_networks.networks import autoencoders, costs, gans
from adv_networks.papers import gan_poster
from tests.conftest import randomised

SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3)]


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3)])
def test_classifiers_return_logits_and_generators_bounded_perturbations(shape, shallow_here):
    x = np.random.default_rng(0).random((2, *shape), np.float32)
    classifiers = [networks.d1(shape, 10), networks.d2(shape, 100), networks.mlp(shape, 10, 5), networks.poster_d(shape, 10, 2)]
    for model in (*classifiers, networks.report_cnn(shape, 10, 2)):
        assert model(x, training=False).shape == (2, model.output_shape[1])
    noise = np.random.default_rng(1).normal(size=(2, shape[0] * shape[1] // 16 * 4 * 4)).astype(np.float32)
    label = np.eye(10, dtype=np.float32)[:2]
    generators = {
        networks.g1(shape, 4): x,
        networks.g2(shape, 4): noise,
        networks.g3(shape, 10, 4): label,
        networks.released_mnist_generator(shape, 4): x,
        networks.poster_g(shape, 2): x,
    }
    for model, inputs in generators.items():
        perturbation = keras.ops.convert_to_numpy(model(inputs, training=True))
        assert perturbation.shape == x.shape
        assert 0 < np.abs(perturbation).max() <= 1


def generators(shape, norm):
    """Each generator of width 4 with random weights, and its inputs for three images; in l1, where they end alike, one."""
    random = np.random.default_rng(0)
    image, label = random.random((3, *shape), np.float32), np.eye(10, dtype=np.float32)[:3]
    noise = random.normal(size=(3, shape[0] * shape[1])).astype(np.float32)
    if norm == "l1":
        return [(randomised(networks.released_mnist_generator(shape, 4, norm=norm)), image)]
    return [
        (randomised(networks.g1(shape, 4, norm=norm)), image),
        (randomised(networks.g2(shape, 4, norm=norm)), noise),
        (randomised(networks.g3(shape, 10, 4, norm=norm)), label),
        (randomised(networks.released_mnist_generator(shape, 4, norm=norm)), image),
    ]


@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("l1", 1)])
def test_perturbations_are_of_norm_one(norm, order, shallow_here):
    for model, inputs in generators((12, 8, 3), norm):
        for training in (False, True):
            perturbation = keras.ops.convert_to_numpy(model(inputs, training=training)).reshape(3, -1)
            np.testing.assert_allclose(np.linalg.norm(perturbation, order, axis=1), 1, rtol=1e-5)
            assert perturbation.min() < 0 < perturbation.max()


def others():
    """A network of each family that is no residual one, and images of a shape that it takes."""
    random = np.random.default_rng(0)
    for name in ("mlp", "cnn_cw", "report_cnn", "poster_d"):
        dataset = "mnist" if name == "cnn_cw" else "digits"
        spec = experiment(dataset, "standard", classifier=name, classifier_width=4)
        yield networks.classifier(spec), random.random((2, *DATASETS[dataset].image_shape), np.float32)
    yield networks.poster_g((8, 8, 1), 2, intensity=0.1), random.random((2, 8, 8, 1), np.float32)


@pytest.mark.parametrize("norm", ["l2", "l1", "linf"])
def test_saved_networks_need_keras_only(norm, tmp_path, shallow_here):
    for model, inputs in others() if norm == "linf" else generators((8, 8, 1), norm):
        model.save(tmp_path / "g.keras")
        loaded = keras.models.load_model(tmp_path / "g.keras")
        np.testing.assert_array_equal(loaded(inputs, training=False), model(inputs, training=False))
        with zipfile.ZipFile(tmp_path / "g.keras") as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        assert {layer["module"].split(".")[0] for layer in layers} == {"keras"}


def test_generator_of_an_experiment_has_its_norm(shallow_here):
    for generator in GENERATORS:
        spec = experiment("digits", "advnet", generators=(generator,), generator_width=4, norm="l1", epsilon=1.0)
        (model,) = networks.generators(spec)
        inputs = np.random.default_rng(0).random((2, *model.inputs[0].shape[1:]), np.float32)
        np.testing.assert_allclose(np.abs(model(inputs, training=True)).sum((1, 2, 3)), 1, rtol=1e-5)


def test_generator_of_another_norm_is_refused():
    with pytest.raises(UsageError, match="norm: expected one of linf, l2, l1, received l3"):
        networks.g1((8, 8, 1), 4, norm="l3")


@pytest.mark.parametrize("length", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_gradient_through_the_normalisation_is_the_finite_difference(norm, length, float64):
    model, random = last_layer(norm), np.random.default_rng(0)
    x, weights = (random.normal(size=(3, 4, 4, 2)) for _ in range(2))
    x *= length

    gradient, h = gradient_of(lambda x: tf.reduce_sum(weights * model(x)), x), 1e-6 * length
    shifts = h * np.eye(x.size).reshape(-1, *x.shape)

    def values(shifted):
        outputs = model(shifted.reshape(-1, *x.shape[1:])).numpy().reshape(shifted.shape)
        return np.sum(weights * outputs, (1, 2, 3, 4))

    differences = (values(x + shifts) - values(x - shifts)) / (2 * h)
    np.testing.assert_allclose(np.ravel(gradient), differences, rtol=1e-6, atol=1e-6 / length)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_normalisation_of_nothing_is_nothing_with_two_finite_derivatives(norm, jit_compile):
    model, weights = last_layer(norm), np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype(np.float32)

    @tf.function(jit_compile=jit_compile)
    def second_derivative(x):
        def squared_slope(x):
            slope = gradient_of(lambda x: tf.reduce_sum(weights * model(x) + model(x) ** 2), x)
            return tf.reduce_sum(slope**2)

        return gradient_of(squared_slope, x)

    nothing = tf.zeros(weights.shape)
    np.testing.assert_array_equal(model(nothing), nothing)
    gradient = gradient_of(lambda x: tf.reduce_sum(weights * model(x)), nothing).numpy()
    np.testing.assert_allclose(gradient, weights / networks.SHORTEST, rtol=1e-5)
    assert np.isfinite(second_derivative(nothing)).all()


def last_layer(norm):
    """What a generator of that norm ends with, alone."""
    image = keras.Input((4, 4, 2))
    return keras.Model(image, networks.perturbation_of(image, norm))


def gradient_of(function, x):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x)


def test_sides_that_are_no_multiples_of_four_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 4, received \(30, 30, 1\)"):
        networks.g1((30, 30, 1))


def test_parameter_counts_by_hand():
    # D1: 5·5·1·32 + 32, 5·5·32·64 + 64, 7·7·64·10 + 10.
    assert networks.d1((28, 28, 1), 10).count_params() == 832 + 51_264 + 31_370
    d2 = networks.d2((32, 32, 3), 10)
    stem = 27 * 16 + 4 * 16

    def block(channels, filters, projected):
        own = 9 * channels * filters + 9 * filters * filters + 2 * 4 * filters
        return own + (channels * filters + 4 * filters if projected else 0)

    stages = sum(block(c, f, True) + 2 * block(f, f, False) for c, f in ((16, 16), (16, 32), (32, 64)))
    assert d2.count_params() == stem + stages + 64 * 10 + 10
    trainable = sum(np.prod(variable.shape) for variable in d2.trainable_variables)
    assert 0.27e6 < trainable < 0.28e6


# Worked out on paper from Fig. 4 on 32×32×3 images and 10 classes. G1(k): encoder 27k + 27k², six residual blocks
# 224k² + 5·288k², decoder 90k² + 27k, BN and the last bias; G2(k) starts from 4k channels: 304k² for the first block; G3(k)
# adds the fully connected layer of 10·256k weights and 256k biases. Multiply-adds: per layer the weights times the positions.
BY_HAND = {
    ("g1", 8): (1781 * 8**2 + 290 * 8 + 3, 119_168 * 8**2 + 55_296 * 8),
    ("g1", 64): (7_313_539, 491_651_072),
    ("g2", 64): (7_527_875, 496_697_344),
    ("g3", 64): (7_527_875 + 2_816 * 64, 496_697_344 + 2_560 * 64),
}


@pytest.mark.parametrize(("name", "width"), BY_HAND)
def test_generators_have_the_parameters_and_multiply_adds_counted_by_hand(name, width):
    spec = experiment("cifar10", "advnet", scale="paper", generators=(name,), generator_width=width)
    (generator,) = networks.generators(spec)
    assert (generator.count_params(), costs.generator_multiply_adds(spec, name)) == BY_HAND[name, width]


# Padded to 32×32: 28×28 and 5×5 positions; the layer of 200 sees 2×2·64. Without padding 26, 24, 10 and 8 positions a side,
# the first layer of 200 sees 4×4·64. Padded throughout, the layer of 256 sees 8×8·128.
CLASSIFIERS_BY_HAND = {
    ("mnist", "mlp"): (784 * 625 + 625 * 10, 784 * 625 + 625 * 10),
    ("mnist", "poster_d"): (832 + 51_264 + 51_400 + 2_010, 28**2 * 25 * 32 + 25 * 25 * 32 * 64 + 256 * 200 + 2_000),
    ("mnist", "cnn_cw"): (
        320 + 9_248 + 18_496 + 36_928 + 205_000 + 40_200 + 2_010,
        26**2 * 288 + 24**2 * 9_216 + 10**2 * 18_432 + 8**2 * 36_864 + 1_024 * 200 + 40_000 + 2_000,
    ),
    # Positions a side: 28 and 12; 14, 5 and 1.
    ("mnist", "dg_a"): (
        1_664 + 102_464 + 1_179_776 + 1_290,
        28**2 * 1_600 + 12**2 * 102_400 + 12**2 * 64 * 128 + 1_280,
    ),
    ("mnist", "dg_b"): (
        4_160 + 295_040 + 409_728 + 1_290,
        14**2 * 4_096 + 5**2 * 294_912 + 409_600 + 1_280,
    ),
    ("mnist", "dg_d"): (157_000 + 40_200 + 2_010, 784 * 200 + 200 * 200 + 2_000),
    ("cifar10", "report_cnn"): (
        1_792 + 36_928 + 73_856 + 147_584 + 2_097_408 + 2_570,
        32**2 * (1_728 + 36_864) + 16**2 * (73_728 + 147_456) + 8_192 * 256 + 2_560,
    ),
}


@pytest.mark.parametrize(("dataset", "name"), CLASSIFIERS_BY_HAND)
def test_classifiers_have_the_parameters_and_multiply_adds_counted_by_hand(dataset, name):
    spec = experiment(dataset, "standard", classifier=name)
    found = networks.classifier(spec).count_params(), costs.classifier_multiply_adds(spec)
    assert found == CLASSIFIERS_BY_HAND[dataset, name]


def test_costs_count_all_families():
    for dataset in ("digits", "cifar10"):
        spec = experiment(dataset, "advnet", generators=("poster_g",))
        assert costs.generator_multiply_adds(spec, "poster_g") == _counted(*networks.generators(spec))
    for shape in SHAPES:
        models = gans.gan_generator(shape, 5, 2), gans.gan_critic(shape, 2)
        assert gans.gan_multiply_adds(shape, 5, 2) == tuple(map(_counted, models))
        pair = autoencoders.pooling_autoencoder(shape), autoencoders.flat_autoencoder(shape)
        assert autoencoders.autoencoder_multiply_adds(shape, 3) == sum(map(_counted, pair))
    for name, dataset in {"mlp": "cifar10", "cnn_cw": "cifar10", "report_cnn": "mnist", "poster_d": "cifar10"}.items():
        spec = experiment(dataset, "standard", classifier=name, classifier_width=3)
        assert costs.classifier_multiply_adds(spec) == _counted(networks.classifier(spec))


def test_family_lays_its_own_settings_over_the_recipe():
    assert experiment("cifar10", "standard").classifier_width == 16
    spec = experiment("cifar10", "advnet", classifier="mlp", generators=("poster_g",), scale="cpu")
    assert (spec.classifier_width, spec.generator_width, spec.input_dropout, spec.dropout) == (625, 8, 0.2, 0.5)
    assert spec.sibling("standard").classifier_width == 625
    against = experiment("cifar10", "generator", classifier="mlp", against="pgd", classifier_width=625)
    assert against.name == "cifar10-generator-cpu-s0-against=pgd-classifier=mlp"


def test_images_too_small_for_a_family_are_refused():
    with pytest.raises(UsageError, match=r"cnn_cw: expected images of at least 16 pixels a side, received 8×8 \(digits\)"):
        experiment("digits", "standard", classifier="cnn_cw")


def test_units_are_not_dropped_at_evaluation():
    with pytest.raises(
        UsageError, match="bn_evaluation: expected moving with classifier mlp, which has dropout, received batch"
    ):
        experiment("digits", "standard", classifier="mlp", protocol="released")


@pytest.mark.parametrize(("name", "value"), [("dropout", 1.0), ("input_dropout", -0.1)])
def test_shares_that_cannot_be_dropped_are_refused(name, value):
    with pytest.raises(UsageError, match=f"{name}: expected a value of at least 0 and below 1, received {value}"):
        experiment("digits", "standard", classifier="mlp", **{name: value})


def test_perturbation_of_the_poster_is_cut_at_its_intensity():
    image = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    whole = randomised(networks.poster_g((8, 8, 1), 2))
    cut = networks.poster_g((8, 8, 1), 2, intensity=0.25)
    cut.set_weights(whole.get_weights())
    tanh = keras.ops.convert_to_numpy(whole(image, training=False))
    assert (np.abs(tanh) > 0.25).any() and (np.abs(tanh) < 0.25).any()
    np.testing.assert_allclose(0.25 * cut(image, training=False), np.clip(tanh, -0.25, 0.25), atol=1e-6)


def test_intensity_is_measured_in_the_unit_that_the_experiment_says():
    for unit, intensity in (("normalised", 0.3 / 0.277), ("pixel", 0.3)):
        spec = experiment("mnist", "advnet", generators=("poster_g",), intensity_unit=unit, epsilon=0.3)
        (model,) = networks.generators(spec)
        image = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
        assert intensity == pytest.approx(0.3 / gan_poster.UNITS[unit])
        plain = networks.poster_g((28, 28, 1), spec.generator_width)
        plain.set_weights(model.get_weights())
        tanh = keras.ops.convert_to_numpy(plain(image, training=False))
        np.testing.assert_allclose(model(image, training=False), np.clip(tanh / intensity, -1, 1), rtol=1e-5, atol=1e-7)


def test_classifiers_have_the_multiply_adds_counted_by_hand():
    d1, d2 = (experiment(name, "standard", scale="paper") for name in ("mnist", "cifar10"))
    assert costs.classifier_multiply_adds(d1) == 28**2 * 25 * 32 + 14**2 * 25 * 32 * 64 + 7**2 * 64 * 10 == 10_693_760
    assert costs.classifier_multiply_adds(d2) == 41_075_328


def test_costs_count_the_multiply_adds_of_the_actual_layers():
    for variant in ({"generators": ("g2",)}, {"generators": ("g3",)}, {"encoder_widths": (1, 2, 4)}):
        spec = experiment("cifar10", "advnet", scale="paper", generator_width=8, **variant)
        assert costs.generator_multiply_adds(spec, spec.generators[0]) == _counted(*networks.generators(spec))
    assert costs.classifier_multiply_adds(spec) == _counted(networks.classifier(spec))


def test_costs_count_the_networks_of_mnist():
    for protocol in ("paper", "released"):
        spec = experiment("mnist", "advnet", protocol=protocol)
        assert costs.classifier_multiply_adds(spec) == _counted(networks.classifier(spec))
        assert costs.generator_multiply_adds(spec, spec.generators[0]) == _counted(*networks.generators(spec))


def _counted(model):
    """Multiply-adds from the built layers: kernel size times the positions it is applied at."""
    total = 0
    for layer in model.layers:
        kernel = next((weight for weight in layer.weights if weight.name == "kernel"), None)
        if kernel is not None:
            transposed = isinstance(layer, keras.layers.Conv2DTranspose)
            shape = layer.input.shape if transposed else layer.output.shape
            total += int(np.prod(kernel.shape)) * (int(np.prod(shape[1:3])) if len(shape) == 4 else 1)
    return total


def test_inputs_are_rescaled_from_the_unit_range():
    model = networks.d2((8, 8, 1), 10, pixel_levels=256)
    rescaling = next(layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling))
    np.testing.assert_allclose(rescaling(np.float32([0, 1])), [-1, 2 * 255 / 256 - 1])


def test_released_svhn_classifier_normalises_before_pooling_only():
    names = [
        type(layer).__name__ for layer in networks.d2((8, 8, 1), 10, stem_normalisation=False, final_normalisation=True).layers
    ]
    assert names[2:4] == ["Conv2D", "Conv2D"]
    assert names[-4:] == ["BatchNormalization", "ReLU", "GlobalAveragePooling2D", "Dense"]


def test_stateless_parameters_stand_in_for_the_models_own(shallow_here):
    model, other = networks.g1((8, 8, 1), 4), networks.g1((8, 8, 1), 4)
    x = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    before = [weight.copy() for weight in model.get_weights()]
    parameters = [variable.value for variable in other.trainable_variables]
    output = networks.discarding_statistics(model, x, training=True, parameters=parameters)
    np.testing.assert_allclose(output, other(x, training=True), atol=1e-6)
    for weight, unchanged in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, unchanged)


@pytest.mark.parametrize("depth", [0, 2])
def test_batch_means_are_differentiated_twice_without_changing_the_network(depth, float64, runtime_mode):
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(scale=False, epsilon=1e-5)])
    for _ in range(depth):  # within other models
        model = keras.Sequential([keras.Input((3,)), model])
    x = tf.constant(np.random.default_rng(0).normal(1, 2, (6, 3)))
    before = model(x, training=True), model.get_weights()
    runtime.prepare(model, double_backprop=True)
    model.set_weights([np.zeros(3), np.zeros(3), np.ones(3)])
    np.testing.assert_allclose(model(x, training=True), before[0], atol=1e-12)
    for weight, expected in zip(model.get_weights(), before[1], strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-12)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(model(x, training=True) ** 3)
        return tape.gradient(total, x)

    direction = tf.constant(np.random.default_rng(1).normal(size=(6, 3)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        along = tf.reduce_sum(gradient(x) * direction)
    finite = (gradient(x + 1e-6 * direction) - gradient(x - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(tape.gradient(along, x), finite, rtol=1e-6, atol=1e-7)
