"""Where runs, results and data are."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import tensorflow as tf

from adv_networks.experiments import Experiment, results_group


@dataclasses.dataclass(frozen=True)
class Places:
    """Where things are: runs, results, data; `workdir` is the directory of the one run that is not under `runs`.

    `strategy` is where trainings put their variables, and its devices evaluate.
    """

    runs: Path = Path("runs")
    results: Path = Path("results")
    data_dir: Path | None = None
    download: bool = False
    workdir: tuple[Experiment, Path] | None = None
    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy)

    def of(self, spec: Experiment) -> Path:
        """The directory of a run; what the run with a directory of its own builds upon is beside it."""
        if self.workdir:
            own, directory = self.workdir
            if spec.name == own.name:
                return directory
            if spec.name in {needed.name for needed in own.needs().values()}:
                return directory.parent / spec.name
        return self.runs / spec.name

    def group(self, scale: str, *, protocol: str = "paper", **overrides: Any) -> Path:
        """The directory of the results that one scale, protocol and set of overrides have in common."""
        return results_group(self.results, scale, protocol=protocol, **overrides)
