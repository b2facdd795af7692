"""Loads data sets, each as an array of images and one of labels, and the images of an experiment."""

from __future__ import annotations

import os
from collections.abc import Sequence

from adv_networks.data.images import Images, NoSuchSplit
from adv_networks.data.sources import Place, source_of
from adv_networks.experiments import Experiment, find_dataset
from adv_networks.lazy import np


def load(
    dataset: str, split: str, *, data_dir: str | os.PathLike | None = None, download: bool = False, limit: int = 0
) -> Images:
    """Loads a split ("train", "test", for SVHN also "extra") in its official order.

    Args:
        dataset: a name of `experiments.DATASETS`, or the path of a user's own data set (see `find_dataset`).
        split: the split's name.
        data_dir: a TFDS directory; None for the default of TFDS. Not used for the embedded digits.
        download: whether to download what is missing.
        limit: the number of images to read, from the first one; 0 means all.

    Raises:
        UserError: the data set is missing in the directory, or damaged.
        NoSuchSplit: the data set has no such split.

    Examples:
        >>> from adv_networks import data
        >>> images, labels = data.load("digits", "test")
        >>> images.shape, images.dtype, labels.dtype
        ((360, 8, 8, 1), dtype('uint8'), dtype('int32'))
    """
    return source_of(find_dataset(dataset), Place(data_dir, download)).read(split, limit).first(limit)


def check(dataset: str, splits: Sequence[str], *, data_dir: str | os.PathLike | None = None, download: bool = False) -> None:
    """Raises what `load` would raise if the data set or a split is missing, without reading its images.

    With `download` that is left to `load`, which may download it.

    Examples:
        >>> from adv_networks import data
        >>> data.check("digits", ["train", "test"])  # both are there
    """
    source_of(find_dataset(dataset), Place(data_dir, download)).check(splits)


def training_and_validation(
    spec: Experiment, *, data_dir: str | os.PathLike | None = None, download: bool = False
) -> tuple[Images, Images]:
    """The training images of an experiment, and its validation images, the first `validation` images, which are held out.

    If a data set has a validation split, its first images are used for validation, and no training images are held out. If a
    data set is smaller than declared (a subset, mock data), at most a fifth is held out. SVHN's extra images, drawn by the
    seed, are added to the training images if the data directory has that split.

    Examples:
        >>> import adv_networks as an
        >>> spec = an.experiment("digits", "pgd", validation=100)
        >>> training, validation = an.data.training_and_validation(spec)
        >>> len(training.images), len(validation.images)
        (1337, 100)
    """
    images, labels = load(spec.dataset, "train", data_dir=data_dir, download=download, limit=spec.train_images)
    if find_dataset(spec.dataset).has_validation:
        held_out = load(spec.dataset, "validation", data_dir=data_dir, download=download, limit=spec.validation)
        return Images(images, labels), held_out if spec.validation else Images(images[:0], labels[:0])
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
