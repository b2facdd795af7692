"""Convolutions of fewer products against TensorFlow's, in double precision, and how much more they round."""

import numpy as np
import pytest
import tensorflow as tf

from adv_networks.runtime import winograd

pytestmark = pytest.mark.numerics


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def convolve(images, kernel):
    return tf.nn.conv2d(images, kernel, 1, "SAME")


@pytest.mark.parametrize(("rows", "height"), [(1, 6), (3, 6), (5, 6), (5, 1), (5, 2)])
@pytest.mark.parametrize("width", [1, 3, 8, 9, 14, 28])
def test_convolution_and_gradient_are_tensorflows(width, rows, height):
    images, kernel, upstream = random(3, height, width, 2), random(rows, 5, 2, 7, seed=1), random(3, height, width, 7, seed=2)
    np.testing.assert_allclose(
        winograd.convolve(tf.constant(images), tf.constant(kernel)), convolve(images, kernel), atol=1e-11
    )
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(convolve(images, kernel) * upstream)
    by_image = winograd.gradient_by_image(tf.constant(upstream), tf.constant(kernel))
    np.testing.assert_allclose(by_image, tape.gradient(total, images), atol=1e-11)


def test_one_product_by_hand():
    """A row 1, 2, …, 8 by a kernel 1, 0, 0, 0, -1 is the difference of neighbours four apart, zeros being beyond the ends."""
    row, kernel = tf.reshape(tf.range(1.0, 9), [1, 1, 8, 1]), tf.reshape(tf.constant([1.0, 0, 0, 0, -1]), [1, 5, 1, 1])
    expected = [-3, -4, -4, -4, -4, -4, 5, 6]
    np.testing.assert_allclose(tf.reshape(winograd.convolve(row, kernel), [-1]), expected, atol=1e-5)


@pytest.mark.parametrize(("width", "products"), [(4, 8), (7, 11), (8, 16), (12, 22), (14, 22), (16, 32), (32, 55)])
def test_a_row_takes_as_few_products_as_its_tiles_have_points(width, products):
    of_images, _, to_outputs = winograd.transforms(width)
    assert (of_images.shape, to_outputs.shape) == ((products, width), (width, products))


# A width for each size of tiles. The module says so of their errors.
@pytest.mark.parametrize(("width", "share"), [(8, 2e-6), (14, 7e-6)])
def test_rounding_errors_are_as_small_as_said(width, share):
    images, kernel = np.maximum(random(8, width, width, 32), 0), random(5, 5, 32, 64, seed=1)
    exact, upstream = convolve(images, kernel).numpy(), random(8, width, width, 64, seed=2)
    found = winograd.convolve(tf.constant(images, tf.float32), tf.constant(kernel, tf.float32))
    assert np.sqrt(np.mean((found - exact) ** 2)) < share * exact.std()
    exact = winograd.gradient_by_image(tf.constant(upstream), tf.constant(kernel)).numpy()
    found = winograd.gradient_by_image(tf.constant(upstream, tf.float32), tf.constant(kernel, tf.float32))
    assert np.sqrt(np.mean((found - exact) ** 2)) < share * exact.std()


def test_batches_may_be_of_a_size_that_the_graph_does_not_know():
    images, kernel = random(3, 8, 8, 2), random(5, 5, 2, 3, seed=1)
    graph = tf.function(
        winograd.convolve, input_signature=[tf.TensorSpec([None, 8, 8, 2], tf.float64), tf.TensorSpec(kernel.shape, tf.float64)]
    )
    for size in (0, 1, 3):
        np.testing.assert_allclose(graph(images[:size], kernel), convolve(images[:size], kernel), atol=1e-11)
