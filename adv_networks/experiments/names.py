"""The names of runs and of their files."""

from __future__ import annotations

import hashlib

_LONGEST_NAME = 160


def shortened(name: str) -> str:
    """The name, short enough for file systems and a suffix: the end of a name that is too long becomes a hash of all of it."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def generator_file(position: int) -> str:
    """The file of the generator at this position (from 0) among a run's `generators`.

    Examples:
        >>> from adv_networks.experiments import generator_file
        >>> generator_file(0), generator_file(1)
        ('g.keras', 'g-2.keras')
    """
    return f"g-{position + 1}.keras" if position else "g.keras"
