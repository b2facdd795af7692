"""What a run tells of itself while it trains: metrics.csv, timings.csv and what TensorBoard shows."""

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
    """Writes the logs of a run that goes on from `step`; what they have of later steps, which are done again, is dropped.

    At most `every` steps lie between two lines.
    """

    def __init__(self, experiment: Experiment, workdir: Path, step: int, every: int):
        fields = (*METRICS, *METHODS[experiment.method].metrics)
        self._metrics = Log(workdir / "metrics.csv", fields, step, every=every)
        self._timings = Log(workdir / "timings.csv", TIMINGS, step, every=every)
        self._events = Events(directory_of(workdir), experiment, step)

    def log(self, step: int, values: Mapping[str, float], rates: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """Logs what a step returned and what was validated at it, learning rates, and the time since the last such line."""
        self._metrics.add(step, {**values, **rates})
        self._timings.add(step, timing)
        self._events.scalars(step, {**values, **rates, "steps_per_second": timing["steps_per_second"]})

    def show(self, step: int, figures: Mapping[str, Any]) -> None:
        """Shows figures of validation images in TensorBoard."""
        for name, figure in figures.items():
            self._events.image(step, name, pictures.pixels(figure))

    def graph(self) -> contextlib.AbstractContextManager[None]:
        """Shows the graph of what is compiled and run inside in TensorBoard."""
        return self._events.graph()
