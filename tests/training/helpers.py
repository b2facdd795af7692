"""What the tests of trainings share: tiny experiments on the digits, and methods that do something before a step."""

import contextlib
import csv
import os
import signal
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from adv_networks import training
from adv_networks.errors import Interrupted
from adv_networks.experiments import METHODS, experiment


def tiny(method, **overrides):
    """Of a perceptron, whose graphs are built in two thirds of the time of D1's; validated where it has a generator."""
    small = dict(steps=6, classifier="mlp", classifier_width=8, generators=("released_mnist",), generator_width=4)
    unvalidated = {} if METHODS[method].trains_generator else dict(validation=0)
    return experiment("digits", method, scale="tiny", **(small | unvalidated | overrides))


def train(spec, workdir, *, drawn=False, **options):
    """Trains a run. Its pictures are empty unless `drawn`: crafting what real ones show takes as long as a few steps."""
    with contextlib.nullcontext() if drawn else undrawn():
        return training.train(spec, workdir, progress=False, **options)


@contextlib.contextmanager
def undrawn():
    """Inside, each method draws empty pictures, under the names of its real ones."""

    def pictures(method, players, shown, spec):
        found = {Path(file).stem: Figure((0.5, 0.5)) for file in method.files(spec) if file.endswith(".png")}
        for figure in found.values():
            FigureCanvasAgg(figure)
        return found

    with pytest.MonkeyPatch.context() as patched:
        for name, method in METHODS.items():
            patched.setitem(METHODS, name, type("Undrawn", (type(method),), {"pictures": pictures})())
        yield


def metrics(workdir):
    with (workdir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@contextlib.contextmanager
def changed(name, *, before=lambda players, x, y, spec, seed: None, batches=lambda rows: rows):
    """In its context the method of that name calls `before` ahead of every step, and passes its batches through `batches`.

    What `before` returns, if anything, is the minibatch in place of x and y.
    """

    class Changed(type(METHODS[name])):
        def step(self, players, x, y, spec, seed):
            x, y = before(players, x, y, spec, seed) or (x, y)
            return super().step(players, x, y, spec, seed)

        def batches(self, *arguments, **options):
            return batches(super().batches(*arguments, **options))

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(METHODS, name, Changed())
        yield


def stopped(spec, workdir, step, *, number=signal.SIGTERM):
    """Trains so many steps of a run, and ends it as a signal does."""

    def interrupt(players, x, y, spec, seed):
        if seed[1] + 1 == step:
            os.kill(os.getpid(), number)

    with changed(spec.method, before=interrupt), pytest.raises(Interrupted, match=f"stopped at step {step} of ") as stop:
        train(spec, workdir)
    assert stop.value.signal_number == number


def crashed(spec, workdir, step, **options):
    """Trains a run until a step fails, which leaves what kill -9 leaves."""

    class Crash(Exception):
        pass

    def crash(players, x, y, spec, seed):
        if seed[1] + 1 == step:
            raise Crash

    with changed(spec.method, before=crash), pytest.raises(Crash):
        train(spec, workdir, **options)
