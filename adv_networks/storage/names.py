"""Adapts names that come from users (class folders, files) to texts, pictures, files and tables."""

from __future__ import annotations

import re


def printable(name: str) -> str:
    r"""The name with unprintable characters as escapes: `a\nb` for a line break, `\xff` for a byte that is not UTF-8."""
    return "".join(character if character.isprintable() else _escaped(character) for character in name)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # In file names, Python represents bytes that are not UTF-8 by these code points.
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def shortened(name: str, longest: int = 40) -> str:
    """A name for a picture or a message: the end of one with more than `longest` characters is cut off."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def for_files(name: str) -> str:
    """The name as part of a file name: only ASCII letters, digits, dots and underscores."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name)
