"""The input pipeline, memory, and how the time of a step grows."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.comparison import Options, compared, measured
from benchmarks.parts.steps import own_step
from benchmarks.processes import ROOT, Task, computed
from benchmarks.results_file import Line
from benchmarks.scaling import VARIED, draw


def pipeline(options: Options) -> Iterator[Line]:
    """The time of a batch of the training stream, compared with the step that consumes it."""
    for dataset in ("mnist", "svhn", "cifar10", "cifar100"):
        batch = Task("benchmarks.contenders", "batches", dict(dataset=dataset))
        contenders = {"a batch": batch, "advnet step": own_step(dataset)}
        yield from compared("pipeline", f"{dataset} batch", contenders, options, rounds=5)


def memory(options: Options) -> Iterator[Line]:
    """The peak resident memory of advnet's training, and of a data set of SVHN's size."""
    for dataset, width in (("mnist", 8), ("cifar10", 64)):
        line: Line = dict(part="memory", case=f"{dataset} advnet k={width}", contender="ours", unit="GiB")
        step = Task("benchmarks.contenders", "memory_of_steps", dict(dataset=dataset, generator_width=width))
        yield measured(line, lambda task=step: computed(task))
    images, bytes_each = 153_257, 32 * 32 * 3

    def peak(count: int) -> float:
        return computed(Task("benchmarks.contenders", "memory_of_batches", dict(dataset="svhn", images=count)))

    line = dict(part="memory", case=f"{images:,} images of SVHN's size", contender="ours", unit="times their bytes")
    yield measured(line, lambda: (peak(images) - peak(64)) / (images * bytes_each / 2**30))


def scaling(options: Options) -> Iterator[Line]:
    """The time of an advnet step on CIFAR10 by batch size, width of G and number of logical CPU devices; also as a picture."""
    seconds: dict[str, dict[int, float]] = {what: {} for what in VARIED}
    for what, (setting, values) in VARIED.items():
        for value in values:
            contenders = {"ours": own_step("cifar10", **{setting: value})}
            for line in compared("scaling", f"cifar10 advnet, {what} {value}", contenders, options, rounds=3):
                if line["value"] != "failed":
                    seconds[what][value] = line["value"]
                yield line
    draw(ROOT / "benchmarks" / "scaling.png", seconds)
