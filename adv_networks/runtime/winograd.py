"""Convolutions with kernels of five columns and fewer products: Winograd's minimal filtering along the width.

Seven neighbouring outputs in a row take 35 products for each channel and row of the kernel. Computed as coefficients of a
product of polynomials, from the polynomials' values at eleven points, they take eleven (Winograd, 1980, "Arithmetic complexity
of computations"; for networks Lavin and Gray, 2016, "Fast algorithms for convolutional neural networks"). The price is
rounding. In single precision the root mean square of the errors, relative to that of the outputs, is three to six millionths
with tiles of seven, about one with tiles of four, and a third of one with TensorFlow's convolution. An output that should be
exactly zero, because all its terms are, may become such a rounding error if its tile has other numbers.
"""

from __future__ import annotations

import functools

from adv_networks.lazy import np, tf

_COLUMNS = 5
# The points for tiles of each number of outputs: one per input of a tile, besides infinity, which is always a point. Those for
# seven outputs have the least error among all choices of zero, four pairs from a list of simple fractions, and one more.
_FINITE_POINTS = {
    4: (0, 1, -1, 2, -2, 1 / 2, -1 / 2),
    7: (0, 1, -1, 3 / 4, -3 / 4, 3 / 8, -3 / 8, 5 / 3, -5 / 3, 4),
}


def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Equals `tf.nn.conv2d(images, kernel, 1, "SAME")` of [batch, height, width, channels] and [rows, 5, channels, filters].

    Height, width and channels must be known, but not the batch size. The number of rows must be odd. Without oneDNN the CPU has
    no gradient of the dilated convolution inside, so `kernels` defines the gradients.
    """
    size, height, width, channels = images.shape
    rows, columns, _, filters = kernel.shape
    of_images, of_kernel, to_outputs = (tf.constant(matrix, images.dtype) for matrix in transforms(width))
    points = of_kernel.shape[0]
    tiles = of_images.shape[0] // points

    kernels = tf.matmul(of_kernel, tf.reshape(kernel, [rows, columns, channels * filters]))
    kernels = tf.transpose(tf.reshape(kernels, [rows, points, channels, filters]), [0, 2, 1, 3])
    values = tf.matmul(of_images, tf.reshape(images, [-1, width, channels]))
    # A convolution down each tile's column, with one group of channels per point. As one long row, in which the entries of a
    # tile's column lie `tiles` apart, it takes a fifth less time than as columns four wide.
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
    """The gradient of `convolve` with respect to its images: a convolution with the flipped and transposed kernel."""
    return convolve(upstream, tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2]))


@functools.cache
def transforms(width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices for zero-padded rows of this width: [tiles · points, width] from images, [points, 5] from kernels, and back."""
    outputs = min(_FINITE_POINTS, key=lambda outputs: _tiles(width, outputs) * (outputs + _COLUMNS - 1))
    tiles, points, finite = _tiles(width, outputs), outputs + _COLUMNS - 1, np.array(_FINITE_POINTS[outputs], float)

    def powers(count: int) -> np.ndarray:
        """The first `count` powers 1, t, t², … at each point; at infinity only the leading coefficient counts."""
        return np.vstack([np.vander(finite, count, increasing=True), np.eye(count)[-1]])

    # Filtering is the transpose of a product of polynomials, with the tile's inputs in place of its coefficients. The matrix
    # from inputs to values is therefore the one from values to coefficients: each row has the coefficients of the polynomial
    # that is 1 at one point and 0 at the others.
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
