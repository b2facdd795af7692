"""Compares the strong attacks with torchattacks' on a PyTorch copy of the same classifier: accuracies on the same images.

    pip install torch && pip install --no-deps torchattacks
    python main.py --dataset=mnist --method=advnet --data_dir=DIR
    python benchmarks/autoattack.py runs/mnist-advnet-cpu-s0 [more runs] --data_dir=DIR

The runs' classifiers are D1. Prints a table and writes it to benchmarks/autoattack.csv, which keeps its lines of other runs
and attacks (--only). The exit code is 1 if two accuracies differ by more than a point.
"""

from __future__ import annotations

import argparse
import csv
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

Attack = Callable[[Any, np.ndarray, np.ndarray, float], np.ndarray]


def copy_of_d1(d: Any) -> Any:
    """A PyTorch module with the weights of a D1: images [batch, channels, height, width] in [0,1] to logits."""
    import torch

    weights = [torch.tensor(weight) for weight in d.get_weights()]
    kernels = [kernel.permute(3, 2, 0, 1).contiguous() for kernel in weights[0:4:2]]

    class Copy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.kernels = torch.nn.ParameterList(kernels)
            self.dense = torch.nn.Parameter(weights[4])

        def forward(self, x):
            x = 2 * x - 1
            for kernel, bias in zip(self.kernels, weights[1:4:2], strict=True):
                x = torch.nn.functional.max_pool2d(torch.relu(torch.nn.functional.conv2d(x, kernel, bias, padding=2)), 2)
            return x.permute(0, 2, 3, 1).flatten(1) @ self.dense + weights[5]

    return Copy().eval().requires_grad_(False)


def own_attacks(steps: int = STEPS, queries: int = QUERIES) -> dict[str, Attack]:
    """The attacks of this project by name: functions of a Keras classifier, images in [0,1], labels and ε."""
    from adv_networks import attacks

    def apgd(d, x, y, epsilon, **options):
        return attacks.apgd(d, x, y, epsilon, steps=steps, **options).numpy()

    return {
        "APGD-CE": apgd,
        "APGD-DLR": functools.partial(apgd, loss="dlr"),
        "APGD-T": functools.partial(apgd, loss="dlr", targets=TARGETS),
        "FAB-T": lambda d, x, y, epsilon: attacks.fab(d, x, y, epsilon, targets=TARGETS, steps=steps).numpy(),
        "Square": lambda d, x, y, epsilon: attacks.square(d, x, y, epsilon, queries=queries).numpy(),
    }


def other_attacks(steps: int = STEPS, queries: int = QUERIES) -> dict[str, Attack]:
    """The same attacks of torchattacks: functions of a PyTorch module and the same images, labels and ε."""
    import torch
    from torchattacks.attacks.apgd import APGD
    from torchattacks.attacks.apgdt import APGDT
    from torchattacks.attacks.fab import FAB
    from torchattacks.attacks.square import Square

    def run(kind, d, x, y, epsilon, **options):
        torch.manual_seed(0)
        made = kind(d, eps=epsilon, **options)
        adversarial = made(torch.tensor(x.transpose(0, 3, 1, 2).copy()), torch.tensor(y, dtype=torch.int64))
        return adversarial.detach().numpy().transpose(0, 2, 3, 1)

    return {
        "APGD-CE": functools.partial(run, APGD, steps=steps, loss="ce"),
        "APGD-DLR": functools.partial(run, APGD, steps=steps, loss="dlr"),
        "APGD-T": functools.partial(run, APGDT, steps=steps),
        "FAB-T": functools.partial(run, FAB, steps=steps, multi_targeted=True),
        "Square": functools.partial(run, Square, n_queries=queries),
    }


def accuracies(
    d: Any, x: np.ndarray, y: np.ndarray, epsilon: float, only: Sequence[str] = (), **amounts: int
) -> Iterator[dict[str, Any]]:
    """Yields a line for each attack: times, and the Keras classifier's accuracies in % under our attack and theirs."""
    from adv_networks import attacks

    copy, owns, other = copy_of_d1(d), own_attacks(**amounts), other_attacks(**amounts)
    for name in only or owns:
        line = dict(attack=name, images=len(x), epsilon=epsilon)
        for column, attack, model in (("own", owns[name], d), ("torchattacks", other[name], copy)):
            started = time.perf_counter()
            adversarial = attack(model, x, y, epsilon)
            seconds = time.perf_counter() - started
            # FAB looks for the smallest perturbation. An image farther away than ε is not in the ball, and does not count.
            adversarial = np.where(np.abs(adversarial - x).max((1, 2, 3), keepdims=True) <= epsilon + 1e-6, adversarial, x)
            right = np.argmax(attacks.predict(d, adversarial), 1) == y
            line |= {f"{column}_percent": round(100 * float(right.mean()), 2), f"{column}_seconds": round(seconds, 1)}
        yield line | dict(difference=round(line["own_percent"] - line["torchattacks_percent"], 2))


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    from adv_networks import data, evaluation, training
    from benchmarks.side_by_side import write_lines

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data_dir")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=own_attacks(), default=list(own_attacks()), help="run only these attacks")
    arguments = parser.parse_args()
    file = ROOT / "benchmarks" / "autoattack.csv"
    with file.open(newline="") as known:
        again = {(run.name, name) for run in arguments.runs for name in arguments.only}
        lines = [line for line in csv.DictReader(known) if (line["run"], line["attack"]) not in again]
    measured = []
    for run in arguments.runs:
        spec = training.describe(run)["experiment"]
        images, labels = data.load(spec["dataset"], "test", data_dir=arguments.data_dir, limit=arguments.images)
        d = evaluation.load_classifier(run, spec["dataset"])
        for line in accuracies(d, images / np.float32(255), labels, spec["epsilon"], arguments.only):
            measured.append(dict(run=run.name, **line))
            print(*(f"{name}={value}" for name, value in measured[-1].items()), flush=True)
            write_lines(file, [*lines, *measured])
    return int(any(abs(line["difference"]) > 1 for line in measured))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
