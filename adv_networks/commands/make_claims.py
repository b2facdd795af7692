"""`--table=claims`: checks the sources' statements about their tables on the existing records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from adv_networks import tables
from adv_networks.commands.base import Request, Unchecked
from adv_networks.experiments import TABLES
from adv_networks.storage.records import read
from adv_networks.tables import statements
from adv_networks.tables.networks import Networks
from adv_networks.training import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class MakeClaims(Unchecked):
    """Writes a CSV and a Markdown file for each source; trains and evaluates nothing.

    The request's data sets are ignored, because a statement names its own cells, of any data set. A claim about a table whose
    rows set one of the request's overrides themselves counts as not measured.
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
        needed = [TABLES[name] for name in statements.tables_needed() if not TABLES[name].row_settings & overrides]
        options = dict(protocol=request.protocol, **request.overrides)
        cells = [cell for table in needed for cell in table.cells(request.scale, seed=seed, **options)]
        networks = Networks(self.workspace).hashes(cells)
        own = dict(scale=request.scale, networks=networks, seed=seed, **options)
        rows = [row for table in needed for row in tables.make_table(table, records, **own)]
        directory = group / dataclasses.replace(request, seeds=(seed,)).directory
        rows += statements.derived(directory)
        statements.write(rows, directory, scale=request.scale)
        yield statements.as_text(rows, scale=request.scale)
