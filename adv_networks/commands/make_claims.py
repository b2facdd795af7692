"""`--table=claims`: checks the sources' statements about their tables on the existing records."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from adv_networks import tables
from adv_networks.commands.base import Request
from adv_networks.errors import UserError
from adv_networks.experiments import TABLES, results_group
from adv_networks.storage.records import read
from adv_networks.tables import statements
from adv_networks.tables.networks import Networks
from adv_networks.training import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class MakeClaims:
    """Writes a CSV and a Markdown file for each source; trains and evaluates nothing.

    The request's data sets are ignored, because a statement names its own cells, of any data set. A claim about a table whose
    rows set one of the request's overrides themselves counts as not measured, unless the table is in one of `tables_from`.

    Attributes:
        request: the settings of the results to judge; the first of its seeds counts.
        workspace: the directories.
        tables_from: further directories. Tables that were written in or below them, with any overrides, count too.
    """

    needs_tensorflow: ClassVar[bool] = False

    request: Request
    workspace: Workspace
    tables_from: tuple[Path, ...] = ()

    def check(self) -> None:
        """See `Command.check`."""
        for top in self.tables_from:
            if not self._groups(top):
                raise UserError(f"--tables_from: expected results of scale {self.request.scale} in or below {top}, found none")

    def run(self) -> Iterator[str]:
        """See `Command.run`."""
        request = dataclasses.replace(self.request, seeds=self.request.seeds[:1])
        group = self.workspace.group(**request.group)
        directory = group / request.directory
        rows, places = [*self._own(group), *statements.derived(directory)], {}
        if self.tables_from:
            others = [found / request.directory for top in self.tables_from for found in self._groups(top)]
            rows, places = statements.gathered(
                {directory: rows}
                | {other: statements.written(other) for other in others if other.resolve() != directory.resolve()}
            )
        statements.write(rows, directory, scale=request.scale, places=places)
        yield statements.as_text(rows, scale=request.scale)

    def _own(self, group: Path) -> list[dict]:
        """The rows of the tables with the request's settings, from the records in the directory of its results."""
        request, seed = self.request, self.request.seeds[0]
        overrides = request.overrides.keys()
        needed = [TABLES[name] for name in statements.tables_needed() if not TABLES[name].row_settings & overrides]
        options = dict(protocol=request.protocol, **request.overrides)
        cells = [cell for table in needed for cell in table.cells(request.scale, seed=seed, **options)]
        own = dict(scale=request.scale, networks=Networks(self.workspace).hashes(cells), seed=seed, **options)
        records = read(group / "records.csv")
        return [row for table in needed for row in tables.make_table(table, records, **own)]

    def _groups(self, top: Path) -> list[Path]:
        """The directories of results of the request's scale and protocol in or below a directory, with any overrides."""
        plain = results_group(Path(), self.request.scale, protocol=self.request.protocol).name
        group = re.compile(rf"{re.escape(plain)}(-\w+=.*)?")
        return [place for place in (top, *sorted(top.rglob("*"))) if place.is_dir() and group.fullmatch(place.name)]
