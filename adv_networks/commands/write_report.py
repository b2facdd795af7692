"""`--report`: writes a directory of results as one page and pictures."""

from __future__ import annotations

import dataclasses
import webbrowser
from collections.abc import Iterator
from typing import ClassVar

from adv_networks.commands.base import Request, Unchecked
from adv_networks.tables import report
from adv_networks.training import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class WriteReport(Unchecked):
    """Writes `report.html` and pictures of the existing tables.

    Attributes:
        request: says which directory of results to use.
        workspace: the directories of runs and results.
        opened: open the page in the user's browser.
    """

    needs_tensorflow: ClassVar[bool] = False

    request: Request
    workspace: Workspace
    opened: bool = False

    def run(self) -> Iterator[str]:
        """See `Command.run`; prints the name of the page."""
        group = self.workspace.group(**self.request.group)
        page = report.write(group, scale=self.request.scale, runs_directory=self.workspace.runs)
        yield str(page)
        if self.opened and not webbrowser.open(page.resolve().as_uri()):
            yield "There is no browser here to open it with."
