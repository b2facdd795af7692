"""What TensorBoard shows of a run: scalars, pictures, its settings, and the graph of its step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from adv_networks.experiments import Experiment, written
from adv_networks.lazy import tf
from adv_networks.storage.files import explained, remove_leftovers, write_whole

_COMPARED = ("validation_clean", "validation_fgs", "validation_pgd", "validation_generator")


class Events:
    """Writes a run's event file; each method writes at once, or raises a UserError."""

    def __init__(self, directory: Path, experiment: Experiment, step: int):
        """Opens it for a run that goes on from `step`; what earlier files have of later steps is dropped.

        The first file says the run's settings, for the table of TensorBoard's HParams.
        """
        self._doing = f"writing {directory}"
        with explained(self._doing, tf.errors.OpError):
            begins = not _drop_after(directory, step)
            self._writer = tf.summary.create_file_writer(str(directory))
        if begins:
            self._say_settings(experiment)

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        with explained(self._doing, tf.errors.OpError), self._writer.as_default():
            yield
            self._writer.flush()

    def _say_settings(self, experiment: Experiment) -> None:
        from tensorboard.plugins.hparams import api

        named = {name: value for name, value in experiment.settings().items() if name != "overrides"}
        plain = {name: written(tuple(value)) if isinstance(value, list) else value for name, value in named.items()}
        with self._written():
            api.hparams_config(hparams=[api.HParam(name) for name in plain], metrics=[api.Metric(name) for name in _COMPARED])
            api.hparams(plain, trial_id=experiment.name)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes numbers by name."""
        with self._written():
            for name, value in values.items():
                tf.summary.scalar(name, value, step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Writes an image, uint8 [height, width, channels]."""
        with self._written():
            tf.summary.image(name, image[None], step)

    @contextlib.contextmanager
    def graph(self) -> Iterator[None]:
        """Writes the graph of what TensorFlow compiles and runs inside."""
        tf.summary.trace_on(graph=True, profiler=False)
        try:
            yield
            with self._written():
                tf.summary.trace_export("step", step=0)
        finally:
            tf.summary.trace_off()


def _drop_after(directory: Path, step: int) -> bool:
    """Drops the events after a step, all of them where it is 0, and returns whether files are left.

    TensorBoard's readers would otherwise have these steps twice, once the run has done them again.
    """
    if not directory.is_dir():
        return False
    remove_leftovers(directory)
    for file in directory.glob("*tfevents*"):
        records = list(_whole_records(file))
        kept = [record for record in records if step and tf.compat.v1.Event.FromString(record).step <= step]
        if not kept:
            file.unlink()
        elif len(kept) < len(records):
            write_whole(file, lambda temporary, kept=kept: _write_records(temporary, kept))
    return any(directory.glob("*tfevents*"))


def _whole_records(file: Path) -> Iterator[bytes]:
    """The events of a file, serialised; without one that a kill cut short, and whatever follows it."""
    with contextlib.suppress(tf.errors.DataLossError):
        yield from tf.data.TFRecordDataset(str(file)).as_numpy_iterator()


def _write_records(file: Path, records: list[bytes]) -> None:
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
