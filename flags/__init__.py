"""The command line: flags, and the one command that they say. Only this package knows that absl's flags exist."""

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
    """What flags say of the process rather than of a command.

    Attributes:
        program: the name that it goes by in messages.
        talkative: whether other libraries may say more than warnings.
        runtime: key of `runtime.MODES`.
        scale: the runs' scale.
        progress: whether to show how far things are.
        figures: one of `pictures.FORMATS`.
    """

    program: str
    talkative: bool
    runtime: str
    scale: str
    progress: bool
    figures: str


def parse(arguments: Sequence[str]) -> None:
    """Parses a command line; a wrong one ends the process with one line and exit code 2, --help with 0."""
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
    """What the parsed flags say of the process; sets what absl, and what logs by it, may say."""
    values = flags.FLAGS
    # absl's own default for a program is to say more.
    verbosity = values["verbosity"]
    logging.set_verbosity(verbosity.value if verbosity.present else logging.WARNING)
    talkative = logging.get_verbosity() > logging.WARNING
    return Process(_program, talkative, values.runtime, values.scale, values.progress, values.figures)


def command() -> Command:
    """The one command that the parsed flags say.

    Raises:
        UsageError: they contradict one another.
    """
    return commands.command(_invocation())


def _name_of(file: str) -> str:
    """What a program is called: `adv-networks`, unless it is another file than that and the package itself."""
    name = Path(file).name
    return "adv-networks" if name == "__main__.py" else name


def _invocation() -> tuple[str, ...]:
    """How the program is called, in words, for commands that are printed."""
    return ("python", "main.py") if _program == "main.py" else ("adv-networks",)
