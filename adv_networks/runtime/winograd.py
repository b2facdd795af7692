"""Convolutions by kernels of five columns with fewer products: Winograd's minimal filtering along the width.

Seven neighbouring outputs of a row take 35 products for each channel and row of the kernel. As coefficients of a product of
polynomials, by these polynomials' values at eleven points, they take eleven (Winograd, 1980, "Arithmetic complexity of
computations"; for networks Lavin and Gray, 2016, "Fast algorithms for convolutional neural networks"). What that costs is
rounding: in single precision the errors' root mean square is three to six millionths of the outputs' with tiles of seven, about
one with tiles of four and a third of one by TensorFlow's convolution. What is zero because all that it is summed of is zero may
come out as such a rounding error where other numbers are in its tile.
"""

from __future__ import annotations

import functools

import numpy as np

from adv_networks.lazy import tf

_COLUMNS = 5
# A point for each input that a tile of so many outputs needs, beside infinity, which is always one. Those of seven are the ones
# with the least error among zero, four pairs from a list of simple fractions and one more.
_FINITE_POINTS = {
    4: (0, 1, -1, 2, -2, 1 / 2, -1 / 2),
    7: (0, 1, -1, 3 / 4, -3 / 4, 3 / 8, -3 / 8, 5 / 3, -5 / 3, 4),
}


def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """What `tf.nn.conv2d(images, kernel, 1, "SAME")` is, of [batch, height, width, channels] and [rows, 5, channels, filters].

    Height, width and channels must be known, the batch's size need not be; the number of rows is odd.
    """
    size, height, width, channels = images.shape
    rows, columns, _, filters = kernel.shape
    of_images, of_kernel, to_outputs = (tf.constant(matrix, images.dtype) for matrix in _transforms(width))
    points = of_kernel.shape[0]
    tiles = of_images.shape[0] // points

    kernels = tf.matmul(of_kernel, tf.reshape(kernel, [rows, columns, channels * filters]))
    kernels = tf.transpose(tf.reshape(kernels, [rows, points, channels, filters]), [0, 2, 1, 3])
    values = tf.matmul(of_images, tf.reshape(images, [-1, width, channels]))
    # A convolution down each tile's column, each point's channels being a group. As one long row, in which a tile's columns
    # lie `tiles` apart, it takes a fifth less time than as columns four wide.
    products = tf.nn.conv2d(
        tf.reshape(values, [-1, 1, height * tiles, points * channels]),
        tf.reshape(kernels, [1, rows, channels, points * filters]),
        strides=1,
        padding="SAME",
        dilations=[1, tiles],
    )
    outputs = tf.matmul(to_outputs, tf.reshape(products, [-1, tiles * points, filters]))
    return tf.reshape(outputs, [-1 if size is None else size, height, width, filters])


def gradient_by_image(upstream: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The gradient by its images of a convolution as above, which is one by the kernel turned about and transposed."""
    return convolve(upstream, tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2]))


@functools.cache
def _transforms(width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of rows of that width, padded by zeros: [tiles · points, width] from images, [points, 5] from kernels, and back."""
    outputs = min(_FINITE_POINTS, key=lambda outputs: _tiles(width, outputs) * (outputs + _COLUMNS - 1))
    tiles, points, finite = _tiles(width, outputs), outputs + _COLUMNS - 1, np.array(_FINITE_POINTS[outputs], float)

    def powers(count: int) -> np.ndarray:
        """1, t, t², … at each point, `count` of them; at infinity the leading coefficient alone counts."""
        return np.vstack([np.vander(finite, count, increasing=True), np.eye(count)[-1]])

    # Filtering is the transpose of a product of polynomials, the tile's inputs being in the place of its coefficients: they
    # go to values by what takes values to coefficients, those of the polynomials that are 1 at one point and 0 at the others.
    of_tile = np.zeros((points, points))
    for number, point in enumerate(finite):
        others = np.delete(finite, number)
        of_tile[number, :-1] = np.poly(others)[::-1] / np.prod(point - others)
    of_tile[-1] = np.poly(finite)[::-1]
    size = np.abs(of_tile).max(1, keepdims=True)
    of_images = np.zeros((tiles, points, tiles * outputs + _COLUMNS - 1))
    for tile in range(tiles):
        of_images[tile, :, tile * outputs : tile * outputs + points] = of_tile / size
    margin = _COLUMNS // 2
    to_outputs = np.kron(np.eye(tiles), powers(outputs).T)
    return of_images[:, :, margin : margin + width].reshape(-1, width), powers(_COLUMNS) * size, to_outputs[:width]


def _tiles(width: int, outputs: int) -> int:
    return -(-width // outputs)
