"""The data sets of TensorFlow Datasets, decoded once and then kept (`data.cache`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from adv_networks.data import cache
from adv_networks.data.images import Images, NoSuchSplit
from adv_networks.data.sources.base import Place, Source
from adv_networks.errors import UserError
from adv_networks.storage.files import reason


def directory_of(data_dir: str | os.PathLike | None) -> Path | None:
    """The directory that is meant: the given one, or TFDS's own, that of TFDS_DATA_DIR or one in the home directory.

    None where none is given and the user has no home directory.
    """
    if named := data_dir or os.environ.get("TFDS_DATA_DIR"):
        return cache.expanded(named)
    home = cache.home()
    return home and home / "tensorflow_datasets"


class Tfds(Source):
    """A data set of TFDS by its name there."""

    def __init__(self, name: str, place: Place):
        self.name, self.download = name, place.download
        directory = directory_of(place.data_dir)
        if directory is None:
            # TFDS would take "~" for the name of a directory.
            raise UserError(
                f"data set {name}: expected --data_dir or TFDS_DATA_DIR, as this user has no home directory, found neither"
            )
        self.directory = directory
        # Without one, TFDS also looks into the further directories that it knows.
        self.data_dir = directory if place.data_dir else None

    def read(self, split: str, limit: int = 0) -> Images:
        """See `Source.read`."""
        identity = (self.name, split, str(limit), str(self.directory.absolute()))
        kept = cache.read(*identity)
        if kept is None:
            kept, source = self._decode(split, limit)
            cache.write(source, *identity, images=kept)
        return kept

    def check(self, splits: Sequence[str]) -> None:
        """See `Source.check`; what may be fetched is left to `read`."""
        if not self.download:
            with self._explained():
                self._prepared(splits)

    def _decode(self, split: str, limit: int) -> tuple[Images, Path]:
        """The images of a split as TFDS reads them, and the directory that they are in."""
        tfds = _tfds()
        with self._explained():
            builder = self._prepared([split])
            splits = builder.info.splits
            limited = limit and not (splits and splits[split].num_examples <= limit)
            # One file after another, not interleaved: that is the official order.
            config = tfds.ReadConfig(interleave_cycle_length=1)
            rows = builder.as_dataset(split=f"{split}[:{limit}]" if limited else split, read_config=config, batch_size=1024)
            batches = [(batch["image"], batch["label"]) for batch in tfds.as_numpy(rows)]
        images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return Images(images, labels.astype(np.int32)), Path(builder.data_dir)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Failures of TFDS, protobuf and TensorFlow, which have errors of their own for damaged files, as a UserError."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"data set {self.name}: expected to read it from {self.directory}, found: {reason(error)}"
            ) from error

    def _prepared(self, splits: Sequence[str]) -> Any:
        """TFDS's builder of a data set that is there and has these splits."""
        builder = _tfds().builder(self.name, data_dir=self.data_dir)
        # Asked first, because TFDS tries the network for minutes before it says that a data set is missing.
        if not (Path(builder.data_dir) / "dataset_info.json").is_file():
            if not self.download:
                raise UserError(
                    f"data set {self.name}: expected it prepared in {builder.data_dir}, found none "
                    "(--data_dir says where it is, --download fetches it)"
                )
            builder.download_and_prepare()
        found = builder.info.splits
        for split in splits:
            if found and split not in found:
                raise NoSuchSplit(
                    f"data set {self.name} in {builder.data_dir}: expected a split {split}, found {', '.join(found)}"
                )
        return builder


def _tfds() -> ModuleType:
    with contextlib.redirect_stderr(None):
        import tensorflow_datasets
    return tensorflow_datasets
