"""Times contenders in turns, each in a process of its own, so that the machine's moods meet all of them."""

from __future__ import annotations

import csv
import importlib
import multiprocessing
import os
import platform
import resource
import statistics
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(ROOT))  # The processes that are spawned need it too.

# A module below benchmarks, a function of it that returns what is to be timed, and its arguments.
Contender = tuple[str, str, dict[str, Any]]


def _work(contender: Contender, pipe: Connection) -> None:
    module, function, arguments = contender
    call = getattr(importlib.import_module(f"benchmarks.{module}"), function)(**arguments)
    call()
    call()
    pipe.send("ready")
    while (count := pipe.recv()) > 0:
        began = perf_counter()
        for _ in range(count):
            call()
        pipe.send(((perf_counter() - began) / count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def seconds_per_call(contenders: Mapping[str, Contender], rounds: int = 7, least: float = 0.5) -> dict[str, list[float]]:
    """Seconds of a call of each contender in each of the rounds, A B C C B A …, a turn taking `least` seconds or one call."""
    context, pipes, processes = multiprocessing.get_context("spawn"), {}, []
    for name, contender in contenders.items():
        pipes[name], other = context.Pipe()
        processes.append(context.Process(target=_work, args=(contender, other), daemon=True))
        processes[-1].start()
        other.close()
        pipes[name].recv()

    def turn(name: str, count: int) -> float:
        pipes[name].send(count)
        return pipes[name].recv()[0]

    counts = {name: max(1, round(least / turn(name, 1))) for name in contenders}
    seconds = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            seconds[name].append(turn(name, counts[name]))
    for pipe in pipes.values():
        pipe.send(0)
    for process in processes:  # Whatever is timed next has the machine for itself.
        process.join()
    return seconds


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
    """The processor, how many of it, and the versions of what is compared."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for package in ("tensorflow", "keras", "torch", "foolbox", "adversarial-robustness-toolbox", "torchattacks"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return f"{os.cpu_count()} x {names[0] if names else platform.processor()}, {', '.join(found)}"
