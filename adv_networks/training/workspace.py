"""The directories of runs, results and data, and how runs are trained there."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from adv_networks import data
from adv_networks.experiments import Experiment, results_group
from adv_networks.lazy import tf
from adv_networks.runtime import devices
from adv_networks.runtime.workers import is_chief
from adv_networks.training.identity import is_finished
from adv_networks.training.train import train


@dataclasses.dataclass(frozen=True)
class Workspace:
    """The directories, and the options with which missing runs and data are made.

    Attributes:
        runs: directory that holds the runs' directories.
        results: directory for records and tables.
        data_dir: TFDS directory; None for TFDS's own default.
        download: let TFDS download a missing data set.
        strategy: key of `experiments.STRATEGIES`: the devices that train and evaluate.
        replicas: number of logical CPU devices to use instead; 0 for none.
        checkpoint_seconds: seconds between a run's checkpoints.
        progress: show progress bars.
        workdirs: directories of runs that are not under `runs`, by name.

    Examples:
        >>> from pathlib import Path
        >>> from adv_networks import experiments, training
        >>> workspace = training.Workspace(runs=Path("my_runs"))
        >>> workspace.of(experiments.experiment("digits", "pgd")).as_posix()
        'my_runs/digits-pgd-cpu-s0'
    """

    runs: Path = Path("runs")
    results: Path = Path("results")
    data_dir: Path | None = None
    download: bool = False
    strategy: str = "auto"
    replicas: int = 0
    checkpoint_seconds: float = 120
    progress: bool = True
    workdirs: Mapping[str, Path] = dataclasses.field(default_factory=dict)

    def with_workdir(self, spec: Experiment, directory: Path) -> Workspace:
        """This workspace with another directory for one run; the runs that it builds on are beside it."""
        needed = [*spec.needs().values(), *filter(None, [spec.behind()])]
        beside = {one.name: directory.parent / one.name for one in needed}
        return dataclasses.replace(self, workdirs={**beside, spec.name: directory})

    def directory(self, run: str) -> Path:
        """The directory of a run, by its name."""
        return self.workdirs.get(run, self.runs / run)

    def of(self, spec: Experiment) -> Path:
        """The directory of an experiment's run."""
        return self.directory(spec.name)

    def group(self, scale: str, *, protocol: str = "paper", **overrides: Any) -> Path:
        """The directory for all results of one scale, protocol and set of overrides."""
        return results_group(self.results, scale, protocol=protocol, **overrides)

    @functools.cached_property
    def devices(self) -> tf.distribute.Strategy:
        """The strategy that holds the variables of trainings, and whose devices evaluate."""
        return devices.make(self.strategy, self.replicas)

    @property
    def is_chief(self) -> bool:
        """Whether this process is the worker that writes the files and evaluates."""
        return is_chief(self.devices)

    def evaluating(self) -> contextlib.AbstractContextManager:
        """The scope of the devices that evaluate: the part of the strategy that needs no other workers."""
        return devices.local(self.devices).scope()

    def is_finished(self, spec: Experiment) -> bool:
        """Whether an experiment's run is finished."""
        return is_finished(spec, self.of(spec))

    def train(self, specs: Iterable[Experiment], **options: Any) -> None:
        """Trains experiments in order; resumes runs that were stopped, and leaves finished ones unchanged."""
        places = dict(data_dir=self.data_dir, download=self.download, strategy=self.devices)
        how = dict(checkpoint_seconds=self.checkpoint_seconds, progress=self.progress)
        for spec in specs:
            train(spec, self.of(spec), **places, **how, **options)

    def images(self, dataset: str, split: str, limit: int = 0) -> data.Images:
        """The first `limit` images of a split of a data set; 0 for all."""
        return data.load(dataset, split, data_dir=self.data_dir, download=self.download, limit=limit)

    def training_and_validation(self, spec: Experiment) -> tuple[data.Images, data.Images]:
        """The training images of an experiment, and its validation images."""
        return data.training_and_validation(spec, data_dir=self.data_dir, download=self.download)

    def check_data(self, dataset: str, splits: Iterable[str]) -> None:
        """Raises the error that `images` would raise if the data set or a split is missing."""
        data.check(dataset, tuple(splits), data_dir=self.data_dir, download=self.download)
