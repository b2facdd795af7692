"""The texts of --help and --helpfull, and the documentation page that is made from the same flags."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from absl import flags

from adv_networks.experiments import SETTINGS
from flags.groups import GROUPS, RECIPE, Group

_WIDTH = 110
_COMMANDS = (
    ("--demo", "attack the three networks that ship with the package"),
    ("", "train a classifier on embedded digits, and attack it"),
    ("--dataset=mnist --method=pgd", "train (or resume) a classifier, and attack it"),
    ("--model=mine.keras --input_range=0,1 --dataset=mnist", "attack your own Keras classifier"),
    ("--table=1", "make a table of the paper: results/cpu/table1.csv"),
    ("--list", "list what these flags accept, and the runs so far"),
)
_CODES = (
    "Exit codes: 0 done; 1 something is missing, damaged or of the wrong kind; 2 wrong usage; 128 + n stopped by signal n.",
    "--verbosity=0 also shows the messages of TensorFlow and TensorFlow Datasets.",
)


def brief(invocation: Sequence[str]) -> str:
    """The text of --help: the commands and the flags, one line each. `invocation`: the words that start the program."""
    lines = [*_commands(invocation), ""]
    for group in GROUPS:
        if group is not RECIPE:
            lines.append(group.title + " (each flag: an example, what it does, [default])" * (group is GROUPS[0]))
            width = max(len(example) for own in GROUPS if own is not RECIPE for example, _ in own.entries.values())
            lines += [f"  {example:<{width}}  {text}" for example, text in group.entries.values()]
    lines.append(f"{RECIPE.title}: --epsilon=0.2 --steps=500 --norm=l2 and {len(SETTINGS) - 3} more, listed by --helpfull")
    return "\n".join([*lines, "", *_CODES])


def full(invocation: Sequence[str]) -> str:
    """The text of --helpfull: every flag with its full description."""
    lines = list(_commands(invocation))
    for group in GROUPS:
        lines += ["", group.title]
        for name in group.entries:
            lines += _paragraph(group, name)
    return "\n".join([*lines, "", *_CODES])


def as_markdown() -> str:
    """All flags as a page in Markdown: a table for each group."""
    parts = ["# Flags", "`--help` prints a short form of this list, `--helpfull` all of it. Each flag is listed once."]
    for group in GROUPS:
        rows = [f"| `{example}` | {_escaped(_meaning(group, name))} |" for name, (example, _) in group.entries.items()]
        parts += [f"## {group.title}", "\n".join(["| example | what it does |", "| --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def _commands(invocation: Sequence[str]) -> Iterator[str]:
    called = " ".join(invocation)
    width = max(len(arguments) for arguments, _ in _COMMANDS)
    yield "Adversarial attacks and defences, built around the reproduction of an ICLR 2019 paper."
    for arguments, text in _COMMANDS:
        yield f"  {called} {arguments:<{width}}  {text}"


def _paragraph(group: Group, name: str) -> list[str]:
    example, _ = group.entries[name]
    return [f"  {example}", *textwrap.wrap(_meaning(group, name), _WIDTH, initial_indent="      ", subsequent_indent="      ")]


def _meaning(group: Group, name: str) -> str:
    """The full description of a flag: what it does, its values and its default."""
    flag, (example, _) = flags.FLAGS[name], group.entries[name]
    text = re.sub("^<[^>]*>: ", "", flag.help).removeprefix("override: ")  # absl puts the values first
    if example == f"--no{name}":
        text += f" (--no{name} switches this off)"
    values = getattr(flag.parser, "enum_values", None)
    bounds = getattr(flag.parser, "syntactic_help", "")
    if values:
        text += f" (one of {', '.join(values)})"
    elif "number" in bounds or "integer" in bounds:
        text += f" ({bounds})"
    default = flag.default if group is not RECIPE else SETTINGS[name].default
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{text} [{'default of the recipes: ' if group is RECIPE else ''}{'none' if shown is None else shown}]"


def _escaped(text: str) -> str:
    """Escapes a text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")
