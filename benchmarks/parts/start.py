"""The time from the command line to a training step."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.comparison import Options, lines_of
from benchmarks.processes import ROOT, TIMEOUT, Failed, ending, no_answer
from benchmarks.results_file import Line
from benchmarks.side_by_side import Times

IMPORT, FIRST = "import tensorflow, keras", "{} advnet to step 1"
# What a command runs to reach step 20.
_TO_STEP_20 = "from benchmarks import contenders; step = contenders.{}\nfor _ in range(20): step()"
_CONTENDERS = {"ours": "ours('{}')", "ours, plain": "ours('{}', mode='plain')", "literal": "literal('{}')"}


def seconds_of_code(code: str, timeout: float = TIMEOUT) -> float:
    """Seconds of a process of Python that runs this code.

    Raises:
        Failed: the process failed, or did not end in time.
    """
    began = time.time()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise Failed(no_answer(timeout)) from None
    if done.returncode:
        raise Failed(ending(done.returncode))
    return time.time() - began


def seconds_to_first_step(dataset: str, timeout: float = TIMEOUT) -> float:
    """Seconds from starting main.py to the end of its first training step, when it writes its first checkpoint.

    Raises:
        Failed: the process ended before that, or did not get there in time.
    """
    command = [sys.executable, "main.py", f"--dataset={dataset}", "--method=advnet", "--width=8", "--steps=100000"]
    command += ["--noprogress", "--checkpoint_seconds=0"]
    if data_dir := os.environ.get("TFDS_DATA_DIR"):
        command.append(f"--data_dir={data_dir}")
    with tempfile.TemporaryDirectory() as place:
        checkpoint = Path(place) / "run" / "checkpoints" / "checkpoint"
        began = time.time()
        command += [f"--workdir={place}/run", f"--results={place}/results"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while not checkpoint.exists() and process.poll() is None and time.time() < began + timeout:
                time.sleep(0.005)
            code = process.poll()
            process.kill()
        if checkpoint.exists():
            return checkpoint.stat().st_mtime - began
        raise Failed(no_answer(timeout) if code is None else ending(code))


def in_turns(measures: Mapping[str, Callable[[], float]], rounds: int) -> Times:
    """What each function returns in each round; one that fails drops out."""
    seconds: dict[str, list[float]] = {name: [] for name in measures}
    failures: dict[str, str] = {}
    for _ in range(rounds):
        for name in [name for name in measures if name not in failures]:
            try:
                seconds[name].append(measures[name]())
            except Failed as failed:
                failures[name] = str(failed)
    return Times({name: own for name, own in seconds.items() if name not in failures}, failures)


def start(options: Options) -> Iterator[Line]:
    """The time from the command line to step 1, with decoded data, and to step 20, beside plain mode and the literal graph."""
    repeats = options.rounds_of(5)
    imports = in_turns({"-": lambda: seconds_of_code(IMPORT)}, repeats)
    yield from (_without_ratio(line) for line in lines_of("start", IMPORT, ["-"], imports))
    for dataset in ("mnist", "cifar10"):
        case = FIRST.format(dataset)
        firsts = in_turns({"ours": lambda name=dataset: seconds_to_first_step(name)}, repeats)
        yield from (_without_ratio(line) for line in lines_of("start", case, ["ours"], firsts))
        if firsts.seconds and imports.seconds:
            ratios = [first / one for first, one in zip(firsts.seconds["ours"], imports.seconds["-"], strict=True)]
            line: Line = dict(part="start", case=case, contender="ours", value=round(statistics.median(ratios), 2))
            yield line | dict(unit="times the import", rounds=repeats)
        codes = {name: _TO_STEP_20.format(call.format(dataset)) for name, call in _CONTENDERS.items()}
        times = in_turns({name: lambda own=code: seconds_of_code(own) for name, code in codes.items()}, options.rounds_of(3))
        yield from lines_of("start", f"{dataset} advnet to step 20", codes, times)


def _without_ratio(line: Line) -> Line:
    """A line of what has nothing beside it."""
    return {name: value for name, value in line.items() if name not in ("ratio_to_ours", "quartiles")}
