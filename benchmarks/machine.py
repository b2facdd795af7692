"""What a measurement depends on: the processor, settings in the environment, versions of the libraries, and the commit."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from adv_networks.runtime import processor
from benchmarks.processes import ROOT

# Environment variables that choose kernels, threads and the allocator.
_SETTINGS = (
    "TF_ENABLE_ONEDNN_OPTS",
    "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "XLA_FLAGS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "LD_PRELOAD",
)
_PACKAGES = ("tensorflow", "keras", "torch", "foolbox", "adversarial-robustness-toolbox", "torchattacks")
_MEASUREMENTS = ("csv", "png")


def machine() -> str:
    """The processor with its number of cores, kind and widest instructions, environment variables, and library versions."""
    kind = [*generation(_description()), _instructions(processor.features())]
    words = [f"{processor.cores()} x {processor.name()} ({', '.join(kind)})"]
    settings = (*_SETTINGS, *sorted(name for name in os.environ if name.startswith("MALLOC_")))
    words += [f"{name}={os.environ[name]}" for name in settings if name in os.environ]
    for package in _PACKAGES:
        try:
            words.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            words.append(f"no {package}")
    return ", ".join(words)


def _description() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def generation(description: str) -> list[str]:
    """The family and model numbers of an x86 processor in the text of /proc/cpuinfo, because several share one name."""
    fields = (line.partition(":") for line in description.splitlines())
    found = {name.strip(): value.strip() for name, _, value in fields}
    return [f"{name.split()[-1]} {found[name]}" for name in ("cpu family", "model") if name in found]


def _instructions(features: frozenset[str]) -> str:
    names = {"avx512_vnni": "AVX-512 VNNI", "avx512f": "AVX-512", "avx2": "AVX2"}
    return next((name for feature, name in names.items() if feature in features), "no AVX2")


def commit(root: Path = ROOT) -> str:
    """The short hash of a checkout's commit, with "+" if its files differ from it; empty without a checkout.

    What benchmarks write beside themselves does not count as a difference, or every second run would have one.
    """
    excluded = [f":(exclude)benchmarks/*.{kind}" for kind in _MEASUREMENTS]
    try:
        head = _git(root, "rev-parse", "--short", "HEAD")
        return head + "+" * bool(_git(root, "status", "--porcelain", "--", ".", *excluded))
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True).stdout.strip()
