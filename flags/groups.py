"""The parts of --help. Every flag is put into one where it is defined."""

from __future__ import annotations

import dataclasses

from absl import flags


@dataclasses.dataclass(frozen=True)
class Group:
    """A part of --help: its title, and the examples and lines by their names."""

    title: str
    entries: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)

    def has(self, holder: flags.FlagHolder, example: str, brief: str = "") -> flags.FlagHolder:
        """Puts a flag into the group.

        Args:
            holder: what defining it returned.
            example: an argument of the command line that has it.
            brief: what it does in one line, for --help; the flag's own help where that is one.
        """
        self.entries[holder.name] = example, brief or flags.FLAGS[holder.name].help
        return holder


RUN = Group("What to train")
DATA = Group("Data")
ATTACKS = Group("Attacks")
TABLES_AND_REPORTS = Group("Tables and reports")
EVALUATION = Group("Your own classifier, and the committed weights")
DEVICES = Group("Devices")
OUTPUT = Group("Output")
RECIPE = Group("Settings of the recipe")
GROUPS = (RUN, DATA, ATTACKS, TABLES_AND_REPORTS, EVALUATION, DEVICES, OUTPUT, RECIPE)
