"""The command line: defines the flags, parses them, and turns them into one command. Only this package uses absl's flags."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging

from adv_networks.commands.base import Command
from flags import commands, definitions, rules, usage

__all__ = ["Process", "command", "definitions", "parse", "process"]

_HELP = {"--help": usage.brief, "-help": usage.brief, "-h": usage.brief, "--helpfull": usage.full, "-helpfull": usage.full}
_program = "adv-networks"


@dataclasses.dataclass(frozen=True)
class Process:
    """The flags that concern the whole process rather than one command.

    Attributes:
        program: the program's name in messages.
        talkative: whether other libraries may print more than warnings.
        runtime: key of `runtime.MODES`.
        scale: the runs' scale.
        progress: whether to show progress.
        figures: file format of the figures, one of `pictures.FORMATS`.
    """

    program: str
    talkative: bool
    runtime: str
    scale: str
    progress: bool
    figures: str


def parse(arguments: Sequence[str]) -> None:
    """Parses a command line. Wrong usage ends the process with one line and exit code 2; --help ends it with 0."""
    global _program
    _program = _name_of(arguments[0])
    for asked in arguments:
        if asked in _HELP:
            print(_HELP[asked](_invocation()))
            sys.exit(0)
    try:
        rest = flags.FLAGS(list(arguments))
        if len(rest) > 1:
            raise flags.Error(f"expected flags only, received {' '.join(rest[1:])}")
        rules.check_all_are_read()
    except flags.Error as error:
        print(f"{_program}: {' '.join(str(error).split())} (--help lists the flags)", file=sys.stderr)
        sys.exit(2)


def process() -> Process:
    """The parsed flags that concern the process. Also sets how much absl logs, and the libraries that log through it."""
    values = flags.FLAGS
    # By default, absl logs more than warnings.
    verbosity = values["verbosity"]
    logging.set_verbosity(verbosity.value if verbosity.present else logging.WARNING)
    talkative = logging.get_verbosity() > logging.WARNING
    return Process(_program, talkative, values.runtime, values.scale, values.progress, values.figures)


def command() -> Command:
    """The command that the parsed flags ask for.

    Raises:
        UsageError: the flags contradict one another.
    """
    return commands.command(_invocation())


def _name_of(file: str) -> str:
    """The program's name in messages: the name of its file, or `adv-networks` if the package itself is run."""
    name = Path(file).name
    return "adv-networks" if name == "__main__.py" else name


def _invocation() -> tuple[str, ...]:
    """The words that start the program, for commands that are printed."""
    return ("python", "main.py") if _program == "main.py" else ("adv-networks",)
