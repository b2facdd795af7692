"""Measures the cost and the effect of determinism: the same two training steps are repeated with and without it.

    python benchmarks/determinism.py               advnet on MNIST and PGD training on CIFAR10, on random images

Two processes take turns of a few steps, so that changes in the machine's speed affect both. Prints a table and writes
benchmarks/determinism.csv.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import multiprocessing
import os
import statistics
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
CASES = {("mnist", "advnet"): dict(generator_width=8), ("cifar10", "pgd"): {}}
IMAGES = 2_000


def work(dataset: str, method: str, deterministic: bool, pipe: Connection) -> None:
    """Answers ("repeat", n) with the number of different outcomes, and ("time", n) with the seconds per step."""
    import numpy as np

    from adv_networks import data, defences
    from adv_networks.experiments import DATASETS, METHODS, experiment
    from adv_networks.runtime.determinism import make_deterministic

    if deterministic:
        make_deterministic()
    spec, random = experiment(dataset, method, **CASES[dataset, method]), np.random.default_rng(0)
    images = random.integers(0, 256, (IMAGES, *DATASETS[dataset].image_shape), dtype=np.uint8)
    labels = random.integers(0, DATASETS[dataset].classes, IMAGES)
    batches = list(data.batches(images, labels, spec.batch_size, training=True, augment=spec.augment_pad).take(2))
    players, update = defences.make_players(spec), METHODS[method].step
    state = players.variables()
    initial = [variable.numpy() for variable in state]

    def two_steps() -> str:
        for variable, value in zip(state, initial, strict=True):
            variable.assign(value)
        for number, (x, y) in enumerate(batches):
            update(players, x, y, spec, (0, number))
        return hashlib.sha256(b"".join(variable.numpy().tobytes() for variable in state)).hexdigest()

    two_steps()
    pipe.send("ready")
    while True:
        kind, count = pipe.recv()
        if kind == "repeat":
            pipe.send(len({two_steps() for _ in range(count)}))
        elif kind == "time":
            began = perf_counter()
            for _ in range(count):
                two_steps()
            pipe.send((perf_counter() - began) / (2 * count))
        else:
            return


def compare(dataset: str, method: str, rounds: int, repeats: int) -> dict[str, object]:
    """Times a method with and without determinism, and returns a line of the table."""
    context, ends = multiprocessing.get_context("spawn"), {}
    for deterministic in (False, True):
        ends[deterministic], other = context.Pipe()
        context.Process(target=work, args=(dataset, method, deterministic, other), daemon=True).start()
        ends[deterministic].recv()

    def ask(deterministic: bool, kind: str, count: int) -> float:
        ends[deterministic].send((kind, count))
        return ends[deterministic].recv()

    outcomes = {deterministic: ask(deterministic, "repeat", repeats) for deterministic in ends}
    count = max(1, round(2 / ask(False, "time", 1)) // 2)
    seconds = {False: [], True: []}
    for number in range(rounds):
        for deterministic in sorted(ends, reverse=bool(number % 2)):
            seconds[deterministic].append(ask(deterministic, "time", count))
    for end in ends.values():
        end.send(("end", 0))
    return dict(
        dataset=dataset,
        method=method,
        rounds=rounds,
        seconds_per_step_without=round(statistics.median(seconds[False]), 4),
        seconds_per_step_with=round(statistics.median(seconds[True]), 4),
        median_ratio=round(statistics.median(b / a for a, b in zip(seconds[False], seconds[True], strict=True)), 3),
        repeats=repeats,
        different_outcomes_without=outcomes[False],
        different_outcomes_with=outcomes[True],
    )


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each process")
    parser.add_argument("--repeats", type=int, default=15, help="of the same two steps")
    options = parser.parse_args()
    lines = []
    for dataset, method in CASES:
        lines.append(compare(dataset, method, options.rounds, options.repeats))
        print(*(f"{name}={value}" for name, value in lines[-1].items()), flush=True)
    with (ROOT / "benchmarks" / "determinism.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


sys.path.insert(0, str(ROOT))  # Spawned processes need it too.
if __name__ == "__main__":
    main()
