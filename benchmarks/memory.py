"""Checks whether the memory of a training run grows with its steps: the resident size during 2,500 small steps.

    python benchmarks/memory.py

Each method trains on the embedded digits with checkpoints every second. Prints a table and writes benchmarks/memory.csv. The
exit code is 1 if the peak of the last 2,000 steps is 2% or more above that of the first 500, the warm-up.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import resource
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WARM_UP, STEPS = 500, 2_500
CASES = {
    "standard": dict(),
    "pgd": dict(pgd_steps=2),
    "advnet": dict(generators=("released_mnist",), generator_width=4, generator_steps=1),
}


def measure(method: str, warm_up: int = WARM_UP, steps: int = STEPS) -> dict[str, object]:
    """Trains with one method, and returns a line of the table."""
    from adv_networks import training
    from adv_networks.experiments import METHODS, experiment

    spec = experiment("digits", method, scale="tiny", steps=steps, batch_size=16, **CASES[method])
    peaks = {}

    class Watched(type(METHODS[method])):
        """The method, which also records the memory before two of its steps."""

        def step(self, players, x, y, spec, seed):
            """See `Defence.step`."""
            if seed[1] in (warm_up, steps - 1):
                peaks[seed[1]] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            return super().step(players, x, y, spec, seed)

    METHODS[method] = Watched()
    with tempfile.TemporaryDirectory() as workdir:
        training.train(spec, workdir, checkpoint_seconds=1, progress=False)
    first, last = peaks.values()
    return dict(
        method=method,
        steps=steps,
        peak_megabytes_after_warm_up=round(first, 1),
        peak_megabytes_at_the_end=round(last, 1),
        growth_percent=round(100 * (last / first - 1), 2),
    )


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        lines = []
        for line in pool.imap(measure, CASES, chunksize=1):
            lines.append(line)
            print(*(f"{name}={value}" for name, value in line.items()), flush=True)
    with (ROOT / "benchmarks" / "memory.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return int(any(line["growth_percent"] >= 2 for line in lines))


sys.path.insert(0, str(ROOT))  # Spawned processes need it too.
if __name__ == "__main__":
    sys.exit(main())
