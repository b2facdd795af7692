"""The provenance of a result: commit and library versions."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

_PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy")


@functools.cache
def commit() -> str:
    """The commit of the checkout that this library runs from, "-modified" if its code differs; else the package's version."""
    import subprocess  # which takes long to load

    root = Path(__file__).parents[2]
    try:
        if not (root / ".git").exists():
            raise FileNotFoundError
        head = subprocess.run(
            ["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        code = ["git", "-C", root, "status", "--porcelain", "--", "adv_networks", "main.py"]
        changed = subprocess.run(code, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return f"adv_networks {_version('adv_networks')}"
    return head + "-modified" * bool(changed)


@functools.cache
def versions(*further: str) -> str:
    """Versions of Python and the libraries that numbers depend on, and of further packages, on one line."""
    installed = (f"{name} {_version(name)}" for name in (*_PACKAGES, *further))
    return ", ".join((f"python {platform.python_version()}", *installed))


def _version(package: str) -> str:
    from importlib import metadata  # which takes long to load

    return metadata.version(package)
