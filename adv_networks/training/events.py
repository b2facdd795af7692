"""What TensorBoard shows of a run: scalars, pictures, its settings, and the graph of its step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from adv_networks.experiments import SETTINGS, Experiment, written
from adv_networks.storage.files import explained

_COMPARED = ("validation_clean", "validation_fgs", "validation_pgd", "validation_generator")


class Events:
    """Writes a run's event file; each method writes at once, or raises a UserError."""

    def __init__(self, directory: Path, experiment: Experiment, *, begins: bool):
        """Opens it; where the run `begins`, it first says the run's settings, for the table of TensorBoard's HParams."""
        self._doing = f"writing {directory}"
        with explained(self._doing, tf.errors.OpError):
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

        named = {name: getattr(experiment, name) for name in ("dataset", "method", "protocol", "scale", "seed", *SETTINGS)}
        plain = {name: value if isinstance(value, (int, float, str)) else written(value) for name, value in named.items()}
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
