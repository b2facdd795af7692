"""Attacks beside other libraries, and whole grids of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from benchmarks import nearest
from benchmarks.comparison import INSTALLED, Options, compared, floors, measured
from benchmarks.processes import Task, computed
from benchmarks.results_file import Line


def attack_contenders(name: str, installed: Collection[str]) -> dict[str, Task]:
    """This project first, then plain mode and the other libraries."""
    found = {"ours": Task("benchmarks.contenders", "attack", dict(name=name))}
    found["ours, plain"] = Task("benchmarks.contenders", "attack", dict(name=name, mode="plain"))
    for library in sorted({"foolbox", "art"}.intersection(installed), reverse=True):
        found[f"{library} (TensorFlow)"] = Task("benchmarks.tensorflow_libraries", library, dict(name=name))
    for library in sorted({*installed} - {"torch"}, reverse=True) if "torch" in installed else ():
        found[f"{library} (PyTorch)"] = Task("benchmarks.pytorch", "attack", dict(library=library, name=name))
    return found


def attacks(options: Options) -> Iterator[Line]:
    """FGS and PGD-10 on D1 for 250 images."""
    least = floors({"pgd": dict(dataset="mnist", method="pgd", batch=250, attack_only=True)})
    for name in ("pgd", "fgs"):
        yield from compared("attacks", f"D1 {name}", attack_contenders(name, INSTALLED), options, floor=least.get(name))


def minimum_norm(options: Options) -> Iterator[Line]:
    """Carlini-Wagner, DeepFool, JSMA and one pixel at equal settings, on a trained D1 and MNIST; --quick has only Foolbox."""
    most, libraries = (50, {"foolbox"}) if options.quick else (None, {"foolbox", "art"})
    for case, contenders in nearest.contenders(INSTALLED & libraries, most).items():
        yield from compared("minimum_norm", case, contenders, Options(options.rounds_of(3)))


def grid(options: Options) -> Iterator[Line]:
    """A whole grid of targets, sources and attacks, and the time of an evaluation beyond its attacks and predictions."""
    contenders = {"ours": Task("benchmarks.contenders", "grid", {})}
    contenders["ours, plain"] = Task("benchmarks.contenders", "grid", dict(mode="plain"))
    yield from compared("grid", "two D1, clean, FGS and PGD-10, 250 images", contenders, options, rounds=7)
    line: Line = dict(part="grid", case="beyond the attacks and predictions", contender="ours", unit="percent")
    task = Task("benchmarks.contenders", "grid_overhead", dict(rounds=options.rounds_of(7)))
    yield measured(line, lambda: computed(task)) | dict(rounds=options.rounds_of(7))
