"""What the operations of a step cost alone, and what a step would cost on GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.comparison import INSTALLED, Options
from benchmarks.parts.steps import BATCH
from benchmarks.processes import Failed, Task, computed
from benchmarks.results_file import Line

_LIBRARIES = {"TensorFlow": "benchmarks.operations_tensorflow", "PyTorch": "benchmarks.operations_pytorch"}
_STEPS = (("cifar10", "advnet"), ("cifar10", "pgd"), ("mnist", "advnet"), ("mnist", "pgd"))


def operations(options: Options) -> Iterator[Line]:
    """The operations of a step by kind, each at its best time alone, in TensorFlow and in PyTorch."""
    libraries = [name for name in _LIBRARIES if name == "TensorFlow" or "torch" in INSTALLED]
    repeats = options.rounds_of(15)
    for dataset, method in _STEPS:
        arguments = dict(dataset=dataset, method=method, batch=BATCH, repeats=repeats)
        tensorflow: dict[str, float] = {}
        for name in libraries:
            line: Line = dict(part="operations", contender=name, unit="seconds")
            try:
                found = computed(Task(_LIBRARIES[name], "seconds_by_kind", arguments))
            except Failed as failed:
                yield line | dict(case=f"{dataset} {method}", value="failed", note=str(failed))
                continue
            if name == "TensorFlow":
                tensorflow = found
            for kind, seconds in found.items():
                own = dict(case=f"{dataset} {method}, {kind}", value=round(seconds, 4), rounds=repeats)
                ratio = dict(ratio_to_ours=round(seconds / tensorflow[kind], 3)) if tensorflow else {}
                yield line | own | ratio


def roofline(options: Options) -> Iterator[Line]:
    """The computed, not measured, time of an advnet step of 64 images on GPUs (roofline.py states the assumptions)."""
    for dataset in ("mnist", "cifar10"):
        for width in (8, 64):
            line: Line = dict(part="roofline", contender="estimate", unit="seconds")
            try:
                found = computed(Task("benchmarks.roofline", "estimates", dict(dataset=dataset, width=width)))
            except Failed as failed:
                yield line | dict(case=f"{dataset} advnet k={width}", value="failed", note=str(failed))
                continue
            for gpu, seconds in found.items():
                yield line | dict(case=f"{dataset} advnet k={width} on {gpu}", value=round(seconds, 4))
