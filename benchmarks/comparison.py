"""How much is measured, and the lines of a comparison: contenders beside this project, with the least time of a step."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.processes import Failed, Task, computed
from benchmarks.results_file import Line
from benchmarks.side_by_side import Times, quartiles, seconds_per_call

INSTALLED = frozenset(
    name for name in ("torch", "foolbox", "art", "torchattacks") if importlib.util.find_spec(name) is not None
)
# Plain mode, and the fastest alternatives.
QUICK = frozenset({"ours, plain", "PyTorch", "PyTorch channels last", "torchattacks (PyTorch)"})
# No setting of ours may be slower than plain mode by more than 3%.
_LEAST_OF_PLAIN = 0.97


class Options(NamedTuple):
    """How much is measured."""

    rounds: int | None = None
    quick: bool = False

    def rounds_of(self, many: int) -> int:
        """The number of turns for each contender; `many` is the default."""
        return self.rounds or (3 if self.quick else many)

    def chosen(self, contenders: Mapping[str, Task]) -> dict[str, Task]:
        """The contenders that take part: in a quick run, the first, which is this project, and those of `QUICK`."""
        first = next(iter(contenders))
        return {name: own for name, own in contenders.items() if not self.quick or name == first or name in QUICK}


class Floor(NamedTuple):
    """The least seconds of a step; None if they are unknown, and why."""

    seconds: float | None = None
    note: str = ""


def floors(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, Floor]:
    """The least time of each step, computed in a process of its own; the steps are arguments of `floor.products_of`."""
    try:
        found = computed(Task("benchmarks.floor", "least_seconds", dict(steps=steps)))
    except Failed as failed:
        return dict.fromkeys(steps, Floor(note=f"no floor: {failed}"))
    return {name: Floor(seconds) for name, seconds in found.items()}


def compared(
    part: str, case: str, contenders: Mapping[str, Task], options: Options, *, floor: Floor | None = None, rounds: int = 15
) -> Iterator[Line]:
    """Times contenders and yields a line for each; the first contender is this project."""
    chosen = options.chosen(contenders)
    yield from lines_of(part, case, chosen, seconds_per_call(chosen, options.rounds_of(rounds), least=1.0), floor)


def lines_of(part: str, case: str, contenders: Iterable[str], times: Times, floor: Floor | None = None) -> Iterator[Line]:
    """Yields a line for each contender, with its ratio to the first, which is this project and has the floor."""
    first, *_ = contenders
    own = times.seconds.get(first)
    for name in contenders:
        line: Line = dict(part=part, case=case, contender=name, unit="seconds")
        if name in times.failures:
            yield line | dict(value="failed", note=times.failures[name])
            continue
        seconds = times.seconds[name]
        median = statistics.median(seconds)
        line |= dict(value=round(median, 4), rounds=len(seconds))
        if own is not None:
            low, middle, high = (round(ratio, 3) for ratio in quartiles(seconds, own))
            line |= dict(ratio_to_ours=middle, quartiles="" if name == first else f"{low} to {high}")
        if floor is not None and name == first:
            line["note"] = floor.note
            if floor.seconds is not None:
                line |= dict(floor_seconds=round(floor.seconds, 4), efficiency=round(floor.seconds / median, 2))
        yield line


def measured(line: Line, measure: Callable[[], float]) -> Line:
    """A line with the number that `measure` returns, or with the reason for which it failed."""
    try:
        return line | dict(value=round(measure(), 2), rounds=1)
    except Failed as failed:
        return line | dict(value="failed", note=str(failed))


def slower_than_plain(lines: Iterable[Line]) -> list[str]:
    """A sentence for each case in which plain mode takes less than 0.97 of our time."""
    ratios = [
        (line["case"], line["ratio_to_ours"])
        for line in lines
        if line["contender"] == "ours, plain" and "ratio_to_ours" in line
    ]
    return [
        f"{case}: ours, plain takes {ratio} of ours' time, expected at least {_LEAST_OF_PLAIN}"
        for case, ratio in ratios
        if ratio < _LEAST_OF_PLAIN
    ]
