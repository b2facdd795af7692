"""`--table=claims`: the sources' statements about their tables, run on the records there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from adv_networks import claims, tables
from adv_networks.commands.base import Request
from adv_networks.experiments import TABLES
from adv_networks.storage.records import read
from adv_networks.tables.networks import Networks
from adv_networks.training import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class MakeClaims:
    """Writes `claims.csv` and `claims.md`; trains and evaluates nothing.

    The request's data sets select nothing: a statement rests on the cells that it names, of any data set. What rests on a
    table that is not made with the request's overrides is not measured.
    """

    needs_tensorflow: ClassVar[bool] = False

    request: Request
    workspace: Workspace

    def run(self) -> Iterator[str]:
        """See `Command.run`."""
        request, seed = self.request, self.request.seeds[0]
        group = self.workspace.group(**request.group)
        records = read(group / "records.csv")
        overrides = request.overrides.keys()
        numbered = [table for name, table in TABLES.items() if name.isdigit() and not table.row_settings & overrides]
        options = dict(protocol=request.protocol, **request.overrides)
        cells = [cell for table in numbered for cell in table.cells(request.scale, seed=seed, **options)]
        networks = Networks(self.workspace).hashes(cells)
        own = dict(scale=request.scale, networks=networks, seed=seed, **options)
        rows = [row for table in numbered for row in tables.make_table(table, records, **own)]
        directory = dataclasses.replace(request, seeds=(seed,)).directory
        claims.write(rows, group / directory, scale=request.scale)
        yield claims.as_text(rows, scale=request.scale)
