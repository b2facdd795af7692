"""Training one experiment in one directory: loop, checkpoints, logs, resume."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from adv_networks import data, evaluation
from adv_networks.defences import STATIC_ATTACKS
from adv_networks.defences.static_examples import static_examples
from adv_networks.defences.steps import STEPS, Players, RegulariserComparison, Scalars, adversaries, make_players
from adv_networks.errors import Interrupted, UsageError, UserError
from adv_networks.evaluation import gallery
from adv_networks.experiments import METHODS, SETTINGS, Experiment, generator_file
from adv_networks.runtime import devices, replicas
from adv_networks.runtime.determinism import make_deterministic
from adv_networks.runtime.workers import Workers
from adv_networks.storage import pictures
from adv_networks.storage.arrays import NoArrays, map_npy
from adv_networks.storage.files import locked, reason, remove_leftovers, write_text, write_whole
from adv_networks.storage.hashes import check_hashed, write_hashed
from adv_networks.storage.provenance import commit, machine, versions
from adv_networks.storage.run_directories import describe, known_weights_hash
from adv_networks.training.checkpoints import Checkpoints
from adv_networks.training.events import Events
from adv_networks.training.logs import METRICS, TIMINGS, Log
from adv_networks.training.workspace import Workspace as Workspace

VALIDATION_IMAGES = 500
_STOPPING = (signal.SIGINT, signal.SIGTERM)


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
    """Trains an experiment, going on from its last checkpoint if there is one; a finished run is left as it is.

    Either only with the training images that the run was begun with; a finished one is also left where there are none.

    A run that was stopped or killed and goes on ends with the same bits as one that was not, on the same machine with the
    same libraries and number of threads. For that the whole process is made deterministic (`make_deterministic`); XLA, which
    lacks deterministic kernels for some operations, is left to itself and promises no such thing.
    The workers of a multi_worker strategy call this alike, with a `workdir` that all can reach; the chief alone writes there.

    Args:
        experiment: what to train. An ensemble run first trains the classifier that it needs, beside `workdir`.
        workdir: the run's directory; afterwards it holds d.keras, g.keras (advnet), experiment.json, metrics.csv,
            timings.csv, perturbations.png, checkpoints/ and events/ for TensorBoard.
        strategy: where to create the variables (`devices.make`); None for the default device. The minibatch is split over
            its replicas, which together do what one would.
        data_dir: TFDS directory.
        download: let TFDS fetch what is missing.
        checkpoint_seconds: time between checkpoints.
        progress: show a progress bar.
        wait: where another process trains in `workdir`, wait for it to end instead of raising.
        classifier: for the method generator, what its generators are trained against in place of the run that it needs: takes
            images in [0,1]. On the default device only.

    Returns:
        `workdir` as a path.

    Raises:
        UsageError: the minibatch does not split evenly over the replicas and the adversaries that share it out, or there are
            several replicas with `xla`.
        UserError: the directory belongs to a run with other settings, training images or classifier to build upon, is in use
            or cannot be written, the data set is missing, a loss is not finite, or another worker ended.
        Interrupted: SIGINT or SIGTERM came; a checkpoint is saved first.
    """
    workdir, strategy = Path(workdir), strategy or tf.distribute.get_strategy()
    experiment = experiment.trained()
    if not experiment.xla:
        make_deterministic()
    replicas.check_split(strategy, adversaries(experiment), experiment.batch_size)
    if experiment.xla and strategy.num_replicas_in_sync > 1:
        raise UsageError(f"xla: expected one replica with it, received {strategy.num_replicas_in_sync}")
    workers = Workers(strategy)
    with contextlib.ExitStack() as stack:
        stack.enter_context(workers.together(experiment.name))
        if workers.by_chief(lambda: _is_reusable(experiment, workdir, data_dir)):
            return workdir
        if workers.is_chief:
            busy = f"{workdir}: expected to be alone, found another process training there"
            stack.enter_context(locked(workdir / "lock", wait=wait, busy=busy))
        if workers.by_chief(lambda: _is_reusable(experiment, workdir, data_dir)):  # by the process that was waited for
            return workdir
        places = dict(data_dir=data_dir, download=download)
        training, validation = data.training_and_validation(experiment, **places)
        made_of = _identity(training)
        if not workers.alone:
            settings = json.dumps([made_of, experiment.settings()])
            digest = int(hashlib.sha256(settings.encode()).hexdigest()[:8], 16)
            workers.check_same(f"{experiment.name}: digest of settings and training images", digest)
        _check_begun_with(workdir, made_of)
        options = dict(places, strategy=strategy, checkpoint_seconds=checkpoint_seconds, progress=progress)
        needed = _needed(experiment, workdir, options) if classifier is None else None
        made_of |= _identity_of_classifier(classifier, needed)
        _check_begun_with(workdir, made_of)
        static = None
        if METHODS[experiment.method].static_examples:
            static = _static_perturbations(experiment, needed, training, devices.local(strategy), workers)
        description = {
            "experiment": experiment.settings(),
            "provenance": dict(
                commit=_joined(workdir, "commit", commit(), "+"),
                versions=_joined(workdir, "versions", versions(), "; "),
                machine=_joined(workdir, "machine", machine(), "; "),
                validation_images=len(validation.images),
                **made_of,
            ),
        }
        if workers.is_chief:
            remove_leftovers(workdir)
            write_text(workdir / "experiment.json", json.dumps(description, indent=2))
        with strategy.scope():
            players = make_players(experiment)
            if classifier is not None:
                players.d = classifier
            elif not METHODS[experiment.method].trains_classifier:
                players.d.set_weights(evaluation.load_classifier(needed, experiment.dataset).get_weights())
            run = _Run(experiment, workdir, players, workers, validation.first(VALIDATION_IMAGES), checkpoint_seconds)
            run.go(_training_batches(experiment, training, static, run.step), progress)
        shown = validation if experiment.validation else training
        workers.by_chief(lambda: _save_results(experiment, workdir, players, shown, description))
    return workdir


def is_finished(experiment: Experiment, workdir: Path) -> bool:
    """Whether the directory holds this experiment, trained to its end.

    Raises:
        UserError: it holds a run with other settings; the first that differs is named.
    """
    description = describe(workdir)
    if description is None:
        return False
    # A setting younger than the run has its default, which is what the code did then.
    defaults = {name: field.default for name, field in SETTINGS.items()}
    expected, defaults = json.loads(json.dumps([experiment.settings(), defaults]))
    found = defaults | description["experiment"]
    # The overrides only say which of the settings were asked for; the settings themselves are compared.
    for key in expected | found:
        if key != "overrides" and expected.get(key) != found.get(key):
            raise UserError(
                f"{workdir}: expected a run with {key} = {expected.get(key)}, found {found.get(key)} "
                "(--workdir names another directory)"
            )
    # A finished run that lost a file makes it again from its last checkpoint.
    return "finished" in description and all((workdir / name).exists() for name in _results_of(experiment))


# By where they are from: a table asks for those of each of its runs, and SVHN's with the extra ones take seconds.
_identities: dict[tuple, dict[str, Any]] = {}


def _is_reusable(experiment: Experiment, workdir: Path, data_dir: str | os.PathLike | None) -> bool:
    """Whether the directory holds this experiment, trained to its end, on the images at hand if there are any.

    Raises:
        UserError: it holds a run with other settings, or one on other images.
    """
    if not is_finished(experiment, workdir):
        return False
    read = ("dataset", "seed", "train_images", "validation", "extra_images", "extra_replacement")
    key = (data_dir, *(getattr(experiment, name) for name in read))
    if key not in _identities:
        # Results are of use where the images are not to be had.
        with contextlib.suppress(UserError):
            _identities[key] = _identity(data.training_and_validation(experiment, data_dir=data_dir)[0])
    _check_begun_with(workdir, _identities.get(key, {}))
    return True


def _identity(training: data.Images) -> dict[str, Any]:
    return {"training_images": len(training.images), "training_images_hash": evaluation.images_hash(*training)}


def _identity_of_classifier(given: keras.Model | None, needed: Path | None) -> dict[str, Any]:
    """Of the classifier that a run builds upon: the given one or that of the run it needs, if any."""
    if given is not None:
        weights = evaluation.weights_hash(given)
    elif needed is not None:
        weights = known_weights_hash(needed, "d.keras") or evaluation.weights_hash(evaluation.load_classifier(needed))
    else:
        return {}
    return {"classifier_weights": weights}


def _check_begun_with(workdir: Path, made_of: dict[str, Any]) -> None:
    """Raises a UserError where the directory has a run made of something else; an older one may not say of what."""
    begun = (describe(workdir) or {}).get("provenance", {})
    for name, received in made_of.items():
        if begun.get(name, received) != received:
            raise UserError(
                f"{workdir}: expected {name} = {begun[name]}, with which its run was begun, received {received} "
                "(go on with what it was begun with, or name another directory by --workdir or --runs)"
            )


def _results_of(experiment: Experiment) -> list[str]:
    method = METHODS[experiment.method]
    generators = len(experiment.generators) * method.trains_generator
    return (
        ["d.keras"] * method.trains_classifier
        + [generator_file(number) for number in range(generators)]
        + ["perturbations.png"]
    )


def _joined(workdir: Path, what: str, now: str, separator: str) -> str:
    """The commits, versions or machines that trained the run: this one, after those that began it."""
    begun = (describe(workdir) or {}).get("provenance", {}).get(what)
    return separator.join(dict.fromkeys([*(begun.split(separator) if begun else []), now]))


def _needed(experiment: Experiment, workdir: Path, options: dict[str, Any]) -> Path | None:
    """The run, trained now if need be, whose classifier this one builds upon."""
    needed = experiment.needs().get("classifier")
    return needed and train(needed, workdir.parent / needed.name, wait=True, **options)


def _static_perturbations(
    experiment: Experiment, source: Path, training: data.Images, strategy: tf.distribute.Strategy, workers: Workers
) -> np.ndarray:
    """The static examples of ensemble adversarial training, from the file in the directory of the run they are crafted on."""
    with strategy.scope():
        classifier = evaluation.load_classifier(source, experiment.dataset)
    chosen = [experiment.attack(name) for name in STATIC_ATTACKS]
    made_of = [evaluation.weights_hash(classifier), evaluation.images_hash(*training), experiment.bn_evaluation]
    identity = hashlib.sha256("".join(made_of + [attack.settings() for attack in chosen]).encode()).hexdigest()[:16]
    file = source / f"static_examples-{identity}.npy"

    def craft() -> None:
        remove_leftovers(source)
        if not file.exists():
            with strategy.scope():
                crafted = static_examples(chosen, classifier, training, bn_evaluation=experiment.bn_evaluation)
            write_hashed(file, lambda temporary: np.save(temporary, crafted))

    workers.by_chief(craft)
    advice = "remove it to craft them again"
    check_hashed(file, "static examples", advice)
    try:
        examples = map_npy(file)
    except (OSError, NoArrays) as error:
        raise UserError(f"{file}: expected static examples, found: {reason(error)} ({advice})") from None
    shape = (len(STATIC_ATTACKS), *training.images.shape)
    if examples.shape != shape or examples.dtype != np.int8:
        raise UserError(f"{file}: expected static examples {shape}, found {examples.dtype} {examples.shape} ({advice})")
    return examples


def _training_batches(experiment: Experiment, training: data.Images, static: np.ndarray | None, start: int) -> tf.data.Dataset:
    return data.batches(
        *training,
        experiment.batch_size,
        training=True,
        seed=experiment.seed,
        augment=experiment.augment_pad,
        start=start,
        perturbations=static,
        paired=METHODS[experiment.method].trains_generator,
        epsilon=experiment.epsilon,
    )


def _save_results(
    experiment: Experiment, workdir: Path, players: Players, shown: data.Images, description: dict[str, Any]
) -> None:
    if experiment.precision != "float32":
        trained, players = players, make_players(dataclasses.replace(experiment, precision="float32"))
        players.take_weights(trained)
    models = {"d.keras": players.d} if METHODS[experiment.method].trains_classifier else {}
    models |= {generator_file(position): g for position, g in enumerate(players.generators)}
    hashes = {}
    for name, model in models.items():
        write_whole(workdir / name, model.save)
        hashes[name] = {"file": evaluation.file_hash(workdir / name), "weights": evaluation.weights_hash(model)}
    pictures.save(_picture(experiment, players, shown.first(8)), workdir / "perturbations.png")
    write_text(workdir / "experiment.json", json.dumps({**description, "finished": True, "hashes": hashes}, indent=2))


def _picture(experiment: Experiment, players: Players, shown: data.Images) -> Any:
    """A figure of images, perturbed by G, or by PGD where there is none, and of what D sees in them."""
    name, source = ("pgd", players.d) if players.g is None else ("generator", players.g)
    attacks = {"perturbation": (experiment.attack(name), source)}
    made = gallery.make(players.d, shown, attacks, bn_evaluation=experiment.bn_evaluation)
    return gallery.draw(made, experiment.dataset)


class _Run:
    """The loop's state: players, step, checkpoints, and the files that it logs to."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: Path,
        players: Players,
        workers: Workers,
        validation: data.Images,
        checkpoint_seconds: float,
    ):
        self.experiment, self.workdir, self.players, self.workers = experiment, workdir, players, workers
        self.validation = validation
        self.checkpoint_seconds = checkpoint_seconds
        self.log_every = min(20, max(1, experiment.steps // 100))
        self.validate_every = max(10, experiment.steps // 10)
        self.accuracies: dict[str, float] = {}
        self.comparison = RegulariserComparison(experiment) if experiment.compare_regulariser else None
        self.checkpoints = Checkpoints(workdir / "checkpoints", state=players.variables())
        self.step = self._restore()
        self.events = None
        if workers.is_chief:
            self.metrics = Log(workdir / "metrics.csv", METRICS, self.step, every=self.log_every)
            self.timings = Log(workdir / "timings.csv", TIMINGS, self.step, every=self.log_every)
            self.events = Events(workdir / "events", experiment, begins=self.step == 0)
        self.unchecked: list[tuple[int, Scalars]] = []

    def _restore(self) -> int:
        """The step to go on from, everything restored; the chief goes first, since it also removes what is damaged."""
        step = self.workers.by_chief(self.checkpoints.restore)
        found = step if self.workers.is_chief else self.checkpoints.restore_last()
        self.workers.check_same(f"{self.workdir}: step of the last checkpoint", found)
        return step

    def go(self, batches: tf.data.Dataset, progress: bool) -> None:
        """Runs the remaining steps."""
        experiment = self.experiment
        update = STEPS[experiment.method]
        bar = tqdm(
            total=experiment.steps,
            initial=self.step,
            desc=experiment.name,
            disable=not (progress and self.workers.is_chief),
            dynamic_ncols=True,
            mininterval=1,
        )
        saved = timed = time.monotonic()
        timed_step = self.step
        with bar, _stop_requests() as stop:
            for x, y in batches.take(experiment.steps - self.step):
                with self.events.graph() if self.events and self.step == 0 else contextlib.nullcontext():
                    scalars = update(self.players, x, y, experiment, (experiment.seed, self.step))
                self.step += 1
                self.unchecked.append((self.step, scalars))
                bar.update()
                last = self.step == experiment.steps
                validate = self.step % self.validate_every == 0 or last
                if self.step % self.log_every == 0 or validate:
                    values = self._checked()
                    seconds = time.monotonic() - timed
                    if self.comparison and validate:
                        measured = self.comparison.measure(self.players, x, y, (experiment.seed, self.step))
                        values |= self._finite(self.step, measured)
                    timing = {"seconds": seconds, "steps_per_second": (self.step - timed_step) / seconds}
                    if self.workers.is_chief:
                        self._log(values, timing, bar, validate=validate)
                    timed, timed_step = time.monotonic(), self.step
                due = self.workers.is_chief and time.monotonic() - saved > self.checkpoint_seconds
                due, *stopping = self.workers.total(due, *(stop[:1] == [number] for number in _STOPPING))
                if due or last or any(stopping):
                    self._save()
                    saved = time.monotonic()
                if any(stopping):
                    raise Interrupted(
                        next(number for number, asked in zip(_STOPPING, stopping, strict=True) if asked),
                        f"{experiment.name}: stopped at step {self.step} of {experiment.steps}; "
                        "the same command goes on from there",
                    )

    def _checked(self) -> dict[str, float]:
        """The last step's scalars, after a look at those of every step since the last call, so that no step waits for it."""
        for step, scalars in self.unchecked:
            values = self._finite(step, scalars)
        self.unchecked.clear()
        return values

    def _finite(self, step: int, scalars: Scalars) -> dict[str, float]:
        values = {name: float(value) for name, value in scalars.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise UserError(
                    f"{self.experiment.name} step {step}: expected a finite {name}, found {value} (the last checkpoint is kept)"
                )
        return values

    def _save(self) -> None:
        if self.unchecked:
            self._checked()
        weights = [tf.cast(variable, tf.float32) for variable in self.players.variables() if variable.dtype.is_floating]
        self._finite(self.step, {"weight": tf.linalg.global_norm(weights)})
        if self.workers.is_chief:
            self.checkpoints.save(self.step)

    def _log(self, values: dict[str, float], timing: dict[str, float], bar: tqdm, *, validate: bool) -> None:
        rates = [part.learning_rate.numpy() for part in (self.players.d_optimizer, self.players.g_optimizer) if part]
        values["learning_rate"] = float(rates[0])
        validated = self._validate() if validate else {}
        self.metrics.add(self.step, {**values, **validated})
        self.timings.add(self.step, timing)
        further = {"generator_learning_rate": float(rates[-1]), "steps_per_second": timing["steps_per_second"]}
        self.events.scalars(self.step, {**values, **validated, **further})
        self.accuracies.update(validated)
        shown = {name: f"{value:.3g}" for name, value in values.items() if "loss" in name}
        bar.set_postfix(
            {**shown, **{name.removeprefix("validation_"): f"{value:.3f}" for name, value in self.accuracies.items()}},
            refresh=False,
        )

    def _validate(self) -> dict[str, float]:
        """Accuracies on the first validation images, and a picture of some of them for TensorBoard."""
        if not len(self.validation.images):
            return {}
        players, experiment = self.players, self.experiment
        sources = {}
        if METHODS[experiment.method].trains_classifier:
            sources = {"clean": players.d, "fgs": players.d, "pgd": players.d}
        if players.g is not None:
            sources["generator"] = players.g
        result = {
            f"validation_{name}": evaluation.accuracy(
                players.d,
                *self.validation,
                attack=experiment.attack(name),
                source=source,
                bn_evaluation=experiment.bn_evaluation,
            )
            for name, source in sources.items()
        }
        figure = _picture(experiment, players, self.validation.first(8))
        self.events.image(self.step, "perturbations", pictures.pixels(figure))
        return result


@contextlib.contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """A list that receives the first SIGINT or SIGTERM instead of the process, so that a step is never cut in two."""
    received: list[int] = []
    previous: dict[int, Any] = {}

    def receive(number: int, _: Any) -> None:
        received.append(number)
        for other, handler in previous.items():
            signal.signal(other, handler)

    try:
        for number in _STOPPING:
            previous[number] = signal.signal(number, receive)
    except ValueError:
        pass  # Not the main thread: whoever runs it there handles the signals.
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
