"""Adapts names that come from users (class folders, files) to texts, pictures, files and tables."""

from __future__ import annotations

import re


def shortened(name: str, longest: int = 40) -> str:
    """A name for a picture or a message: the end of one with more than `longest` characters is cut off."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def for_files(name: str) -> str:
    """The name as part of a file name: only ASCII letters, digits, dots and underscores."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name)
