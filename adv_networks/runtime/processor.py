"""What is known about this machine's processor. Loads no TensorFlow."""

from __future__ import annotations

import functools
import math
import os
import platform
from pathlib import Path

_DESCRIPTION = Path("/proc/cpuinfo")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# With any of these, TensorFlow switches oneDNN on by default.
_ONEDNN_BY_DEFAULT = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}


@functools.cache
def features() -> frozenset[str]:
    """The instruction sets of an x86 processor, by their Linux names; empty if unknown."""
    try:
        lines = _DESCRIPTION.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


@functools.cache
def name() -> str:
    """The processor's name, or its architecture if the name is unknown."""
    try:
        lines = _DESCRIPTION.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(found, "") or platform.processor() or platform.machine()


def cores() -> int:
    """How many cores this process may use: those that it is bound to, but no more than its container's share of time."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        return min(bound, cores_of_quota(_QUOTA.read_text(encoding="utf-8")) or bound)
    except (OSError, ValueError):
        return bound


def cores_of_quota(quota: str) -> int | None:
    """The cores of a container's limit, rounded up, in the words of Linux ("200000 100000"); None without a limit ("max")."""
    time, period = quota.split()
    return None if time == "max" else max(1, math.ceil(int(time) / int(period)))


def threads(count: int) -> tuple[int, int] | None:
    """The fastest numbers of threads per operation and of operations at once, for so many cores; None means TensorFlow's own.

    With (1, n) each of n cores takes its part of every batch (`splitting`). On one core there is nothing to share. On more than
    two the graphs would grow with the parts, and the gain has not been measured.
    """
    return (1, 2) if count == 2 else None


def describe() -> str:
    """The processor and the cores that this process may use, for the records of results."""
    return f"{name()}, {cores()} cores"


def has_onednn_by_default(known: frozenset[str]) -> bool:
    """Whether TensorFlow uses oneDNN's kernels by default on a processor with these instruction sets."""
    return bool(known & _ONEDNN_BY_DEFAULT)


def gains_by_onednn(known: frozenset[str]) -> bool:
    """Whether oneDNN is off by default but faster, as measured on an AMD EPYC with AVX2 (benchmarks)."""
    return "avx2" in known and not has_onednn_by_default(known)
