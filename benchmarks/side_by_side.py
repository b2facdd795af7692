"""Times contenders in turns, each in its own process, so that changes in the machine's speed affect all of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from time import perf_counter
from typing import NamedTuple

from benchmarks.processes import TIMEOUT, Answering, Failed, Task


def _time(contender: Task, pipe: Connection) -> None:
    """Answers each number of calls with the mean seconds of one, until that number is 0."""
    call = contender.result()
    call()
    call()
    pipe.send("ready")
    while (count := pipe.recv()) > 0:
        began = perf_counter()
        for _ in range(count):
            call()
        pipe.send((perf_counter() - began) / count)


class Contestant:
    """A contender in its own process, which may end at any time. The contender's function returns the call to time."""

    def __init__(self, contender: Task, timeout: float):
        self._process = Answering(_time, contender, timeout)
        self.failure: str | None = None

    def ask(self, count: int) -> float:
        """The mean seconds of `count` calls; NaN if the contender has failed."""
        if self.failure is None:
            self._process.send(count)
        return self._answer()

    def wait_until_ready(self) -> None:
        """Waits until the contender has made its first calls, or has failed."""
        self._answer()

    def _answer(self) -> float:
        if self.failure is None:
            try:
                return self._process.receive()
            except Failed as failed:
                self.failure = str(failed)
        return math.nan

    def end(self) -> None:
        """Ends the process, so that the next contenders have the machine for themselves."""
        self._process.send(0)
        self._process.end()


class Times(NamedTuple):
    """The seconds of a call by contender and round, and the reasons of contenders that failed."""

    seconds: dict[str, list[float]]
    failures: dict[str, str]


def seconds_per_call(contenders: Mapping[str, Task], rounds: int = 7, least: float = 0.5, timeout: float = TIMEOUT) -> Times:
    """Times each contender in every round, in the order A B C C B A …. A turn takes `least` seconds, or one call.

    If a contender's process ends early (a crash, an exception) or gives no answer within `timeout` seconds, it drops out, and
    the others continue.
    """
    contestants = {}
    for name, contender in contenders.items():
        contestants[name] = Contestant(contender, timeout)
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
    """The lower quartile, the median and the upper quartile of the rounds' ratios; of one round, its ratio three times."""
    ratios = [a / b for a, b in zip(slower, faster, strict=True)]
    return statistics.quantiles(ratios, method="inclusive") if len(ratios) > 1 else ratios * 3
