"""Every data set as the same two arrays, and batches of them as a function of (seed, step)."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from adv_networks.data import cache, own_data
from adv_networks.errors import UserError
from adv_networks.experiments import DATASETS, Experiment, find_dataset
from adv_networks.storage.files import reason

_DIGITS_SPLIT_SEED = 0


class NoSuchSplit(UserError):
    """The data set is there, but has no split of that name."""


class Images(NamedTuple):
    """Images uint8 [N, H, W, C] and their labels int32 [N]."""

    images: np.ndarray
    labels: np.ndarray

    def first(self, count: int) -> Images:
        """The first `count` of them; 0 means all."""
        return self if count == 0 else Images(self.images[:count], self.labels[:count])


def load(
    dataset: str, split: str, *, data_dir: str | os.PathLike | None = None, download: bool = False, limit: int = 0
) -> Images:
    """Loads a split ("train", "test", for SVHN also "extra") in its official order.

    Args:
        dataset: a name of `experiments.DATASETS`, or the path of a user's own data set (`own_data.read`).
        split: the split's name.
        data_dir: a TFDS directory; None for TFDS's own default. Not used for the embedded digits.
        download: fetch what is missing.
        limit: read only the first this many; 0 means all.

    Raises:
        UserError: the directory does not hold the data set, or a damaged one.
        NoSuchSplit: the data set has no such split.
    """
    declared = find_dataset(dataset)
    if declared.path is not None:
        images = _load_own(declared.path, split)
    elif declared.tfds_name is None:
        images = _load_digits(split)
    else:
        images = _load_tfds(declared.tfds_name, split, data_dir, download, limit)
    return images.first(limit)


def _load_own(path: str, split: str) -> Images:
    splits = own_data.read(path).splits
    if split not in splits:
        raise NoSuchSplit(f"{path}: expected split {' or '.join(splits)}, received {split}")
    return Images(*splits[split])


def _load_digits(split: str) -> Images:
    from sklearn.datasets import load_digits

    if split not in ("train", "test"):
        raise NoSuchSplit(f"digits: expected split train or test, received {split}")
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    order = np.random.default_rng(_DIGITS_SPLIT_SEED).permutation(len(images))
    chosen = order[: DATASETS["digits"].train_images] if split == "train" else order[DATASETS["digits"].train_images :]
    return Images(images[chosen], digits.target[chosen].astype(np.int32))


def _load_tfds(name: str, split: str, data_dir: str | os.PathLike | None, download: bool, limit: int) -> Images:
    # TFDS's default directory is that of this variable or one in the home directory.
    place = data_dir or os.environ.get("TFDS_DATA_DIR") or Path.home()
    identity = (name, split, str(limit), str(Path(place).absolute()))
    kept = cache.read(*identity)
    if kept is None:
        images, source = _decode(name, split, data_dir, download, limit)
        cache.write(source, *identity, **images._asdict())
        return images
    return Images(**kept)


def check(dataset: str, splits: Sequence[str], *, data_dir: str | os.PathLike | None = None, download: bool = False) -> None:
    """Raises what `load` would raise where the data set is not there, or lacks a split, without reading its images.

    With `download` that is left to `load`, which may fetch it.
    """
    name = find_dataset(dataset).tfds_name
    if name is not None and not download:
        with _told(name, data_dir):
            _prepared(name, splits, data_dir, download=False)


def _decode(name: str, split: str, data_dir: str | os.PathLike | None, download: bool, limit: int) -> tuple[Images, Path]:
    """The images of a split as TFDS reads them, and the directory that they are in."""
    tfds = _tfds()
    with _told(name, data_dir):
        builder = _prepared(name, [split], data_dir, download)
        splits = builder.info.splits
        limited = limit and not (splits and splits[split].num_examples <= limit)
        # One file after another, not interleaved: that is the official order.
        config = tfds.ReadConfig(interleave_cycle_length=1)
        rows = builder.as_dataset(split=f"{split}[:{limit}]" if limited else split, read_config=config, batch_size=1024)
        batches = [(batch["image"], batch["label"]) for batch in tfds.as_numpy(rows)]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return Images(images, labels.astype(np.int32)), Path(builder.data_dir)


def _tfds() -> ModuleType:
    with contextlib.redirect_stderr(None):
        import tensorflow_datasets
    return tensorflow_datasets


@contextlib.contextmanager
def _told(name: str, data_dir: str | os.PathLike | None) -> Iterator[None]:
    """Failures of TFDS, protobuf and TensorFlow, which have errors of their own for damaged files, as a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"data set {name}: expected to read it from {data_dir or 'the default directory'}, found: {reason(error)}"
        ) from error


