"""Names that come from users (class folders, files), made fit for texts, pictures, files and tables."""

from __future__ import annotations

import re


def printable(name: str) -> str:
    r"""The name with what cannot be printed as escapes: `a\nb` for a line break, `\xff` for a byte that is no UTF-8."""
    return "".join(character if character.isprintable() else _escaped(character) for character in name)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # What Python makes of a byte that is no UTF-8, in the name of a file.
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def shortened(name: str, longest: int = 40) -> str:
    """A name as it fits into a picture or a message: one of more than so many characters loses its end."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def for_files(name: str) -> str:
    """The name as a part of a file's name: letters, digits, points and underscores of ASCII."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name)
