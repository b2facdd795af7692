"""`--verify`: evaluates the committed weights again, and compares the accuracies with the committed tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from adv_networks import evaluation, tables
from adv_networks.commands.base import Unchecked
from adv_networks.commands.listing import aligned
from adv_networks.errors import UserError
from adv_networks.experiments import TABLES, Cell
from adv_networks.storage.records import read
from adv_networks.training import Workspace

# In points. Another processor or number of threads sums in another order, which now and then changes a prediction.
TOLERANCE = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verify(Unchecked):
    """Evaluates the committed weights of a scale again, and compares the accuracies with the tables beside them.

    A file in `<results>/<scale>/weights` is the `d.keras` of the run that it is named after. A measured cell is compared if its
    networks are there and its attack is not a generator's.

    Attributes:
        scale: the runs' scale.
        workspace: the directories of results and data.
    """

    needs_tensorflow: ClassVar[bool] = True

    workspace: Workspace
    scale: str = "cpu"

    def run(self) -> Iterator[str]:
        """See `Command.run`; prints the cells, each with the committed accuracy and the one that the weights give now.

        Raises:
            UserError: there are no weights, the records are of other weights, or a cell differs by more than `TOLERANCE`.
        """
        yield _verify(self.workspace.group(self.scale), self.scale, self.workspace)


def _verify(group: Path, scale: str, workspace: Workspace) -> str:
    files = {file.stem: file for file in sorted((group / "weights").glob("*.keras"))}
    cells = [(cell, percent) for cell, percent in _committed(group, scale) if _networks(cell) <= files.keys()]
    if not cells:
        raise UserError(f"{group / 'weights'}: expected the weights of a table's runs, found none")
    models = {name: evaluation.load_classifier(files[name]) for name in set().union(*(_networks(cell) for cell, _ in cells))}
    # If a run was trained again, there are records of its earlier weights too.
    recorded = {network for record in read(group / "records.csv") for network in record.networks.items()}
    for name, model in models.items():
        found = evaluation.weights_hash(model)
        if (name, found) not in recorded:
            known = " or ".join(sorted(known for own, known in recorded if own == name)) or "none"
            raise UserError(f"{files[name]}: expected the weights of the records, {known}, found {found}")
    found = _accuracies([cell for cell, _ in cells], models, workspace)
    lines, wrong = [("table", "row", "column", "committed", "now")], []
    for cell, committed in cells:
        now = found[_identity(cell)]
        if abs(now - committed) > TOLERANCE:
            wrong.append(f"table {cell.table}, {cell.dataset}, {cell.row}, {cell.column}: committed {committed}, now {now:.2f}")
        lines.append((cell.table, cell.row, cell.column, f"{committed:.2f}", f"{now:.2f}"))
    if wrong:
        others = f" (and {len(wrong) - 1} further cells)" if len(wrong) > 1 else ""
        raise UserError(f"expected the committed table within {TOLERANCE} points, found {wrong[0]}{others}")
    return f"{aligned(lines, indent='')}\n{len(cells)} cells are within {TOLERANCE} points of the committed tables."


def _committed(group: Path, scale: str) -> list[tuple[Cell, float]]:
    """The measured cells of the tables in a directory of results, with their accuracies in percent."""
    cells = []
    for table in TABLES.values():
        file = group / f"{tables.stem(table)}.csv"
        if table.datasets and file.exists():
            lines = {(line["dataset"], line["row"], line["column"]): line for line in tables.read(file)}
            for cell in table.cells(scale):
                line = lines.get((cell.dataset, cell.row, cell.column))
                if line and line["measured_percent"] and cell.metric == "accuracy":
                    cells.append((cell, float(line["measured_percent"])))
    return cells


def _networks(cell: Cell) -> set[str]:
    """The names of the networks that the cell depends on."""
    return {cell.target.name} | ({tables.source_name(cell)} if cell.attack.has_source else set())


def _identity(cell: Cell) -> tuple[str, str, str]:
    return cell.target.name, tables.source_name(cell), cell.attack.settings()


def _accuracies(cells: Sequence[Cell], models, workspace: Workspace) -> dict[tuple[str, str, str], float]:
    """Accuracies in percent by `_identity`; a cell that several tables share is evaluated once."""
    result = {}
    for cell in {_identity(cell): cell for cell in cells}.values():
        images, labels = workspace.images(cell.dataset, "test", cell.target.test_images)
        source = models.get(tables.source_name(cell))
        options = dict(attack=cell.attack, source=source, bn_evaluation=cell.target.bn_evaluation)
        result[_identity(cell)] = 100 * evaluation.accuracy(models[cell.target.name], images, labels, **options)
    return result
