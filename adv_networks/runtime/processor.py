"""What is known about this machine's processor. Loads no TensorFlow."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

_DESCRIPTION = Path("/proc/cpuinfo")
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
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_onednn_by_default(known: frozenset[str]) -> bool:
    """Whether TensorFlow uses oneDNN's kernels by default on a processor with these instruction sets."""
    return bool(known & _ONEDNN_BY_DEFAULT)


def gains_by_onednn(known: frozenset[str]) -> bool:
    """Whether oneDNN is off by default but faster, as measured on an AMD EPYC with AVX2 (benchmarks)."""
    return "avx2" in known and not has_onednn_by_default(known)
