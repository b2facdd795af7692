"""The sections of --help. Every flag is added to one where it is defined."""

from __future__ import annotations

import dataclasses

from absl import flags


@dataclasses.dataclass(frozen=True)
class Group:
    """A section of --help: its title, and for each flag, by name, an example and one line of text."""

    title: str
    entries: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)

    def has(self, holder: flags.FlagHolder, example: str, brief: str = "") -> flags.FlagHolder:
        """Adds a flag to the group.

        Args:
            holder: the flag, as `flags.DEFINE_*` returned it.
            example: a command-line argument that uses it.
            brief: what it does, in one line for --help; without it, the flag's full help.
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
