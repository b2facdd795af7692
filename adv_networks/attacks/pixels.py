"""Images with a few pixels replaced, as the individuals of an evolutionary search describe them."""

from __future__ import annotations

import itertools

from adv_networks.lazy import np, tf


def with_pixels(x: tf.Tensor, individuals: tf.Tensor) -> tf.Tensor:
    """Replaces pixels of each image as each individual of its population says.

    Args:
        x: images in [0,1], [batch, height, width, channels].
        individuals: [batch, population, pixels, 2 + channels], all in [0,1]: the row and column of each pixel, as fractions of
            the image's height and width, and its value in each channel. If two pixels have the same place, the last one counts.

    Returns:
        [batch · population, height, width, channels].
    """
    population, pixels = individuals.shape[1:3]
    height, width, channels = x.shape[1:]
    images = tf.reshape(tf.repeat(x, population, 0), [-1, height * width, channels])
    genes = tf.reshape(individuals, [-1, pixels, 2 + channels])
    rows, columns = (
        tf.minimum(tf.cast(genes[:, :, axis] * size, tf.int32), size - 1) for axis, size in enumerate((height, width))
    )
    for pixel in range(pixels):
        places = tf.stack([tf.range(tf.shape(images)[0]), rows[:, pixel] * width + columns[:, pixel]], 1)
        images = tf.tensor_scatter_nd_update(images, places, genes[:, pixel, 2:])
    return tf.reshape(images, [-1, height, width, channels])


def as_seen(x: np.ndarray, individuals: np.ndarray) -> np.ndarray:
    """Individuals in a canonical form: two individuals of one image are equal if they make the same perturbed image.

    The place of a pixel is one whole number, row · width + column, and the pixels are sorted by it. A pixel without effect is
    −1 throughout: it has the image's own value, or a later pixel has the same place.

    Args:
        x: images in [0,1], [batch, height, width, channels].
        individuals: see `with_pixels`.

    Returns:
        [batch, population, pixels, 1 + channels].
    """
    height, width = x.shape[1:3]
    places = [np.minimum((individuals[..., axis] * size).astype(int), size - 1) for axis, size in ((0, height), (1, width))]
    place, values = places[0] * width + places[1], individuals[..., 2:]
    originals = x.reshape(len(x), 1, height * width, -1)
    originals = np.take_along_axis(originals, place[..., None], 2)
    counts = (values != originals).any(-1)
    pixels = place.shape[-1]
    for earlier, later in itertools.combinations(range(pixels), 2):
        counts[..., earlier] &= place[..., earlier] != place[..., later]
    seen = np.concatenate([place[..., None], values], -1, dtype=individuals.dtype)
    seen[~counts] = -1
    return np.take_along_axis(seen, np.argsort(seen[..., 0], -1, kind="stable")[..., None], 2)
