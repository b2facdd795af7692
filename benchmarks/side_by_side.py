"""Times contenders in turns, each in its own process, so that changes in the machine's speed affect all of them."""

from __future__ import annotations

import csv
import importlib
import math
import multiprocessing
import os
import resource
import signal
import statistics
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(ROOT))  # Spawned processes need it too.

# Environment variables that choose kernels and threads.
_SETTINGS = (
    "TF_ENABLE_ONEDNN_OPTS",
    "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)

# A module, its function that returns the call to time, and the function's arguments.
Contender = tuple[str, str, dict[str, Any]]


def _work(contender: Contender, pipe: Connection) -> None:
    module, function, arguments = contender
    call = getattr(importlib.import_module(module), function)(**arguments)
    call()
    call()
    pipe.send("ready")
    while (count := pipe.recv()) > 0:
        began = perf_counter()
        for _ in range(count):
            call()
        pipe.send(((perf_counter() - began) / count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


class Contestant:
    """A contender in its own process, which may end at any time."""

    def __init__(self, contender: Contender):
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_work, args=(contender, other), daemon=True)
        self._process.start()
        other.close()
        self.failure: str | None = None

    def ask(self, count: int) -> float:
        """The mean seconds of `count` calls; NaN if the process has ended."""
        if self.failure is None:
            try:
                self._pipe.send(count)
                return self._pipe.recv()[0]
            except (EOFError, OSError):
                self._note_failure()
        return math.nan

    def wait_until_ready(self) -> None:
        """Waits until the contender has made its first calls, or has failed."""
        try:
            self._pipe.recv()
        except (EOFError, OSError):
            self._note_failure()

    def end(self) -> None:
        """Ends the process, so that the next contenders have the machine for themselves."""
        if self.failure is None:
            self._pipe.send(0)
        self._process.join()

    def _note_failure(self) -> None:
        self._process.join()
        code = self._process.exitcode
        self.failure = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


class Times(NamedTuple):
    """The seconds of a call by contender and round, and the reasons of contenders that failed."""

    seconds: dict[str, list[float]]
    failures: dict[str, str]


def seconds_per_call(contenders: Mapping[str, Contender], rounds: int = 7, least: float = 0.5) -> Times:
    """Times each contender in every round, in the order A B C C B A …. A turn takes `least` seconds, or one call.

    If a contender's process ends early (a crash, an exception), it drops out, and the others continue.
    """
    contestants = {}
    for name, contender in contenders.items():
        contestants[name] = Contestant(contender)
        contestants[name].wait_until_ready()
    first = {name: contestant.ask(1) for name, contestant in contestants.items()}
    counts = {name: max(1, round(least / one)) for name, one in first.items() if not math.isnan(one)}
    seconds: dict[str, list[float]] = {name: [] for name in counts}
    for number in range(rounds):
        for name in list(counts)[:: -1 if number % 2 else 1]:
            seconds[name].append(contestants[name].ask(counts[name]))
    failures = {name: contestant.failure for name, contestant in contestants.items() if contestant.failure is not None}
    for contestant in contestants.values():
        contestant.end()
    return Times({name: own for name, own in seconds.items() if name not in failures}, failures)


def quartiles(slower: Sequence[float], faster: Sequence[float]) -> list[float]:
    """The lower quartile, the median and the upper quartile of the rounds' ratios."""
    return statistics.quantiles((a / b for a, b in zip(slower, faster, strict=True)), method="inclusive")


def write_lines(file: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Writes a benchmark's lines as CSV."""
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def machine() -> str:
    """The processor, its number of cores, its widest instructions, environment variables, and versions of the libraries."""
    from importlib.metadata import PackageNotFoundError, version

    from adv_networks.runtime import processor

    words = [f"{processor.cores()} x {processor.name()} ({_instructions(processor.features())})"]
    words += [f"{name}={os.environ[name]}" for name in _SETTINGS if name in os.environ]
    for package in ("tensorflow", "keras", "torch", "foolbox", "adversarial-robustness-toolbox", "torchattacks"):
        try:
            words.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            words.append(f"no {package}")
    return ", ".join(words)


def _instructions(features: frozenset[str]) -> str:
    names = {"avx512_vnni": "AVX-512 VNNI", "avx512f": "AVX-512", "avx2": "AVX2"}
    return next((name for feature, name in names.items() if feature in features), "no AVX2")
