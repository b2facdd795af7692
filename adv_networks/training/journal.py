"""The logs of a run in training: metrics.csv, timings.csv and TensorBoard's events."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adv_networks.experiments import METHODS, Experiment
from adv_networks.storage import pictures
from adv_networks.training.events import Events, directory_of
from adv_networks.training.logs import METRICS, TIMINGS, Log


class Journal:
    """Writes the logs of a run that continues from `step`. Lines of later steps are dropped, because the steps are repeated.

    There are at most `every` steps between two lines.
    """

    def __init__(self, experiment: Experiment, workdir: Path, step: int, every: int):
        fields = (*METRICS, *METHODS[experiment.method].metrics)
        self._metrics = Log(workdir / "metrics.csv", fields, step, every=every)
        self._timings = Log(workdir / "timings.csv", TIMINGS, step, every=every)
        self._events = Events(directory_of(workdir), experiment, step)

    def log(self, step: int, values: Mapping[str, float], rates: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """Logs the scalars and validation results of a step, the learning rates, and the time since the last line."""
        self._metrics.add(step, {**values, **rates})
        self._timings.add(step, timing)
        self._events.scalars(step, {**values, **rates, "steps_per_second": timing["steps_per_second"]})

    def show(self, step: int, figures: Mapping[str, Any]) -> None:
        """Shows figures of validation images in TensorBoard."""
        for name, figure in figures.items():
            self._events.image(step, name, pictures.pixels(figure))

    def graph(self) -> contextlib.AbstractContextManager[None]:
        """Writes the graph of what is compiled and run inside this context for TensorBoard."""
        return self._events.graph()
