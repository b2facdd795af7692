"""Compares the speed of this project with that of the alternatives, and with the least time that its steps can take.

    python benchmarks/run.py                    everything: over an hour on two idle cores
    python benchmarks/run.py --quick            steps and attacks against the fastest others, in three rounds: about 8 minutes
    python benchmarks/run.py --only=attacks     one part: steps, attacks, minimum_norm, grid, start, pipeline, memory, scaling,
                                                operations, allocator, roofline
    python benchmarks/run.py --rounds=5         5 turns for each contender instead of 15
    python benchmarks/run.py --check            also ends with exit code 1 if plain mode takes less than 0.97 of our time

Contenders take turns, each in its own process. A ratio is the median over the rounds of (contender / this project), with its
quartiles. If a process crashes, fails or hangs for 20 minutes, its line says so, and the rest goes on.
Prints a table and writes it to benchmarks/results.csv, which keeps its lines of other parts, machines, settings and versions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import Options, slower_than_plain
from benchmarks.parts.attacks import attacks, grid, minimum_norm
from benchmarks.parts.computed import operations, roofline
from benchmarks.parts.growth import memory, pipeline, scaling
from benchmarks.parts.start import start
from benchmarks.parts.steps import allocator, steps
from benchmarks.processes import ROOT
from benchmarks.results_file import Line, ResultsFile

RESULTS = ROOT / "benchmarks" / "results.csv"
IDENTITY = ("part", "case", "contender", "unit")
MEASURED = ("ratio_to_ours", "quartiles", "floor_seconds", "efficiency", "note")
FIELDS = ("part", "case", "contender", "value", "unit", *MEASURED, "machine", "rounds", "commit", "date")

Part = Callable[[Options], Iterator[Line]]
PARTS: dict[str, Part] = {
    part.__name__: part
    for part in (steps, attacks, minimum_norm, grid, start, pipeline, memory, scaling, operations, allocator, roofline)
}
QUICK_PARTS = ("steps", "attacks")


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _given(arguments: Sequence[str] | None, parts: Mapping[str, Part]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=parts, help="one part")
    parser.add_argument("--rounds", type=_positive, help="turns of each contender, instead of 15")
    parser.add_argument("--quick", action="store_true", help="only steps and attacks, in three rounds, against few others")
    parser.add_argument("--check", action="store_true", help="exit code 1 if plain mode takes less than 0.97 of our time")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None, results: Path = RESULTS, parts: Mapping[str, Part] = PARTS) -> int:
    """Runs the benchmark; `arguments` are the words of the command line. Returns the exit code."""
    given = _given(arguments, parts)
    options = Options(given.rounds, given.quick)
    file = ResultsFile(results, FIELDS, IDENTITY)
    lines: list[Line] = []
    for name in [given.only] if given.only else QUICK_PARTS if given.quick else parts:
        for line in parts[name](options):
            lines.append(line)
            file.add(line)
            shown = " ".join(f"{key} {line[key]}" for key in MEASURED if line.get(key))
            print(f"{line['case']:<42}{line['contender']:<34}{line['value']:>10} {line['unit']:<18}{shown}", flush=True)
    slower = slower_than_plain(lines) if given.check else []
    for sentence in slower:
        print(sentence)
    return int(bool(slower))


if __name__ == "__main__":
    sys.exit(main())
