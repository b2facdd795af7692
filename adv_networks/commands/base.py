"""What every command is, and what is asked of tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol

from adv_networks.experiments import SCALES, SUITES, Table, find_dataset


class Command(Protocol):
    """What one command line does, with all that it says as plain values; made before TensorFlow is loaded."""

    needs_tensorflow: ClassVar[bool]

    def check(self) -> None:
        """Raises what can be known to be wrong before TensorFlow is loaded.

        Raises:
            UsageError: names or numbers that do not exist or contradict one another.
        """

    def run(self) -> Iterator[str]:
        """Does it; yields the texts to print, each once it is done."""


class Unchecked:
    """A command whose arguments the flags' own checks suffice for."""

    def check(self) -> None:
        """See `Command.check`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of tables, whichever they are.

    Attributes:
        scale: the runs' scale, a key of `experiments.SCALES`.
        protocol: key of `experiments.PROTOCOLS`.
        seeds: of the classifiers under attack; others than 0 alone have a directory of their own. Of several the cells are
            means, and what is along the training is the first one's.
        datasets: complete only these data sets' cells; the others are filled from the records there are. None: all.
        overrides: settings by name.
        attack_suite: key of `experiments.SUITES`; the tables of another than the paper's have files of their own.
        attacks: further columns, as `experiments.parse_attack` reads them; tables with them have files of their own too.
        finished_only: train nothing; the cells of runs that are not finished are what the records say, or stay empty.
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
        """The table of these data sets, with the columns of the suite and of the further attacks.

        Raises:
            UsageError: it cannot be had so.
        """
        return table.on(self.datasets).under(self.attack_suite).with_attacks(self.attacks)

    def check(self, table: Table) -> None:
        """Raises a UsageError where the table's cells cannot be what is asked for."""
        for cell in self.table(table).cells(self.scale, seed=self.seeds[0], datasets=self.datasets, **self.options):
            if not cell.attack.packages:
                classes = find_dataset(cell.dataset).classes
                cell.attack.check(classes=classes, bn_evaluation=cell.target.bn_evaluation)

    @property
    def directory(self) -> str:
        """Where tables of these seeds are, below those of seed 0."""
        return "" if self.seeds == (0,) else f"seed{'_'.join(map(str, self.seeds))}"

    @property
    def group(self) -> dict[str, Any]:
        """What names the directory of the results, as `Workspace.group` takes it."""
        return dict(scale=self.scale, protocol=self.protocol, **self.overrides)


def limited(attack_suite: str, scale: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides with the suite's number of test images, where neither they nor the scale has one."""
    limit = SUITES[attack_suite].images
    return dict({"test_images": limit} if limit and not SCALES[scale].test_images else {}) | dict(overrides)
