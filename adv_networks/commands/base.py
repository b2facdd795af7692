"""The protocol of commands, and the request that commands about tables share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol

from adv_networks.experiments import SCALES, SUITES, Table, find_dataset


class Command(Protocol):
    """One command of the command line, with its arguments as plain values; created before TensorFlow is loaded."""

    needs_tensorflow: ClassVar[bool]

    def check(self) -> None:
        """Finds the errors that can be found before TensorFlow is loaded.

        Raises:
            UsageError: a name does not exist, or arguments contradict one another.
        """

    def run(self) -> Iterator[str]:
        """Runs the command; yields the texts to print, each as soon as it is ready."""


class Unchecked:
    """A command whose arguments need no checks beyond those of the flags."""

    def check(self) -> None:
        """See `Command.check`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The settings of a command about tables, the same for every table.

    Attributes:
        scale: the runs' scale, a key of `experiments.SCALES`.
        protocol: key of `experiments.PROTOCOLS`.
        seeds: seeds of the classifiers under attack; tables of seeds other than (0,) have their own directory. With several
            seeds, the cells are means, and the curves along the training are those of the first seed.
        datasets: complete the cells of these data sets only; the other cells are filled from existing records. None: all.
        overrides: settings by name.
        attack_suite: key of `experiments.SUITES`; tables of a suite other than the paper's have their own files.
        attacks: further columns, as texts for `experiments.parse_attack`; tables with them have their own files too.
        finished_only: train nothing; cells of unfinished runs are filled from existing records, or stay empty.
    """

    scale: str = "cpu"
    protocol: str = "paper"
    seeds: tuple[int, ...] = (0,)
    datasets: tuple[str, ...] | None = None
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    attack_suite: str = "paper"
    attacks: tuple[str, ...] = ()
    finished_only: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The protocol and the overrides, as `Table.cells` takes them."""
        return dict(protocol=self.protocol, **limited(self.attack_suite, self.scale, self.overrides))

    def table(self, table: Table) -> Table:
        """The table on these data sets, with the columns of the suite and of the further attacks.

        Raises:
            UsageError: the table cannot have these data sets or columns.
        """
        return table.on(self.datasets).under(self.attack_suite).with_attacks(self.attacks)

    def check(self, table: Table) -> None:
        """Raises a UsageError if a cell of the table cannot be evaluated as requested."""
        for cell in self.table(table).cells(self.scale, seed=self.seeds[0], datasets=self.datasets, **self.options):
            if not cell.attack.packages:
                classes = find_dataset(cell.dataset).classes
                cell.attack.check(classes=classes, bn_evaluation=cell.target.bn_evaluation)

    @property
    def directory(self) -> str:
        """The directory for tables of these seeds, below that of seed 0."""
        return "" if self.seeds == (0,) else f"seed{'_'.join(map(str, self.seeds))}"

    @property
    def group(self) -> dict[str, Any]:
        """The arguments of `Workspace.group`, which name the directory of the results."""
        return dict(scale=self.scale, protocol=self.protocol, **self.overrides)


def limited(attack_suite: str, scale: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides, with the suite's number of test images unless the overrides or the scale set one."""
    limit = SUITES[attack_suite].images
    return dict({"test_images": limit} if limit and not SCALES[scale].test_images else {}) | dict(overrides)
