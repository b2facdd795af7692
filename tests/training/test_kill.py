"""Real processes: killed in training and in evaluation, and two on one run."""

import dataclasses
import os
import signal
import time

import pytest

from adv_networks.storage import records
from adv_networks.storage.files import locked
from benchmarks import kill

pytestmark = pytest.mark.slow

SMALL = ["--scale=tiny", "--generators=released_mnist", "--width=4", "--validation=0", "--noprogress"]


def test_killed_runs_go_on_and_end_with_the_same_bits(start, tmp_path):
    small = ["--classifier=mlp", "--classifier_width=4", "--pgd_steps=2", "--test_images=16"]
    found = kill.kills("pgd", 2, 1, tmp_path, lambda arguments: start([*arguments, *small]))
    assert [one.identical and one.tidy for one in found] == [True] * 2, found
    assert any(one.inside_write for one in found)


@pytest.mark.long
@pytest.mark.parametrize("method", ["teacher", "reconstructed"])
def test_killed_classifier_of_a_defence_goes_on_and_ends_with_the_same_bits(method, start, tmp_path):
    small = ["--classifier=mlp", "--classifier_width=4", "--pgd_steps=2", "--test_images=16"]
    found = kill.kills(method, 1, 0, tmp_path, lambda arguments: start([*arguments, *small]))
    assert [one.identical and one.tidy for one in found] == [True], found


def test_second_process_is_refused_until_the_first_is_killed(start, tmp_path):
    arguments = ["--method=standard", "--steps=100000", *SMALL, f"--workdir={tmp_path}/run", f"--results={tmp_path}/results"]
    first = start(arguments)
    while not (tmp_path / "run" / "timings.csv").exists():
        assert first.is_alive()
        time.sleep(0.01)
    second = start(arguments)
    assert second.wait() == 1
    assert second.said() == f"main.py: {tmp_path}/run: expected to be alone, found another process training there\n"
    assert first.is_alive()
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    with locked(tmp_path / "run" / "lock", wait=False):
        pass


@pytest.mark.long
def test_killed_grid_goes_on_with_the_records_that_it_lacks(start, tmp_path):
    arguments = ["--method=advnet", "--steps=1", *SMALL, f"--workdir={tmp_path}/run"]

    def evaluate(name):
        process = start([*arguments, f"--results={tmp_path / name}"])
        return process, next(iter((tmp_path / name).rglob("records.csv")), None)

    def numbers(name):
        (file,) = (tmp_path / name).rglob("records.csv")
        return [dataclasses.replace(record, seconds=0) for record in records.read(file)]

    process, _ = evaluate("whole")
    assert process.wait() == 0
    whole = numbers("whole")
    assert [record.attack for record in whole] == ["clean", "fgs", "pgd", "generator"]
    (file,) = (tmp_path / "whole").rglob("records.csv")
    file = tmp_path / "killed" / file.relative_to(tmp_path / "whole")
    process, _ = evaluate("killed")
    while not file.exists() or len(records.read(file)) < 2:
        assert process.is_alive()
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = numbers("killed")
    assert 2 <= len(kept) < 4 and kept == whole[: len(kept)]
    written = [record.seconds for record in records.read(file)]
    process, _ = evaluate("killed")
    assert process.wait() == 0
    assert [record.seconds for record in records.read(file)][: len(kept)] == written
    assert numbers("killed") == whole
    assert [name.name for name in file.parent.iterdir() if ".writing-" in name.name] == []
