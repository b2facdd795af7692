"""Prints what a checkout computes, as JSON. Run it on two commits and compare, to show that a change moved no number.

    python benchmarks/fingerprint.py CHECKOUT --data_dir=DIR > before.json
    python benchmarks/fingerprint.py CHECKOUT --data_dir=DIR --compare=before.json

The output has the weight hashes at the end of the four methods, and the records and tables of white-box, strong and foreign
attacks, without fields that differ between any two evaluations (times, commits, versions). Run both commits on one machine.
Exit codes: 0 equal, or nothing to compare; 1 something differs, and each difference is printed on a line.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

METHODS = ("standard", "pgd", "advnet", "ensemble")
TRAININGS = (("digits", "cpu", ()), ("mnist", "tiny", ("--width=4",)), ("cifar10", "tiny", ("--width=4",)))
FOREIGN = "foolbox:L2DeepFoolAttack:steps=10:norm=l2:epsilon=1.5,art:DeepFool:max_iter=5"
TABLES = (
    ("--table=digits", "--scale=cpu"),
    ("--table=digits", "--scale=tiny", "--attack_suite=strong"),
    (
        "--table=digits",
        "--scale=tiny",
        "--attack=foolbox:L2DeepFoolAttack:steps=10:norm=l2:epsilon=1.5,art:DeepFool:max_iter=5",
    ),
    ("--table=digits", "--scale=tiny", "--norm=l2", "--epsilon=1.5"),
)
VARIES = {"seconds", "commit", "versions", "training_commit"}


def main() -> int:
    """Prints the fingerprint, or compares it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--compare", type=Path, help="a fingerprint from before")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = fingerprint(arguments.checkout.resolve(), arguments.data_dir.resolve(), Path(directory))
    if arguments.compare is None:
        print(json.dumps(found, indent=1, sort_keys=True))
        return 0
    before = json.loads(arguments.compare.read_text(encoding="utf-8"))
    differing = [key for key in sorted(before.keys() | found.keys()) if before.get(key) != found.get(key)]
    for key in differing:
        print(f"{key}: {before.get(key)} before, {found.get(key)} now")
    print(f"{len(before)} values before, {len(found)} now, {len(differing)} differ")
    return bool(differing)


def fingerprint(checkout: Path, data_dir: Path, directory: Path) -> dict[str, Any]:
    """Trains and evaluates with the checkout's own code, and returns the results by name."""

    def run(*options: str) -> None:
        places = (f"--data_dir={data_dir}", f"--runs={directory}/runs", f"--results={directory}/results")
        command = [sys.executable, "main.py", *options, *places, "--noprogress"]
        subprocess.run(command, cwd=checkout, check=True, stdout=sys.stderr, env=os.environ | {"PYTHONPATH": str(checkout)})

    for dataset, scale, options in TRAININGS:
        for method in METHODS:
            run(f"--dataset={dataset}", f"--scale={scale}", f"--method={method}", *options)
    for options in TABLES:
        run(*options)
    shutil.copytree(checkout / "results" / "cpu", directory / "committed" / "cpu")
    command = ["--table=1", "--finished_only", f"--results={directory}/committed", f"--runs={directory}/none"]
    run_committed = [sys.executable, "main.py", *command, f"--data_dir={data_dir}", "--noprogress"]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    subprocess.run(run_committed, cwd=checkout, check=True, stdout=sys.stderr, env=environment)
    return _weights(directory / "runs") | _lines(directory / "results") | _lines(directory / "committed", "table1.csv")


def _weights(runs: Path) -> dict[str, Any]:
    """The weight hashes of every network of a finished run."""
    return {
        f"{file.parent.name}/{name}": hashes["weights"]
        for file in sorted(runs.glob("*/experiment.json"))
        for name, hashes in json.loads(file.read_text(encoding="utf-8"))["hashes"].items()
    }


def _lines(results: Path, pattern: str = "*.csv") -> dict[str, Any]:
    """The lines of the CSV files of records and tables, by file and key or line number."""
    found = {}
    for file in sorted(results.rglob(pattern)):
        with file.open(newline="", encoding="utf-8") as handle:
            for number, line in enumerate(csv.DictReader(handle)):
                kept = {name: value for name, value in line.items() if name not in VARIES}
                key = line.get("key") or f"line {number}"
                found[f"{file.relative_to(results.parent)} {key}"] = kept
    return found


if __name__ == "__main__":
    sys.exit(main())
