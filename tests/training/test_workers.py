"""Two worker processes on this machine: they train like one, stop and go on together, and refuse what cannot work."""

import contextlib
import functools
import json
import os
import random
import re
import signal
import socket
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import training
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import experiment
from adv_networks.runtime import devices, workers
from benchmarks.kill import listed, outcome, unfinished
from tests.conftest import precision
from tests.training.helpers import changed

STEPS = 30
RUN = ["--method=standard", "--scale=tiny", f"--steps={STEPS}", "--validation=0", "--checkpoint_seconds=0", "--noprogress"]


def train_in_float64(workdir, strategy):
    spec = experiment(
        "digits", "advnet", scale="tiny", steps=3, generators=("released_mnist",), generator_width=4, validation=0
    )
    in_float64 = changed("advnet", batches=lambda rows: rows.map(lambda x, y: (tf.cast(x, "float64"), y)))
    with precision("float64"), in_float64:
        training.train(spec, workdir, strategy=devices.make(strategy), progress=False)


def cluster(index, *ports):
    addresses = [f"127.0.0.1:{port}" for port in ports]
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


def free_ports():
    """Two ports below those that outgoing connections get, which might be given away before the workers take them."""
    while True:
        ports = random.SystemRandom().sample(range(10_000, 30_000), 2)
        with socket.socket() as one, socket.socket() as other, contextlib.suppress(OSError):
            for each, port in zip((one, other), ports, strict=True):
                each.bind(("127.0.0.1", port))
            return ports


def both(start, *arguments):
    """Starts the chief and the other worker of a cluster."""
    ports = free_ports()
    return [start(*arguments, TF_CONFIG=cluster(index, *ports)) for index in (0, 1)]


def wait_for_checkpoint(workdir, after, *processes):
    while not (steps := listed(workdir)) or steps[-1] <= after:
        assert all(process.is_alive() for process in processes), [process.said() for process in processes]
        time.sleep(0.01)


def distance(run, expected):
    models = [[keras.models.load_model(place / name) for name in ("d.keras", "g.keras")] for place in (run, expected)]
    found, wanted = (np.concatenate([weight.ravel() for model in own for weight in model.get_weights()]) for own in models)
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.mark.long
def test_two_workers_do_what_one_process_does(fork, tmp_path):
    one = fork(train_in_float64, tmp_path / "one", "one")
    for process in [one, *both(functools.partial(fork, train_in_float64), tmp_path / "two", "multi_worker")]:
        assert process.wait() == 0, process.said()
    assert distance(tmp_path / "two", tmp_path / "one") < 1e-10


@pytest.mark.slow
def test_stopped_and_killed_workers_go_on_and_end_with_the_same_bits(start, tmp_path):
    def start_both(place):
        return both(start, ["--strategy=multi_worker", *RUN, f"--workdir={place}/run", f"--results={tmp_path}/results"])

    chief, other = start_both(tmp_path / "whole")
    assert (chief.wait(), other.wait()) == (0, 0), [process.said() for process in (chief, other)]
    assert "standard (A)" in chief.said()
    assert other.said() == ""

    place, run = tmp_path / "stopped", tmp_path / "stopped" / "run"
    chief, other = start_both(place)
    wait_for_checkpoint(run, 0, chief, other)
    os.kill(other.pid, signal.SIGTERM)
    assert (chief.wait(), other.wait()) == (128 + signal.SIGTERM,) * 2
    assert re.fullmatch(rf"main.py: .*: stopped at step \d+ of {STEPS}; the same command continues from there\n", other.said())
    assert chief.said() == other.said()
    stopped = listed(run)[-1]
    assert f"step {stopped} " in other.said()

    chief, other = start_both(place)
    wait_for_checkpoint(run, stopped, chief, other)
    os.kill(chief.pid, signal.SIGKILL)
    assert (chief.wait(), other.wait()) == (-signal.SIGKILL, 1)
    assert re.fullmatch(r"main.py: .*: expected every worker to keep running, lost one .*; restart all of them\n", other.said())

    chief, other = start_both(place)
    assert (chief.wait(), other.wait()) == (0, 0), [process.said() for process in (chief, other)]
    assert outcome(run) == outcome(tmp_path / "whole" / "run")
    assert unfinished(run) == []


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (None, "none"),
        ("workers", "JSONDecodeError"),
        ("[]", "TypeError"),
        (json.dumps({"cluster": {"worker": ["localhost:1"]}}), "KeyError 'task'"),
        (cluster(2, 1, 2), "task 2 of 2"),
        (cluster(0, 1).replace("worker", "ps"), "jobs ps"),
    ],
)
def test_workers_that_nobody_names_are_refused(config, found, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UsageError, match=f"multi_worker: expected TF_CONFIG=.*, found .*{found}"):
        devices.make("multi_worker")


def test_worker_of_another_command_or_other_files_is_refused():
    class Second(workers.Workers):
        """One whose chief says 7."""

        def total(self, *numbers):
            return [number + 7 for number in numbers]

    workers.Workers(devices.make("one")).check_same("step", 8)
    second = Second(devices.make("one"))
    second.is_chief = False
    second.check_same("step", 7)
    with pytest.raises(UserError, match="step: expected 7, the chief's value, found 8"):
        second.check_same("step", 8)
