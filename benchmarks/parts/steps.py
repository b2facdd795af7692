"""Training steps of 64 random images, beside PyTorch and under other allocators."""

from __future__ import annotations

import ctypes.util
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.comparison import INSTALLED, Options, compared, floors
from benchmarks.processes import Task
from benchmarks.results_file import Line

BATCH = 64
# In the order of the table.
CASES = tuple((dataset, method) for dataset in ("mnist", "cifar10") for method in ("advnet", "pgd", "standard"))


def own_step(dataset: str, method: str = "advnet", environment: Mapping[str, str] | None = None, **options: Any) -> Task:
    """A training step of this project."""
    return Task("benchmarks.contenders", "ours", dict(dataset=dataset, method=method, **options), environment)


def step_contenders(dataset: str, method: str, installed: Collection[str]) -> dict[str, Task]:
    """This project first, then its variants and the same step in PyTorch."""
    found = {"ours": own_step(dataset, method), "ours, plain": own_step(dataset, method, mode="plain")}
    if method == "advnet":
        found["literal graph"] = Task("benchmarks.contenders", "literal", dict(dataset=dataset))
        for kind in ("exact", "none"):
            found[f"ours, regulariser {kind}"] = own_step(dataset, regulariser=kind)
    if "torch" not in installed:
        return found
    if method == "advnet":
        for name, compiled in (("PyTorch", False), ("PyTorch compiled", True)):
            found[name] = Task("benchmarks.pytorch", "advnet", dict(dataset=dataset, compiled=compiled))
        return found
    variants: dict[str, dict[str, bool]] = {"PyTorch channels last": {}}
    if method == "pgd":
        variants = {"PyTorch": dict(channels_last=False), **variants, "PyTorch channels last, compiled": dict(compiled=True)}
    for name, variant in variants.items():
        found[name] = Task("benchmarks.pytorch", "training", dict(dataset=dataset, method=method, **variant))
    return found


def steps(options: Options) -> Iterator[Line]:
    """Training steps: Eq. 4-5 with D and G1(8) and the regulariser's variants, PGD training, and standard training."""
    least = floors({f"{dataset} {method}": dict(dataset=dataset, method=method, batch=BATCH) for dataset, method in CASES})
    for dataset, method in CASES:
        case = f"{dataset} {method}"
        contenders = step_contenders(dataset, method, INSTALLED)
        yield from compared("steps", case, contenders, options, floor=least[case])


def allocators() -> dict[str, dict[str, str]]:
    """The environments of memory allocators by name; other libraries only where they are found."""
    # 32 MiB is the largest threshold for mmap that glibc accepts.
    thresholds = dict(MALLOC_MMAP_THRESHOLD_=2**25, MALLOC_TRIM_THRESHOLD_=2**30, MALLOC_TOP_PAD_=2**26)
    found = {"larger thresholds": {name: str(value) for name, value in thresholds.items()}}
    found |= {f"{count} arena{'s' * (count > 1)}": {"MALLOC_ARENA_MAX": str(count)} for count in (1, 2)}
    for names in (("jemalloc",), ("tcmalloc_minimal", "tcmalloc")):
        if library := next(filter(None, map(_library, names)), None):
            found[names[-1]] = {"LD_PRELOAD": library}
    return found


def _library(name: str) -> str | None:
    """A library as LD_PRELOAD takes it: its name if the loader knows it, otherwise its file where Debian puts it."""
    folders = ("lib", "lib/*-linux-gnu*", "local/lib")
    files = (str(file) for folder in folders for file in sorted(Path("/usr").glob(f"{folder}/lib{name}.so.*")))
    return ctypes.util.find_library(name) or next(files, None)


def allocator(options: Options) -> Iterator[Line]:
    """Our steps with the default allocator and with others, which are set in the contender's environment."""
    for dataset, method in (("mnist", "standard"), ("cifar10", "pgd"), ("cifar10", "advnet")):
        contenders = {"ours": own_step(dataset, method)}
        contenders |= {f"ours, {name}": own_step(dataset, method, environment) for name, environment in allocators().items()}
        yield from compared("allocator", f"{dataset} {method}", contenders, options)
