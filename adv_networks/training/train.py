"""Trains one experiment in one directory: starts it, resumes it, or leaves a finished run unchanged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adv_networks import data
from adv_networks.defences import NeededRun, adversaries
from adv_networks.errors import UsageError, UserError
from adv_networks.evaluation import load_model
from adv_networks.experiments import METHODS, Experiment, find_dataset
from adv_networks.lazy import keras, tf
from adv_networks.runtime import devices, replicas
from adv_networks.runtime.determinism import make_deterministic
from adv_networks.runtime.workers import Workers
from adv_networks.storage.files import locked, remove_leftovers, write_text
from adv_networks.storage.hashes import weights_hash
from adv_networks.storage.run_directories import known_weights_hash
from adv_networks.training import results
from adv_networks.training.beginning import (
    check_own_networks,
    made_of_networks,
    own_classifier,
    take_initial_weights,
    weigh_classes,
)
from adv_networks.training.continuation import earlier_description
from adv_networks.training.identity import check_begun_with, described, is_reusable, of_images
from adv_networks.training.loop import Loop

VALIDATION_IMAGES = 500
_LOGGER = logging.getLogger(__name__)


def train(
    experiment: Experiment,
    workdir: str | os.PathLike,
    *,
    strategy: tf.distribute.Strategy | None = None,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    checkpoint_seconds: float = 120,
    progress: bool = True,
    wait: bool = False,
    classifier: keras.Model | None = None,
) -> Path:
    """Trains an experiment, or resumes it from its last checkpoint; a finished run is left unchanged.

    A run is resumed or reused only with the training images that it started with; a finished run needs none. A new run
    continues from a finished one with fewer steps, in the directory of its name beside `workdir`, if the two are otherwise the
    same and the finished steps are the first ones of this run.

    A run that was stopped or killed and then resumed ends with the same bits as one that was not, on the same machine with the
    same libraries and number of threads. For that the whole process is made deterministic (`make_deterministic`). XLA lacks
    deterministic kernels for some operations, so this does not hold with XLA.
    All workers of a multi_worker strategy call this, with a `workdir` that all can reach; only the chief writes there.

    Args:
        experiment: what to train; overrides that its training does not read are left out of it (`Experiment.trained`). The
            runs that it needs are trained first, beside `workdir`.
        workdir: the run's directory; afterwards it holds what the method promises (`Defence.files`), experiment.json,
            metrics.csv, timings.csv, checkpoints/ and an event file for TensorBoard.
        strategy: where to create the variables (`devices.make`); None for the default device. The minibatch is split over
            its replicas, which together do what one would.
        data_dir: TFDS directory.
        download: let TFDS fetch what is missing.
        checkpoint_seconds: time between checkpoints.
        progress: show how far the run is, on standard error.
        wait: if another process trains in `workdir`, wait for it to end instead of raising.
        classifier: replaces the run that the method needs as its "classifier", for instance the one that a generator is
            trained against. It takes images in [0,1]. On the default device only.

    Returns:
        `workdir` as a path.

    Raises:
        UsageError: the minibatch does not split evenly over the replicas and the adversaries that share it out, there are
            several replicas with `xla`, or a classifier is given to a method that needs none.
        UserError: the directory belongs to a run with other settings, training images or networks to build on, is in use
            or cannot be written, the data set is missing, a loss is not finite, or another worker has ended.
        Interrupted: SIGINT, SIGTERM or SIGHUP came; a checkpoint is saved first.

    Examples:
        >>> import tempfile
        >>> from adv_networks import experiments, training
        >>> spec = experiments.experiment("digits", "standard", scale="tiny", steps=1)
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     workdir = training.train(spec, f"{runs}/{spec.name}", progress=False)
        ...     (workdir / "d.keras").exists()
        True
    """
    if not isinstance(experiment, Experiment):
        raise UsageError(
            f"experiment: expected what experiments.experiment(data set or arrays, method) returns, received a "
            f"{type(experiment).__name__}"
        )
    workdir, strategy = Path(workdir), strategy or tf.distribute.get_strategy()
    experiment = experiment.trained()
    _check(experiment, strategy, classifier)
    if not experiment.xla:
        make_deterministic()
    method, workers = METHODS[experiment.method], Workers(strategy)
    with contextlib.ExitStack() as stack:
        stack.enter_context(workers.together(experiment.name))
        if workers.by_chief(lambda: is_reusable(experiment, workdir, data_dir)):
            return workdir
        if workers.is_chief:
            _lock(stack, workdir, wait)
        if workers.by_chief(lambda: is_reusable(experiment, workdir, data_dir)):  # by the process that was waited for
            return workdir
        places = dict(data_dir=data_dir, download=download)
        training, validation = data.training_and_validation(experiment, **places)
        made_of = of_images(experiment.dataset, training)
        _check_same(experiment, made_of, workers)
        if workers.is_chief:
            _say_incomplete(experiment, len(training.images) + len(validation.images))
        own = own_classifier(experiment)
        made_of |= made_of_networks(experiment, workdir, own)
        check_begun_with(workdir, made_of)
        check_own_networks(experiment, training, own)
        options = dict(places, strategy=strategy, checkpoint_seconds=checkpoint_seconds, progress=progress)
        needed = _needed_runs(experiment, workdir, classifier, options)
        made_of |= {f"{role}_weights": run.weights for role, run in needed.items()}
        check_begun_with(workdir, made_of)
        workers.by_chief(lambda: _prepare(experiment, needed, training, strategy))
        description: dict[str, Any] = {}
        if workers.is_chief:
            remove_leftovers(workdir)
            earlier = earlier_description(experiment, workdir, made_of)
            description = described(experiment, made_of, len(validation.images), earlier)
            write_text(workdir / "experiment.json", json.dumps(description, indent=2))
        with strategy.scope():
            state = method.build(experiment, needed)
            take_initial_weights(experiment, workdir, state)
            weigh_classes(experiment, state, training)
            first = validation.first(VALIDATION_IMAGES)
            loop = Loop(experiment, workdir, state, workers, first, checkpoint_seconds)
            loop.run(lambda start: method.batches(experiment, needed, training, start), progress=progress)
        shown = validation if experiment.validation else training
        workers.by_chief(lambda: results.save(experiment, workdir, state, needed, validation, shown, description))
    return workdir


def _check(experiment: Experiment, strategy: tf.distribute.Strategy, classifier: keras.Model | None) -> None:
    """Raises a UsageError if the arguments contradict one another."""
    replicas.check_split(strategy, adversaries(experiment), experiment.batch_size)
    if experiment.xla and strategy.num_replicas_in_sync > 1:
        raise UsageError(f"xla: expected a single replica, received {strategy.num_replicas_in_sync}")
    if classifier is not None and "classifier" not in experiment.needs():
        raise UsageError(f"classifier: expected none with method {experiment.method}, which needs none, received one")


def _check_same(experiment: Experiment, made_of: Mapping[str, Any], workers: Workers) -> None:
    """Raises a UserError unless all workers have the same settings and images."""
    if not workers.alone:
        settings = json.dumps([made_of, experiment.settings()])
        digest = int(hashlib.sha256(settings.encode()).hexdigest()[:8], 16)
        workers.check_same(f"{experiment.name}: digest of settings and training images", digest)


def _lock(stack: contextlib.ExitStack, workdir: Path, wait: bool) -> None:
    """Keeps other processes from training in the directory until the stack closes."""
    lock = workdir / "lock"
    try:
        stack.enter_context(
            locked(lock, wait=False, busy=f"{workdir}: expected to be alone, found another process training there")
        )
    except UserError:
        if not wait:
            raise
        _LOGGER.warning("%s: waiting for another process that trains there", workdir)
        stack.enter_context(locked(lock, wait=True))


def _say_incomplete(experiment: Experiment, images: int) -> None:
    """Warns if there are fewer training images than the experiment uses of the declared data set."""
    declared = find_dataset(experiment.dataset).train_images
    expected = min(experiment.train_images or declared, declared)
    if images < expected:
        _LOGGER.warning(
            "%s: training on %s of the %s training images of %s, since the others are missing; expect other accuracies than "
            "with the whole data set",
            experiment.name, f"{images:,}", f"{expected:,}", experiment.dataset,
        )  # fmt: skip


def _needed_runs(
    experiment: Experiment, workdir: Path, classifier: keras.Model | None, options: Mapping[str, Any]
) -> dict[str, NeededRun]:
    """The runs that this one builds on, by their role; trains them if necessary. A given classifier replaces one of them."""
    needed = {}
    for role, spec in experiment.needs().items():
        if role == "classifier" and classifier is not None:
            needed[role] = NeededRun(spec, None, weights_hash(classifier), classifier)
            continue
        directory = train(spec, workdir.parent / spec.name, wait=True, **options)
        file = METHODS[spec.method].files(spec)[0]
        weights = known_weights_hash(directory, file) or weights_hash(load_model(directory / file))
        needed[role] = NeededRun(spec, directory, weights)
    return needed


def _prepare(
    experiment: Experiment, needed: Mapping[str, NeededRun], training: data.Images, strategy: tf.distribute.Strategy
) -> None:
    """Makes what the batches read, on the devices of this process only."""
    with devices.local(strategy).scope():
        METHODS[experiment.method].prepare(experiment, needed, training)