def _prepared(name: str, splits: Sequence[str], data_dir: str | os.PathLike | None, download: bool) -> Any:
    """TFDS's builder of a data set that is there and has these splits."""
    builder = _tfds().builder(name, data_dir=data_dir)
    # Asked first, because TFDS tries the network for minutes before it says that a data set is missing.
    if not (Path(builder.data_dir) / "dataset_info.json").exists():
        if not download:
            raise UserError(
                f"data set {name}: expected it prepared in {builder.data_dir}, found none "
                "(--data_dir says where it is, --download fetches it)"
            )
        builder.download_and_prepare()
    found = builder.info.splits
    for split in splits:
        if found and split not in found:
            raise NoSuchSplit(f"data set {name} in {builder.data_dir}: expected a split {split}, found {', '.join(found)}")
    return builder


def training_and_validation(
    spec: Experiment, *, data_dir: str | os.PathLike | None = None, download: bool = False
) -> tuple[Images, Images]:
    """The training images of an experiment and those held out of them for validation: the first `validation` ones.

    Of a smaller data set than declared (a subset, mock data), no more than a fifth is held out.
    SVHN's draw of extra images, fixed by the seed, joins the training images where the data directory has that split.
    """
    images, labels = load(spec.dataset, "train", data_dir=data_dir, download=download, limit=spec.train_images)
    held_out = min(spec.validation, len(images) // 5)
    validation = Images(images[:held_out], labels[:held_out])
    training = Images(images[held_out:], labels[held_out:])
    if spec.extra_images and not spec.train_images:
        extra = _extra(spec, data_dir, download)
        if extra is not None:
            training = Images(np.concatenate([training.images, extra.images]), np.concatenate([training.labels, extra.labels]))
    return training, validation


def _extra(spec: Experiment, data_dir: str | os.PathLike | None, download: bool) -> Images | None:
    try:
        images, labels = load(spec.dataset, "extra", data_dir=data_dir, download=download)
    except NoSuchSplit:
        return None
    chosen = np.random.default_rng(spec.seed).choice(
        len(images), min(spec.extra_images, len(images)), replace=spec.extra_replacement
    )
    return Images(images[chosen], labels[chosen])


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

    In training the stream has no end, every batch is full, each epoch is another permutation, and batch number s, its
    augmentation included, is a function of (seed, s) alone. Otherwise the images come once, in order, the last batch partial.

    Args:
        images: uint8 [N, H, W, C].
        labels: integers [N].
        batch_size: images per batch.
        training: see above.
        seed: of the order and the augmentation.
        augment: pad-and-crop by at most this many pixels, with flips; 0 for none.
        start: number of the first batch.
        perturbations: int8 [kinds, N, H, W, C] in units of ε/127, enlarging the training set to (kinds + 1) N images.
        paired: the perturbed images come beside the others instead of among them: batches are [2, batch, H, W, C], each image
            and one of its perturbed ones, of a kind drawn at random, cropped and flipped alike.
        epsilon: ε of the perturbations.
    """
    labels = np.asarray(labels, np.int32)
    if not training:
        rows = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)
        return rows.map(lambda x, y: (_to_float(x), y)).prefetch(tf.data.AUTOTUNE)
    shape, kinds = images.shape[1:], 0 if perturbations is None else len(perturbations)

    def drawn() -> Iterator[tuple[np.ndarray, ...]]:
        # Out of the caller's arrays: as tensors of the graph they would be in memory several times.
        for step, index in _order(start, batch_size, len(images) * (1 if paired else 1 + kinds), seed):
            kind, row = np.divmod(index, len(images))
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
    """(number, indices) of each batch from number `start` on: consecutive parts of an endless sequence of permutations.

    Each epoch's permutation has a seed of its own, so that starting late replays nothing.
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
    """Random crops of the zero-padded images and random flips, each image its own."""
    batch_size, height, width, _ = x.shape
    crop_seed, flip_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    offsets = tf.random.stateless_uniform([batch_size, 2], crop_seed, 0, 2 * pad + 1, tf.int32)
    padded = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    rows = offsets[:, :1] + tf.range(height)
    columns = offsets[:, 1:] + tf.range(width)
    cropped = tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
    flipped = tf.random.stateless_uniform([batch_size, 1, 1, 1], flip_seed) < 0.5
    return tf.ensure_shape(tf.where(flipped, tf.reverse(cropped, [2]), cropped), x.shape)
