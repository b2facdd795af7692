"""Compares the strong attacks with torchattacks' on a PyTorch copy of the same classifier: accuracies on the same images.

    pip install torch && pip install --no-deps torchattacks
    python main.py --dataset=mnist --method=advnet --data_dir=DIR
    python benchmarks/autoattack.py runs/mnist-advnet-cpu-s0 [more runs] --data_dir=DIR

A run may also be a .keras file of one. "AutoAttack" is its four attacks, each on the images that those before it left.
Prints a table and writes it to benchmarks/autoattack.csv, which keeps its lines of other runs, attacks (--only) and
machines. The exit code is 1 if two accuracies differ by more than a point.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
STEPS, QUERIES, TARGETS = 100, 5_000, 9
SUITE = ("APGD-CE", "APGD-T", "FAB-T", "Square")
RESULTS = ROOT / "benchmarks" / "autoattack.csv"
_SIDES = ("own_percent", "own_seconds", "torchattacks_percent", "torchattacks_seconds")
COLUMNS = ("run", "attack", "images", "epsilon", *_SIDES, "difference")

Attack = Callable[[Any, np.ndarray, np.ndarray, float], np.ndarray]


def own_attacks(steps: int = STEPS, queries: int = QUERIES) -> dict[str, Attack]:
    """The attacks of this project by name: functions of a Keras classifier, images in [0,1], labels and ε."""
    from adv_networks import attacks

    def apgd(d, x, y, epsilon, **options):
        return attacks.apgd(d, x, y, epsilon, steps=steps, **options).numpy()

    own: dict[str, Attack] = {
        "APGD-CE": apgd,
        "APGD-DLR": functools.partial(apgd, loss="dlr"),
        "APGD-T": functools.partial(apgd, loss="dlr", targets=TARGETS),
        "FAB-T": lambda d, x, y, epsilon: attacks.fab(d, x, y, epsilon, targets=TARGETS, steps=steps).numpy(),
        "Square": lambda d, x, y, epsilon: attacks.square(d, x, y, epsilon, queries=queries).numpy(),
    }

    def suite(d, x, y, epsilon):
        current, standing = x.copy(), np.flatnonzero(np.argmax(attacks.predict(d, x), 1) == y)
        for name in SUITE:
            found = _within(own[name](d, x[standing], y[standing], epsilon), x[standing], epsilon)
            current[standing] = found
            standing = standing[np.argmax(attacks.predict(d, found), 1) == y[standing]]
        return current

    return own | {"AutoAttack": suite}


def other_attacks(steps: int = STEPS, queries: int = QUERIES) -> dict[str, Attack]:
    """The same attacks of torchattacks: functions of a PyTorch module and the same images, labels and ε."""
    import torch
    from torchattacks.attacks.apgd import APGD
    from torchattacks.attacks.apgdt import APGDT
    from torchattacks.attacks.fab import FAB
    from torchattacks.attacks.square import Square
    from torchattacks.wrappers.multiattack import MultiAttack

    kinds = {
        "APGD-CE": functools.partial(APGD, steps=steps, loss="ce"),
        "APGD-DLR": functools.partial(APGD, steps=steps, loss="dlr"),
        "APGD-T": functools.partial(APGDT, steps=steps),
        "FAB-T": functools.partial(FAB, steps=steps, multi_targeted=True),
        "Square": functools.partial(Square, n_queries=queries),
    }

    def suite(d, eps):
        return MultiAttack([kinds[name](d, eps=eps) for name in SUITE])

    def run(kind, d, x, y, epsilon):
        torch.manual_seed(0)
        made = kind(d, eps=epsilon)
        adversarial = made(torch.tensor(x.transpose(0, 3, 1, 2).copy()), torch.tensor(y, dtype=torch.int64))
        return adversarial.detach().numpy().transpose(0, 2, 3, 1)

    # torchattacks.AutoAttack is the same suite, but with 10 steps of APGD instead of 100.
    return {name: functools.partial(run, kind) for name, kind in (*kinds.items(), ("AutoAttack", suite))}


def _within(adversarial: np.ndarray, x: np.ndarray, epsilon: float) -> np.ndarray:
    """FAB looks for the smallest perturbation. An image farther away than ε is not in the ball, and does not count."""
    return np.where(np.abs(adversarial - x).max((1, 2, 3), keepdims=True) <= epsilon + 1e-6, adversarial, x)


def accuracies(
    d: Any, x: np.ndarray, y: np.ndarray, epsilon: float, only: Sequence[str] = (), **amounts: int
) -> Iterator[dict[str, Any]]:
    """Yields a line for each attack: times, and the Keras classifier's accuracies in % under our attack and theirs."""
    from adv_networks import attacks
    from benchmarks.pytorch import copied

    copy, owns, other = copied(d), own_attacks(**amounts), other_attacks(**amounts)
    for name in only or owns:
        line = dict(attack=name, images=len(x), epsilon=epsilon)
        for column, attack, model in (("own", owns[name], d), ("torchattacks", other[name], copy)):
            started = time.perf_counter()
            adversarial = attack(model, x, y, epsilon)
            seconds = time.perf_counter() - started
            right = np.argmax(attacks.predict(d, _within(adversarial, x, epsilon)), 1) == y
            line |= {f"{column}_percent": round(100 * float(right.mean()), 2), f"{column}_seconds": round(seconds, 1)}
        yield line | dict(difference=round(line["own_percent"] - line["torchattacks_percent"], 2))


def _name_of(run: Path) -> str:
    return run.name.removesuffix(".keras")


def _dataset_and_epsilon(run: Path) -> tuple[str, float]:
    """Of a run's directory as it was trained, of a .keras file by its name, which begins with the data set."""
    from adv_networks.experiments import experiment
    from adv_networks.training import describe

    if run.is_dir():
        spec = describe(run)["experiment"]
        return spec["dataset"], spec["epsilon"]
    dataset = run.stem.partition("-")[0]
    return dataset, experiment(dataset, "standard").epsilon


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    from adv_networks import data, evaluation
    from adv_networks.runtime.start import start_tensorflow
    from benchmarks.results_file import STAMP, ResultsFile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data_dir")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=own_attacks(), default=list(own_attacks()), help="run only these attacks")
    arguments = parser.parse_args()
    file = ResultsFile(RESULTS, (*COLUMNS, *STAMP), ("run", "attack"))
    start_tensorflow()  # With the threads of `main.py`.
    measured = []
    for run in arguments.runs:
        dataset, epsilon = _dataset_and_epsilon(run)
        images, labels = data.load(dataset, "test", data_dir=arguments.data_dir, limit=arguments.images)
        d = evaluation.load_classifier(run, dataset)
        for line in accuracies(d, images / np.float32(255), labels, epsilon, arguments.only):
            measured.append(dict(run=_name_of(run), **line))
            file.add(measured[-1])
            print(*(f"{name}={value}" for name, value in measured[-1].items()), flush=True)
    return int(any(abs(line["difference"]) > 1 for line in measured))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
