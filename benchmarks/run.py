"""Compares the speed of this project with that of the alternatives, and with the least time that its steps can take.

    python benchmarks/run.py                    everything: about 45 minutes on two idle cores
    python benchmarks/run.py --quick            steps and attacks against the fastest others, in three rounds: about 8 minutes
    python benchmarks/run.py --only=attacks     one part: steps, attacks, minimum_norm, grid, start, pipeline, memory, scaling,
                                                roofline
    python benchmarks/run.py --rounds=5         5 turns for each contender instead of 15

Contenders take turns, each in its own process. A ratio is the median over the rounds of (contender / this project), with its
quartiles. If a contender crashes, its line says so.
Prints a table and writes it to benchmarks/results.csv, which keeps its lines of other parts, machines, settings and versions.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import nearest
from benchmarks.side_by_side import ROOT, Contender, machine, quartiles, seconds_per_call, write_lines

RESULTS = ROOT / "benchmarks" / "results.csv"
FIELDS = (
    "part",
    "case",
    "contender",
    "value",
    "unit",
    "ratio_to_ours",
    "quartiles",
    "floor_seconds",
    "efficiency",
    "note",
    "machine",
)
INSTALLED = {name for name in ("torch", "foolbox", "art", "torchattacks") if importlib.util.find_spec(name) is not None}

Line = dict[str, Any]


class Options(NamedTuple):
    """How much is measured."""

    rounds: int | None = None
    quick: bool = False

    def rounds_of(self, many: int) -> int:
        """The number of turns for each contender; `many` is the default."""
        return self.rounds or (3 if self.quick else many)


def compared(
    part: str, case: str, contenders: dict[str, Contender], options: Options, floor: float | None = None, rounds: int = 15
) -> Iterator[Line]:
    """Yields a line for each contender; the first contender is this project."""
    first = next(iter(contenders))
    if options.quick:
        contenders = {name: own for name, own in contenders.items() if name == first or _is_quick(name)}
    seconds, failures = seconds_per_call(contenders, options.rounds_of(rounds), least=1.0)
    own = seconds.get(first)
    for name in contenders:
        line = dict(part=part, case=case, contender=name, unit="seconds")
        if name in failures:
            yield line | dict(value="failed", note=failures[name])
            continue
        times = seconds[name]
        median = statistics.median(times)
        line["value"] = round(median, 4)
        if own is not None:
            low, middle, high = (round(ratio, 2) for ratio in quartiles(times, own))
            line |= dict(ratio_to_ours=middle, quartiles="" if times is own else f"{low} to {high}")
        if floor is not None and times is own:
            line |= dict(floor_seconds=round(floor, 4), efficiency=round(floor / median, 2))
        yield line


def _is_quick(contender: str) -> bool:
    """Whether the quick run includes a contender besides this project: plain mode, and the fastest alternatives."""
    return contender in ("ours, plain", "PyTorch", "PyTorch channels last", "torchattacks (PyTorch)")


def steps(options: Options) -> Iterator[Line]:
    """Training steps of 64 images: Eq. 4-5 with D and G1(8), PGD training, and the regulariser's variants."""
    from benchmarks.floor import Floor, products_of

    floor = Floor()
    for dataset in ("mnist", "cifar10"):
        contenders = {"ours": ("benchmarks.contenders", "ours", dict(dataset=dataset))}
        contenders["ours, plain"] = ("benchmarks.contenders", "ours", dict(dataset=dataset, mode="plain"))
        contenders["literal graph"] = ("benchmarks.contenders", "literal", dict(dataset=dataset))
        for kind in ("exact", "none"):
            contenders[f"ours, regulariser {kind}"] = ("benchmarks.contenders", "ours", dict(dataset=dataset, regulariser=kind))
        if "torch" in INSTALLED:
            for name, compiled in (("PyTorch", False), ("PyTorch compiled", True)):
                contenders[name] = ("benchmarks.pytorch", "advnet", dict(dataset=dataset, compiled=compiled))
        yield from compared(
            "steps", f"{dataset} advnet", contenders, options, floor.seconds(products_of(dataset, "advnet", 64))
        )
        contenders = {"ours": ("benchmarks.contenders", "ours", dict(dataset=dataset, method="pgd"))}
        contenders["ours, plain"] = ("benchmarks.contenders", "ours", dict(dataset=dataset, method="pgd", mode="plain"))
        if "torch" in INSTALLED:
            contenders["PyTorch"] = ("benchmarks.pytorch", "pgd_training", dict(dataset=dataset, channels_last=False))
            for name, compiled in (("PyTorch channels last", False), ("PyTorch channels last, compiled", True)):
                contenders[name] = ("benchmarks.pytorch", "pgd_training", dict(dataset=dataset, compiled=compiled))
        yield from compared("steps", f"{dataset} pgd", contenders, options, floor.seconds(products_of(dataset, "pgd", 64)))


