"""What the released code does with kernels and padding: standard deviations and window positions worked out by hand."""

import keras
import numpy as np
import pytest

from adv_networks import networks
from adv_networks.experiments import experiment
from adv_networks.networks import Convolutions

# The spread that is left of a normal distribution of standard deviation 1 cut at two of them.
CUT_AT_TWO = 0.87962566


def deviations(model, kind):
    """The standard deviations of the kernels of that kind of layer, largest kernels last."""
    kernels = sorted((np.array(layer.kernel) for layer in model.layers if type(layer) is kind), key=np.size)
    return [kernel.std() for kernel in kernels]


@pytest.mark.parametrize(
    ("initializer", "expected"),
    [
        ("he_normal", (2 / (9 * 64)) ** 0.5),  # the largest kernels of D2 have 3·3·64 inputs
        ("lecun_normal", (1 / (9 * 64)) ** 0.5),
        ("truncated_normal", 0.02 * CUT_AT_TWO),
    ],
)
def test_kernels_start_with_the_standard_deviation_of_their_rule(initializer, expected):
    keras.utils.set_random_seed(0)
    model = networks.d2((8, 8, 3), 100, 16, convolutions=Convolutions(initializer))
    # 36,864 numbers a kernel: their standard deviation is off by 0.4%.
    np.testing.assert_allclose(deviations(model, keras.layers.Conv2D)[-1], expected, rtol=0.02)
    # The fully connected layer of 64 inputs and 100 outputs: Glorot's uniform numbers but where every kernel is cut.
    dense = expected if initializer == "truncated_normal" else (2 / (64 + 100)) ** 0.5
    np.testing.assert_allclose(deviations(model, keras.layers.Dense)[-1], dense, rtol=0.05)


def test_deconvolutions_and_the_last_layer_of_a_generator_have_their_own_rule():
    keras.utils.set_random_seed(0)
    cifar = Convolutions("lecun_normal", "truncated_normal", "symmetric")
    for model in (networks.g1((8, 8, 3), 16, convolutions=cifar), networks.g3((8, 8, 3), 10, 16, convolutions=cifar)):
        for deviation in deviations(model, keras.layers.Conv2DTranspose):
            np.testing.assert_allclose(deviation, 0.02 * CUT_AT_TWO, rtol=0.02)
        last = [layer for layer in model.layers if type(layer) is keras.layers.Conv2D][-1]
        assert last.filters == 3
        np.testing.assert_allclose(np.std(last.kernel), 0.02 * CUT_AT_TWO, rtol=0.1)
        # 3·3·64 inputs in the residual blocks.
        np.testing.assert_allclose(deviations(model, keras.layers.Conv2D)[-1], (1 / (9 * 64)) ** 0.5, rtol=0.02)


# Sums of 3×3 windows of the 4×4 image 0 … 15. With "same" the windows start at rows and columns 0 and 2 and go over the end,
# with "symmetric" they start at -1 and 1 and go over the beginning.
IMAGE = np.arange(16.0, dtype=np.float32).reshape(1, 4, 4, 1)
WINDOWS = {"same": [[45, 39], [66, 50]], "symmetric": [[10, 24], [51, 90]]}


@pytest.mark.parametrize("padding", WINDOWS)
def test_windows_of_a_strided_convolution_lie_where_the_padding_puts_them(padding):
    x = keras.Input((4, 4, 1))
    model = keras.Model(x, networks.residual_block(x, 3, 2, 1, project=True, convolutions=Convolutions(padding=padding)))
    (strided,) = (layer for layer in model.layers if type(layer) is keras.layers.Conv2D and layer.kernel_size == (3, 3)
                  and layer.strides == (2, 2))  # fmt: skip
    strided.set_weights([np.ones((3, 3, 1, 1))])
    windows = keras.Model(x, strided.output)(IMAGE)
    np.testing.assert_array_equal(windows[0, :, :, 0], WINDOWS[padding])


def test_5x5_windows_of_the_released_mnist_generator_are_centred():
    """A single pixel is seen by the windows whose centres, at even rows and columns, are at most two pixels away."""
    for padding, rows in (("symmetric", [0, 1, 2]), ("same", [0, 1])):
        model = networks.released_mnist_generator((8, 8, 1), 1, convolutions=Convolutions(padding=padding))
        first = next(layer for layer in model.layers if type(layer) is keras.layers.Conv2D)
        first.set_weights([np.ones((5, 5, 1, 1))])
        image = np.full((1, 8, 8, 1), 0.5, np.float32)  # which is zero once it is rescaled
        image[0, 2, 2] = 1
        seen = np.array(keras.Model(model.input, first.output)(image))[0, :, :, 0]
        np.testing.assert_array_equal(seen, [[float(r in rows and c in rows) for c in range(4)] for r in range(4)])


def test_networks_halve_the_sides_either_way_and_start_alike_by_default():
    symmetric = Convolutions(padding="symmetric")
    for make in (
        lambda **options: networks.d2((12, 8, 3), 10, 2, **options),
        lambda **options: networks.g1((12, 8, 3), 2, **options),
        lambda **options: networks.released_mnist_generator((12, 8, 3), 2, **options),
    ):
        models = []
        for options in ({}, {"convolutions": symmetric}):
            keras.utils.set_random_seed(3)
            models.append(make(**options))
        assert [model.output_shape for model in models] == [models[0].output_shape] * 2
        for one, other in zip(*(model.get_weights() for model in models), strict=True):
            np.testing.assert_array_equal(one, other)


def test_experiment_says_what_its_networks_have():
    spec = experiment("svhn", "advnet", protocol="released", scale="tiny", classifier_width=2, generator_width=2)
    assert (spec.kernel_initializer, spec.last_kernel_initializer, spec.strided_padding) == (
        "truncated_normal",
        "truncated_normal",
        "symmetric",
    )
    for model in (networks.classifier(spec), *networks.generators(spec)):
        layers = model.layers
        assert sum(isinstance(layer, keras.layers.ZeroPadding2D) for layer in layers) == 2
        kernels = [np.array(layer.kernel) for layer in layers if hasattr(layer, "kernel")]
        assert max(np.abs(kernel).max() for kernel in kernels) <= 0.04 + 1e-6
    text = experiment("svhn", "advnet")
    assert (text.kernel_initializer, text.last_kernel_initializer, text.strided_padding) == ("he_normal", "he_normal", "same")
    cifar10, mnist = (experiment(name, "advnet", protocol="released") for name in ("cifar10", "mnist"))
    assert (cifar10.kernel_initializer, cifar10.last_kernel_initializer) == ("lecun_normal", "truncated_normal")
    assert (mnist.kernel_initializer, mnist.last_kernel_initializer, mnist.strided_padding) == (
        "he_normal",
        "he_normal",
        "same",
    )
