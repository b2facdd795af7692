"""What every command is, and what is asked of tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol

from adv_networks.experiments import SCALES, SUITES


class Command(Protocol):
    """What one command line does, with all that it says as plain values; made before TensorFlow is loaded."""

    needs_tensorflow: ClassVar[bool]

    def run(self) -> Iterator[str]:
        """Does it; yields the texts to print, each once it is done."""


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