def attacks(options: Options) -> Iterator[Line]:
    """FGS and PGD-10 on D1 for 250 images."""
    from benchmarks.floor import Floor, products_of

    floor = Floor()
    for name in ("pgd", "fgs"):
        contenders = {"ours": ("benchmarks.contenders", "attack", dict(name=name))}
        contenders["ours, plain"] = ("benchmarks.contenders", "attack", dict(name=name, mode="plain"))
        for library in sorted(INSTALLED & {"foolbox", "art"}, reverse=True):
            contenders[f"{library} (TensorFlow)"] = ("benchmarks.tensorflow_libraries", library, dict(name=name))
        for library in sorted(INSTALLED - {"torch"}, reverse=True) if "torch" in INSTALLED else ():
            contenders[f"{library} (PyTorch)"] = ("benchmarks.pytorch", "attack", dict(library=library, name=name))
        least = floor.seconds(products_of("mnist", "pgd", 250, attack_only=True)) if name == "pgd" else None
        yield from compared("attacks", f"D1 {name}", contenders, options, least)


def minimum_norm(options: Options) -> Iterator[Line]:
    """Carlini-Wagner, DeepFool, JSMA and one pixel at equal settings, on a trained D1 and MNIST; --quick has only Foolbox."""
    most, libraries = (50, {"foolbox"}) if options.quick else (None, {"foolbox", "art"})
    for case, contenders in nearest.contenders(INSTALLED & libraries, most).items():
        yield from compared("minimum_norm", case, contenders, Options(options.rounds_of(3)))


def grid(options: Options) -> Iterator[Line]:
    """The time of an evaluation beyond its attacks and predictions."""
    value = _printed("from benchmarks import contenders\nprint(contenders.grid_overhead())")
    yield dict(part="grid", case="beyond the attacks and predictions", contender="ours", value=value, unit="percent")


def _first_step(dataset: str, place: str) -> float:
    """Seconds from starting main.py to the end of its first training step."""
    began = time.time()
    command = [sys.executable, "main.py", f"--dataset={dataset}", "--method=advnet", "--width=8", "--steps=100000"]
    options = [f"--workdir={place}/run", f"--results={place}/results", "--noprogress", "--checkpoint_seconds=0"]
    if data_dir := os.environ.get("TFDS_DATA_DIR"):
        options.append(f"--data_dir={data_dir}")
    with subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        checkpoint = Path(place) / "run" / "checkpoints" / "checkpoint"
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.005)
        process.kill()
    return checkpoint.stat().st_mtime - began


def _seconds_of(code: str) -> float:
    began = time.time()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.time() - began


def start(options: Options) -> Iterator[Line]:
    """The time from the command line to the first step, with decoded data, and to step 20, compared with the literal graph."""
    repeats = options.rounds_of(5)
    imports = [_seconds_of("import tensorflow, keras") for _ in range(repeats)]
    yield dict(
        part="start", case="import tensorflow, keras", contender="-", value=round(statistics.median(imports), 2), unit="seconds"
    )
    for dataset in ("mnist", "cifar10"):
        firsts = []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as place:
                firsts.append(_first_step(dataset, place))
        value, times = statistics.median(firsts), [first / one for first, one in zip(firsts, imports, strict=True)]
        yield dict(part="start", case=f"{dataset} advnet to step 1", contender="ours", value=round(value, 2), unit="seconds")
        ratio = round(statistics.median(times), 2)
        yield dict(part="start", case=f"{dataset} advnet to step 1", contender="ours", value=ratio, unit="times the import")
        code = "from benchmarks import contenders; step = contenders.{}('{}')\nfor _ in range(20): step()"
        seconds = {name: [] for name in ("ours", "literal")}
        for _ in range(3):
            for name, found in seconds.items():
                found.append(_seconds_of(code.format(name, dataset)))
        for name, found in seconds.items():
            line = dict(part="start", case=f"{dataset} advnet to step 20", contender=name, unit="seconds")
            yield line | dict(
                value=round(statistics.median(found), 2), ratio_to_ours=round(quartiles(found, seconds["ours"])[1], 2)
            )


