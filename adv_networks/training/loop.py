"""The training loop: steps, logs, validation, checkpoints, and stopping between two steps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from adv_networks.data import Images
from adv_networks.defences import TrainingState
from adv_networks.errors import Interrupted
from adv_networks.experiments import METHODS, Experiment
from adv_networks.lazy import tf
from adv_networks.runtime.workers import Workers
from adv_networks.training import finite
from adv_networks.training.checkpoints import Checkpoints
from adv_networks.training.journal import Journal
from adv_networks.training.progress import Progress
from adv_networks.training.signals import STOPPING, stop_requests


class Loop:
    """A training in progress: its state, its current step, and the files that it writes.

    The constructor restores the last checkpoint, if there is one.
    """

    def __init__(
        self,
        experiment: Experiment,
        workdir: Path,
        state: TrainingState,
        workers: Workers,
        validation: Images,
        checkpoint_seconds: float,
    ):
        self.experiment, self.workdir, self.state, self.workers = experiment, workdir, state, workers
        self.method = METHODS[experiment.method]
        self.validation = validation
        self.checkpoint_seconds = checkpoint_seconds
        self.log_every = min(20, max(1, experiment.steps // 100))
        self.validate_every = max(10, experiment.steps // experiment.validations)
        self.checkpoints = Checkpoints(workdir / "checkpoints", state=state.variables())
        self.step = self._restore()
        self.journal = Journal(experiment, workdir, self.step, self.log_every) if workers.is_chief else None
        self._unchecked: list[tuple[int, Mapping[str, Any]]] = []

    def _restore(self) -> int:
        """Restores the last checkpoint and returns its step. The chief goes first, because it also removes damaged files."""
        step = self.workers.by_chief(self.checkpoints.restore)
        found = step if self.workers.is_chief else self.checkpoints.restore_last()
        self.workers.check_same(f"{self.workdir}: step of the last checkpoint", found)
        return step

    def run(self, batches: Callable[[int], tf.data.Dataset], *, progress: bool) -> None:
        """Runs the remaining steps.

        Args:
            batches: returns the minibatches from a given step on.
            progress: show progress.

        Raises:
            Interrupted: a stopping signal came; a checkpoint is saved first.
            UserError: a number is not finite, or a file cannot be written.
        """
        experiment = self.experiment
        shown = progress and self.workers.is_chief
        bar = Progress(experiment.name, steps=experiment.steps, step=self.step, shown=shown)
        saved = timed = time.monotonic()
        timed_step = self.step
        with bar, stop_requests() as stop:
            for x, y in batches(self.step).take(experiment.steps - self.step):
                with self.journal.graph() if self.journal and self.step == 0 else contextlib.nullcontext():
                    scalars = self.method.step(self.state, x, y, experiment, (experiment.seed, self.step))
                self.step += 1
                self._unchecked.append((self.step, scalars))
                bar.advance()
                last = self.step == experiment.steps
                validate = self.step % self.validate_every == 0 or last
                if self.step % self.log_every == 0 or validate:
                    values = self._checked()
                    seconds = time.monotonic() - timed
                    timing = {"seconds": seconds, "steps_per_second": (self.step - timed_step) / seconds}
                    values |= self._measured(x, y) if validate else {}
                    if self.journal:
                        validated = self._validated() if validate else {}
                        self.journal.log(self.step, {**values, **validated}, self._learning_rates(), timing)
                        bar.tell(values, validated)
                    timed, timed_step = time.monotonic(), self.step
                due = self.workers.is_chief and time.monotonic() - saved > self.checkpoint_seconds
                due, *stopping = self.workers.total(due, *(stop[:1] == [number] for number in STOPPING))
                if due or last or any(stopping):
                    self._save()
                    saved = time.monotonic()
                if any(stopping):
                    raise Interrupted(
                        next(number for number, asked in zip(STOPPING, stopping, strict=True) if asked),
                        f"{experiment.name}: stopped at step {self.step} of {experiment.steps}; "
                        "the same command continues from there",
                    )

    def _checked(self) -> dict[str, float]:
        """Checks the scalars of all steps since the last call, and returns the last ones. So no step waits for a check."""
        for step, scalars in self._unchecked:
            values = self._finite(step, scalars)
        self._unchecked.clear()
        return values

    def _finite(self, step: int, scalars: Mapping[str, Any], variables: Iterable[tf.Variable] = ()) -> dict[str, float]:
        return finite.checked(scalars, f"{self.experiment.name} step {step}", "the last checkpoint is kept", variables)

    def _measured(self, x: tf.Tensor, y: tf.Tensor) -> dict[str, float]:
        """What the method measures on a minibatch besides its step; every worker takes part."""
        seed = (self.experiment.seed, self.step)
        return self._finite(self.step, self.method.measure(self.state, x, y, self.experiment, seed))

    def _learning_rates(self) -> dict[str, float]:
        return {name: float(optimizer.learning_rate.numpy()) for name, optimizer in self.state.optimizers().items()}

    def _validated(self) -> dict[str, float]:
        """Validates the method on the validation images, and sends its pictures of some of them to TensorBoard."""
        if not len(self.validation.images):
            return {}
        found = self.method.validate(self.state, self.validation, self.experiment)
        self.journal.show(self.step, self.method.pictures(self.state, self.validation.first(8), self.experiment))
        return found

    def _save(self) -> None:
        if self._unchecked:
            self._checked()
        self._finite(self.step, {}, self.state.variables())
        if self.workers.is_chief:
            self.checkpoints.save(self.step)
