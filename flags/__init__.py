"""The command line: flags, and the one command that they say. Only this package and main.py know that absl flags exist."""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from flags import definitions, rules

__all__ = ["definitions", "parse"]


def parse(arguments: list[str]) -> list[str]:
    """Parses the command line; a wrong one ends the process with one line and exit code 2, --help with 0."""
    try:
        rest = flags.FLAGS(arguments)
        if len(rest) > 1:
            raise flags.Error(f"expected flags only, received {' '.join(rest[1:])}")
        rules.check_all_are_read()
    except SystemExit:  # --help, for which absl exits with 1
        sys.exit(0)
    except flags.Error as error:
        print(f"{Path(arguments[0]).name}: {' '.join(str(error).split())} (--help lists the flags)", file=sys.stderr)
        sys.exit(2)
    return rest
