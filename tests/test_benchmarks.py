"""The benchmark goes on where a contender ends early, and keeps what other machines measured."""

import csv
import os
import signal

import pytest

from benchmarks import run, side_by_side


def lasting():
    """A contender that does nothing."""
    return lambda: None


def crashing(after):
    """One that is killed in the call of that number."""
    calls = iter(range(1, 10**9))
    return lambda: os.kill(os.getpid(), signal.SIGSEGV) if next(calls) == after else None


def raising():
    """One that cannot be made."""
    raise RuntimeError("not installed")


@pytest.fixture
def contenders():
    module = "tests.test_benchmarks"
    return {
        "ours": (module, "lasting", {}),
        "crashes at first": (module, "crashing", dict(after=1)),
        "crashes later": (module, "crashing", dict(after=5)),
        "raises": (module, "raising", {}),
        "other": (module, "lasting", {}),
    }


def test_contenders_that_end_early_leave_the_others_alone(contenders):
    seconds, failures = side_by_side.seconds_per_call(contenders, rounds=4, least=0)
    assert {name: len(times) for name, times in seconds.items()} == {"ours": 4, "other": 4}
    assert failures == {
        "crashes at first": "ended by SIGSEGV",
        "crashes later": "ended by SIGSEGV",
        "raises": "ended with exit code 1",
    }


def test_lines_of_other_machines_stay_and_failures_are_said(contenders, tmp_path, monkeypatch):
    results = tmp_path / "results.csv"
    known = dict.fromkeys(run.FIELDS, "") | dict(part="steps", case="a step", contender="ours", unit="seconds", value="9")
    side_by_side.write_lines(results, [known | dict(machine="another"), known | dict(machine=run.machine())])
    monkeypatch.setitem(run.PARTS, "steps", lambda options: run.compared("steps", "a step", contenders, options))
    run.main(["--only=steps", "--rounds=2"], results)
    with results.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["machine"] == "another" for line in lines].count(True) == 1
    found = {line["contender"]: line for line in lines if line["machine"] == run.machine()}
    assert len(lines) == 1 + len(found) == 1 + len(contenders)
    assert found["ours"]["ratio_to_ours"] == "1.0"
    assert float(found["other"]["value"]) >= 0
    assert (found["raises"]["value"], found["raises"]["note"]) == ("failed", "ended with exit code 1")