def pipeline(options: Options) -> Iterator[Line]:
    """The time of a batch of the training stream, compared with the step that consumes it."""
    for dataset in ("mnist", "svhn", "cifar10", "cifar100"):
        batch = ("benchmarks.contenders", "batches", dict(dataset=dataset))
        step = ("benchmarks.contenders", "ours", dict(dataset=dataset))
        yield from compared("pipeline", f"{dataset} batch", {"a batch": batch, "advnet step": step}, options, rounds=5)


def memory(options: Options) -> Iterator[Line]:
    """The peak resident memory of advnet's training, and of a data set of SVHN's size."""
    for dataset, width in (("mnist", 8), ("cifar10", 64)):
        code = (
            "import resource\nfrom benchmarks import contenders\n"
            f"step = contenders.ours('{dataset}', generator_width={width})\nfor _ in range(3): step()\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)"
        )
        yield dict(part="memory", case=f"{dataset} advnet k={width}", contender="ours", value=_printed(code), unit="GiB")
    base = "import resource, numpy as np\nfrom benchmarks import contenders\nbatch = contenders.batches('svhn', {})\n"
    # If the stream is still open at the end, Python and the thread that fills it can wait for each other.
    ending = "for _ in range(50): batch()\ndel batch\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)"
    small, large = (_printed(base.format(count) + ending) for count in (64, 153_257))
    times = round((large - small) / (153_257 * 32 * 32 * 3 / 2**30), 2)
    yield dict(part="memory", case="153,257 images of SVHN's size", contender="ours", value=times, unit="times their bytes")


def _printed(code: str) -> float:
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return round(float(output.split()[-1]), 2)


def scaling(options: Options) -> Iterator[Line]:
    """The time of an advnet step on CIFAR10 by batch size, width of G and number of logical CPU devices; also as a picture."""
    from benchmarks.scaling import VARIED, draw

    seconds: dict[str, list[float]] = {what: [] for what in VARIED}
    for what, (setting, values) in VARIED.items():
        for value in values:
            contenders = {"ours": ("benchmarks.contenders", "ours", dict(dataset="cifar10", **{setting: value}))}
            for line in compared("scaling", f"cifar10 advnet, {what} {value}", contenders, options, rounds=3):
                seconds[what].append(line["value"])
                yield line
    draw(RESULTS.with_name("scaling.png"), seconds)


def roofline(options: Options) -> Iterator[Line]:
    """The computed, not measured, time of an advnet step of 64 images on GPUs (roofline.py states the assumptions)."""
    from benchmarks.roofline import GPUS, seconds

    for dataset in ("mnist", "cifar10"):
        for width in (8, 64):
            for gpu in GPUS:
                computing, launching, moving = seconds(dataset, width, gpu)
                line = dict(part="roofline", case=f"{dataset} advnet k={width} on {gpu.name}", contender="estimate")
                yield line | dict(value=round(max(computing, launching) + moving, 4), unit="seconds")


PARTS = {part.__name__: part for part in (steps, attacks, minimum_norm, grid, start, pipeline, memory, scaling, roofline)}


def _is_of(known: Line, line: Line, machine: str) -> bool:
    """Whether a known line is an earlier measurement of the same thing on the same machine."""
    return known["machine"] == machine and all(known[name] == line[name] for name in ("part", "case", "contender", "unit"))


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def main(arguments: Sequence[str] | None = None, results: Path = RESULTS) -> None:
    """Runs the benchmark; `arguments` are the words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--rounds", type=_positive, help="turns of each contender, instead of 15")
    parser.add_argument("--quick", action="store_true", help="only steps and attacks, in three rounds, against few others")
    given = parser.parse_args(arguments)
    options = Options(given.rounds, given.quick)
    lines: list[Line] = []
    if results.exists():
        with results.open(newline="", encoding="utf-8") as file:
            lines = [dict.fromkeys(FIELDS, "") | line for line in csv.DictReader(file)]
    where = machine()
    for name in [given.only] if given.only else ("steps", "attacks") if given.quick else PARTS:
        for line in PARTS[name](options):
            lines = [known for known in lines if not _is_of(known, line, where)]
            lines.append(dict.fromkeys(FIELDS, "") | line | {"machine": where})
            shown = " ".join(f"{key} {line[key]}" for key in FIELDS[5:10] if line.get(key))
            print(f"{line['case']:<42}{line['contender']:<34}{line['value']:>10} {line['unit']:<18}{shown}", flush=True)
            write_lines(results, lines)


if __name__ == "__main__":
    main()
