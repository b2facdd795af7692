"""Batches of images as a function of (seed, step)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from adv_networks.lazy import np, tf
from adv_networks.storage.arrays import release

# For images mapped from a file: the number of batches after which the memory of those already read is released.
_RELEASED_EVERY = 50


def batches(
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    *,
    training: bool,
    seed: int = 0,
    augment: int = 0,
    start: int = 0,
    perturbations: np.ndarray | None = None,
    paired: bool = False,
    epsilon: float = 0.0,
) -> tf.data.Dataset:
    """Batches (float32 images in [0,1], int32 labels).

    In training the stream is endless, every batch is full, and each epoch is another permutation. Batch number s, including its
    augmentation, is a function of (seed, s) alone. Otherwise the images come once, in order, and the last batch may be smaller.

    Args:
        images: uint8 [N, H, W, C].
        labels: integers [N].
        batch_size: images per batch.
        training: see above.
        seed: seed of the order and the augmentation.
        augment: pad-and-crop by at most this many pixels, with flips; 0 for none.
        start: number of the first batch.
        perturbations: int8 [kinds, N, H, W, C] in units of ε/127; they enlarge the training set to (kinds + 1) N images.
        paired: whether perturbed images come beside the clean ones instead of among them. Batches are then [2, batch, H, W, C]:
            each image, and its perturbed version of a random kind, with the same crop and flip.
        epsilon: ε of the perturbations.

    Examples:
        >>> from adv_networks import data
        >>> images, labels = data.load("digits", "train")
        >>> x, y = next(iter(data.batches(images, labels, 64, training=True, seed=0)))
        >>> x.shape, x.dtype, y.shape
        (TensorShape([64, 8, 8, 1]), tf.float32, TensorShape([64]))
    """
    labels = np.asarray(labels, np.int32)
    if not training:
        rows = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)
        return rows.map(lambda x, y: (_to_float(x), y)).prefetch(tf.data.AUTOTUNE)
    shape, kinds = images.shape[1:], 0 if perturbations is None else len(perturbations)

    def drawn() -> Iterator[tuple[np.ndarray, ...]]:
        # Index the caller's arrays: as tensors of the graph they would be in memory several times.
        for step, index in _order(start, batch_size, len(images) * (1 if paired else 1 + kinds), seed):
            kind, row = np.divmod(index, len(images))
            if step % _RELEASED_EVERY == 0:
                release(images)
            if not kinds:
                yield step, images[row], labels[row]
                continue
            if paired:
                kind = 1 + np.random.default_rng((seed, step, 1)).integers(kinds, size=batch_size)
            units = perturbations[np.maximum(kind - 1, 0), row]
            units[kind == 0] = 0
            yield step, images[row], labels[row], units

    def batch(step, x, y, *units):
        x = _to_float(x)
        for unit in units:
            perturbed = tf.clip_by_value(x + epsilon * (tf.cast(unit, tf.float32) / 127), 0, 1)
            x = tf.concat([x, perturbed], -1) if paired else perturbed
        x = _augment(x, augment, _seed(seed, step)) if augment else x
        return tf.stack(tf.split(x, 2, -1)) if kinds and paired else x, y

    signature = [tf.TensorSpec([], tf.int64), tf.TensorSpec([batch_size, *shape], images.dtype)]
    signature += [tf.TensorSpec([batch_size], tf.int32)] + [tf.TensorSpec([batch_size, *shape], tf.int8)] * (kinds > 0)
    return tf.data.Dataset.from_generator(drawn, output_signature=tuple(signature)).map(batch).prefetch(2)


def _to_float(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(images, tf.float32) / 255


def _order(start: int, batch_size: int, count: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (number, indices) of each batch from number `start`: consecutive parts of an endless sequence of permutations.

    Each epoch's permutation has its own seed, so a late start replays nothing.
    """
    epoch, permutation = -1, np.empty(0, np.int64)
    for step in itertools.count(start):
        positions = step * batch_size + np.arange(batch_size)
        indices = []
        for current in np.unique(positions // count):
            if current != epoch:
                epoch, permutation = current, np.random.default_rng((seed, current)).permutation(count)
            indices.append(permutation[positions[positions // count == current] % count])
        yield step, np.concatenate(indices)


def _seed(seed: int, step: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.constant(seed, tf.int64), step])


def _augment(x: tf.Tensor, pad: int, seed: tf.Tensor) -> tf.Tensor:
    """Random crops of the zero-padded images and random flips, independent for each image."""
    batch_size, height, width, _ = x.shape
    crop_seed, flip_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    offsets = tf.random.stateless_uniform([batch_size, 2], crop_seed, 0, 2 * pad + 1, tf.int32)
    padded = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    rows = offsets[:, :1] + tf.range(height)
    columns = offsets[:, 1:] + tf.range(width)
    cropped = tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
    flipped = tf.random.stateless_uniform([batch_size, 1, 1, 1], flip_seed) < 0.5
    return tf.ensure_shape(tf.where(flipped, tf.reverse(cropped, [2]), cropped), x.shape)
