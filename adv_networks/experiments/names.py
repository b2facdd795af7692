"""The names of runs and of their files."""

from __future__ import annotations

import hashlib

_LONGEST_NAME = 160


def shortened(name: str) -> str:
    """A name that file systems take, room for endings included: the end of a longer one is a hash of all of it."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def generator_file(position: int) -> str:
    """The file of a run's generator, which is at that position (from 0) among `generators`."""
    return f"g-{position + 1}.keras" if position else "g.keras"
