"""The data sets of TensorFlow Datasets, decoded once and then cached (`data.cache`)."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from adv_networks.data import cache
from adv_networks.data.images import Images, NoSuchSplit
from adv_networks.data.sources.base import Place, Source
from adv_networks.errors import UserError
from adv_networks.lazy import np
from adv_networks.storage.files import reason

_LOGGER = logging.getLogger(__name__)
_SECONDS = 3  # The time limit for the answer of each server.


def directory_of(data_dir: str | os.PathLike | None) -> Path | None:
    """The directory of data sets: the given one, or that of TFDS_DATA_DIR, or the default of TFDS in the home directory.

    None if no directory is given and the user has no home directory.
    """
    if named := data_dir or os.environ.get("TFDS_DATA_DIR"):
        return cache.expanded(named)
    home = cache.home()
    return home and home / "tensorflow_datasets"


class Tfds(Source):
    """A data set of TFDS, by its name in TFDS."""

    def __init__(self, name: str, place: Place):
        self.name, self.download = name, place.download
        directory = directory_of(place.data_dir)
        if directory is None:
            # TFDS would take "~" as the name of a directory.
            raise UserError(
                f"data set {name}: expected --data_dir or TFDS_DATA_DIR, because this user has no home directory, found neither"
            )
        self.directory = directory
        # Without a given directory, TFDS also searches the other directories that it knows.
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
        """See `Source.check`; a data set to download is left to `read`, and only its servers are tried."""
        with self._explained():
            if self.download:
                self._check_reachable(_tfds().builder(self.name, data_dir=self.data_dir))
            else:
                self._prepared(splits)

    def batches(self, split: str, size: int, *, resize: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields images uint8 and labels of a split in its official order, `size` at a time, resized to a height and width.

        Raises:
            UserError: as in `read`.
        """
        import tensorflow as tf

        tfds = _tfds()

        def brought(row: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            resized = tf.image.resize(row["image"], resize, antialias=True)
            return tf.cast(tf.round(tf.clip_by_value(resized, 0, 255)), tf.uint8), row["label"]

        with self._explained():
            config = tfds.ReadConfig(interleave_cycle_length=1)
            rows = self._prepared([split]).as_dataset(split=split, read_config=config).map(brought).batch(size)
            for images, labels in tfds.as_numpy(rows):
                yield images, labels.astype(np.int32)

    def _decode(self, split: str, limit: int) -> tuple[Images, Path]:
        """The images of a split, read by TFDS, and their directory."""
        _LOGGER.info("reading %s %s from %s, which is done once", self.name, split, self.directory)
        tfds = _tfds()
        with self._explained():
            builder = self._prepared([split])
            splits = builder.info.splits
            limited = limit and not (splits and splits[split].num_examples <= limit)
            # The official order is one file after another, not interleaved.
            config = tfds.ReadConfig(interleave_cycle_length=1)
            rows = builder.as_dataset(split=f"{split}[:{limit}]" if limited else split, read_config=config, batch_size=1024)
            batches = [(batch["image"], batch["label"]) for batch in tfds.as_numpy(rows)]
        images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return Images(images, labels.astype(np.int32)), Path(builder.data_dir)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns errors of TFDS, protobuf and TensorFlow, which each have their own for damaged files, into a UserError."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"data set {self.name}: expected to read it from {self.directory}, found: {reason(error)}"
            ) from error

    def _prepared(self, splits: Sequence[str]) -> Any:
        """The TFDS builder of a data set that is prepared and has these splits."""
        builder = _tfds().builder(self.name, data_dir=self.data_dir)
        # Check first, because TFDS tries the network for minutes before it reports a missing data set.
        if not (Path(builder.data_dir) / "dataset_info.json").is_file():
            if not self.download:
                raise UserError(
                    f"data set {self.name}: expected it prepared in {builder.data_dir}, found none "
                    "(--data_dir says where it is, --download fetches it)"
                )
            self._check_reachable(builder)
            _LOGGER.info("fetching %s into %s", self.name, self.directory)
            builder.download_and_prepare()
        found = builder.info.splits
        for split in splits:
            if found and split not in found:
                raise NoSuchSplit(
                    f"data set {self.name} in {builder.data_dir}: expected a split {split}, found {', '.join(found)}"
                )
        return builder

    def _check_reachable(self, builder: Any) -> None:
        """Raises a UserError if a data set must be downloaded and one of its servers does not answer.

        TFDS itself would ask every file's server eleven times, with increasing delays. Files from an earlier attempt need no
        server.
        """
        place = Path(builder.data_dir)
        if (place / "dataset_info.json").is_file() or any((self.directory / "downloads").glob("**/*.INFO")):
            return
        for server in dict.fromkeys("/".join(url.split("/", 3)[:3]) for url in builder.url_infos or ()):
            if not _answers(server):
                raise UserError(
                    f"data set {self.name}: expected {server} to answer, found no connection to it; prepare the data set on a "
                    f"connected machine and put it into {place}, or say where it is with --data_dir"
                )


def _answers(server: str) -> bool:
    """Whether a server gives any answer to a request within seconds, through the environment's proxy if there is one."""
    # Imported here, because they take longer to load than a wrong flag takes to be refused.
    import http.client
    import urllib.error
    import urllib.request

    answered = []

    def ask() -> None:
        request = urllib.request.Request(server, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS):
                answered.append(True)
        except urllib.error.HTTPError:
            answered.append(True)
        except (OSError, http.client.HTTPException):
            pass

    # A name lookup has no time limit, so it runs in its own thread, which is abandoned if it takes longer.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_SECONDS)
    return bool(answered)


def _tfds() -> ModuleType:
    with contextlib.redirect_stderr(None):
        import tensorflow_datasets
    return tensorflow_datasets
