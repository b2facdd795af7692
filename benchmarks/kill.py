"""Kills runs with kill -9, starts them again, and compares their results bit by bit with those of an uninterrupted run.

    python -m benchmarks.kill                      20 kills of each method, 8 of them aimed at checkpoint writes
    python -m benchmarks.kill --methods=pgd --kills=4 --aimed=2

The run is `python main.py` on the embedded digits. Prints a table and writes benchmarks/kill.csv, which keeps its lines of
other methods. The exit code is 1 if a run ended with other results, or if too few kills hit a checkpoint write.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.results_file import write_lines

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SETTINGS = {
    "standard": ["--steps=200"],
    "pgd": ["--steps=100"],
    "advnet": ["--steps=30", "--generators=released_mnist", "--width=4"],
    "noise": ["--steps=200"],
    "contrastive": ["--steps=200"],
    "teacher": ["--steps=200"],
    "distillation": ["--steps=200"],
    "magnet": ["--steps=200"],
    "magnet_grey": ["--steps=100", "--autoencoder_width=1"],
    "defense_gan": ["--steps=100", "--gan_width=4", "--gan_latent=8", "--critic_steps=2", "--projection_steps=2"],
    "reconstructed": ["--steps=200", "--gan_width=4", "--gan_latent=8", "--critic_steps=2", "--reconstruction_steps=2"],
}


@dataclasses.dataclass(frozen=True)
class Kill:
    """One kill: its aim, its time, the state in which it met the run, and whether the resumed run ended as it should."""

    method: str
    number: int
    aim: str
    seconds: float
    checkpoint: int
    logged: int
    inside_write: bool
    identical: bool
    tidy: bool


class Process:
    """A `python main.py`; tests have a faster kind of the same interface."""

    def __init__(self, arguments: list[str]):
        self.popen = subprocess.Popen(
            [sys.executable, "main.py", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.pid = self.popen.pid

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self.popen.poll() is None

    def wait(self) -> int:
        """Waits for the end, and returns the exit code; if the process failed, its standard error is printed."""
        _, error = self.popen.communicate()
        if self.popen.returncode > 0:
            print(error, file=sys.stderr)
        return self.popen.returncode


def outcome(workdir: Path) -> tuple[dict[str, bytes], dict[str, str], bytes]:
    """The bits that must not depend on how often a run was stopped: its state, weights and metrics."""
    import tensorflow as tf

    saved = tf.train.load_checkpoint(tf.train.latest_checkpoint(workdir / "checkpoints"))
    # The object graph has names that count the networks made in the process.
    names = [name for name in saved.get_variable_to_shape_map() if name != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    hashes = json.loads((workdir / "experiment.json").read_text())["hashes"]
    weights = {name: known["weights"] for name, known in hashes.items()}
    return {name: saved.get_tensor(name).tobytes() for name in names}, weights, (workdir / "metrics.csv").read_bytes()


def listed(workdir: Path) -> list[int]:
    """The steps of the checkpoints that count, ascending."""
    file = workdir / "checkpoints" / "checkpoint"
    return [int(step) for step in re.findall(r'all_\w+: "ckpt-(\d+)"', file.read_text())] if file.exists() else []


def unfinished(workdir: Path) -> list[str]:
    """The files of checkpoints that do not count, and temporary files."""
    counted = {f"ckpt-{step}{end}" for step in listed(workdir) for end in (".index", ".data-00000-of-00001")}
    checkpoints = [file.name for file in workdir.glob("checkpoints/ckpt-*") if file.name not in counted]
    return checkpoints + [file.name for file in workdir.rglob(".*.writing-*")]


def kill(process: Any, workdir: Path, aim: str, after: float) -> float | None:
    """Kills a process `after` seconds of training, or in the next checkpoint write after that.

    Returns the seconds from the start of training; None if the process ended before.
    """
    while not (workdir / "timings.csv").exists():
        if not process.is_alive():
            return None
        time.sleep(0.001)
    began = time.monotonic()
    time.sleep(after)
    if aim == "write":
        while process.is_alive() and not any((workdir / "checkpoints").glob("*_temp")):
            pass
    if not process.is_alive():
        return None
    os.kill(process.pid, signal.SIGKILL)
    seconds = time.monotonic() - began
    return seconds if process.wait() == -signal.SIGKILL else None


def _run(method: str, place: Path, start: Callable[[list[str]], Any]) -> tuple[Any, Path]:
    """Starts a process that trains in `place`; returns it and the run's directory."""
    workdir = place / "run"
    options = [f"--workdir={workdir}", f"--results={place}/results", "--checkpoint_seconds=0.1", "--noprogress"]
    return start([f"--method={method}", "--scale=tiny", *SETTINGS[method], *options]), workdir


def kills(method: str, count: int, aimed: int, place: Path, start: Callable[[list[str]], Any] = Process) -> list[Kill]:
    """Kills `count` runs of a method, each once, the first `aimed` in a checkpoint write, and resumes each to its end."""
    process, whole = _run(method, place / "whole", start)
    if process.wait() != 0:
        raise SystemExit(f"{method}: the run that was left alone failed")
    with (whole / "timings.csv").open() as file:
        duration = sum(float(line["seconds"]) for line in csv.DictReader(file))
    expected, moments, found = outcome(whole), random.Random(f"{method} 0"), []
    for attempt in range(3 * count):
        aim = "write" if len(found) < aimed else "any"
        process, workdir = _run(method, place / f"run{attempt}", start)
        seconds = kill(process, workdir, aim, moments.uniform(0, duration))
        if seconds is None:  # The run ended before its kill, because the machine was faster than when the other run was timed.
            process.wait()
            continue
        inside, steps = any("ckpt" in name for name in unfinished(workdir)), listed(workdir)
        logged = (workdir / "metrics.csv").read_text().splitlines()[-1].split(",")[0]
        process, _ = _run(method, place / f"run{attempt}", start)
        identical = process.wait() == 0 and outcome(workdir) == expected
        found.append(
            Kill(
                method,
                len(found) + 1,
                aim,
                round(seconds, 3),
                steps[-1] if steps else 0,
                int(logged) if logged.isdigit() else 0,
                inside,
                identical,
                not unfinished(workdir),
            )
        )
        print(
            "{method:<9} {number:>3} {aim:<6}{seconds:8.3f} {checkpoint:>10} {logged:>6} {inside_write!s:>12} {identical!s:>9} "
            "{tidy!s:>5}".format(**dataclasses.asdict(found[-1])),
            flush=True,
        )
        if len(found) == count:
            break
    return found


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(SETTINGS), help="of " + ", ".join(SETTINGS))
    parser.add_argument("--kills", type=int, default=20, help="of each method")
    parser.add_argument("--aimed", type=int, default=8, help="of them at checkpoint writes")
    options = parser.parse_args()
    print(" ".join(field.name for field in dataclasses.fields(Kill)))
    methods, found = options.methods.split(","), []
    for method in methods:
        with tempfile.TemporaryDirectory() as place:
            found += kills(method, options.kills, options.aimed, Path(place))
    results = ROOT / "benchmarks" / "kill.csv"
    with results.open(newline="", encoding="utf-8") as known:
        others = [line for line in csv.DictReader(known) if line["method"] not in methods]
    write_lines(results, [*others, *map(dataclasses.asdict, found)])
    good = True
    for method in methods:
        own = [one for one in found if one.method == method]
        same, inside = sum(one.identical and one.tidy for one in own), sum(one.inside_write for one in own)
        print(f"{method}: {same} of {options.kills} ended with the same bits; {inside} kills hit a checkpoint write")
        good &= same == options.kills and inside >= options.kills // 4
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
