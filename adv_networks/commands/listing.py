"""`--list`: lists data sets, methods, tables and runs as aligned text. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from adv_networks import tables
from adv_networks.claims import SOURCES
from adv_networks.commands.base import Request, Unchecked
from adv_networks.data.sources import tfds
from adv_networks.errors import UserError
from adv_networks.experiments import (
    ATTACKS,
    CLASSIFIERS,
    DATASETS,
    GENERATORS,
    LIBRARIES,
    METHODS,
    TABLES,
    Dataset,
    DeclaredAttack,
    Family,
    Table,
    bundles,
)
from adv_networks.storage import run_directories
from adv_networks.training import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class List(Unchecked):
    """Lists the names that the command line takes, and the state of tables and runs.

    Attributes:
        request: says which directory of results to list.
        workspace: the directories of runs, results and data.
    """

    needs_tensorflow: ClassVar[bool] = False

    request: Request
    workspace: Workspace

    def run(self) -> Iterator[str]:
        """See `Command.run`."""
        workspace = self.workspace
        yield _listing(workspace.runs, workspace.group(**self.request.group), workspace.data_dir)


def _listing(runs_directory: Path, group: Path, data_dir: Path | None) -> str:
    place = tfds.directory_of(data_dir)
    begun = [[workdir.name, run_directories.state(workdir)] for workdir in run_directories.directories(runs_directory)]
    sections = {
        "data sets (--dataset)": [_dataset(dataset, place) for dataset in DATASETS.values()]
        + [["FOLDER or FILE.npz", "your own data set: class folders of PNG or JPEG images, or arrays"]],
        "methods (--method)": [[name, method.letter, method.title] for name, method in METHODS.items()],
        "classifiers (--classifier)": _families(CLASSIFIERS),
        "generators (--generators)": _families(GENERATORS),
        "attacks (--attack)": [
            *map(_attack, ATTACKS.items()),
            *([f"{name}:CLASS", f"an attack of {library.package}"] for name, library in LIBRARIES.items()),
        ],
        **_tables(group),
        f"runs in {runs_directory}": begun or [["none"]],
    }
    return "\n\n".join(f"{title}\n{aligned(rows)}" for title, rows in sections.items())


def _tables(group: Path) -> dict[str, list[list[str]]]:
    """The tables of each source, followed by the bundles of tables that one command makes."""
    sections = {}
    for number, (name, source) in enumerate(SOURCES.items()):
        own = {table.name: table for table in TABLES.values() if table.paper == name}
        rows = [[table, _measured(declared, group), declared.title] for table, declared in own.items()]
        rows += [[bundle, "", " and ".join(parts)] for bundle, parts in bundles().items() if parts[0] in own]
        where = "" if number else f", measured in {group}{_others(group)}"
        if rows:
            sections[f"tables of the {source.kind} (--table){where}"] = rows
    every = "the paper's seven, protocol, regulariser, and the claims"
    return sections | {"of all sources (--table)": [["claims", "the sources' statements about their tables"], ["all", every]]}


def _others(group: Path) -> str:
    """A note for a missing directory of results, which names those that exist."""
    if group.is_dir():
        return ""
    found = sorted(place.name for place in group.parent.glob("*") if any(place.glob("*.csv")))
    return f", which does not exist ({group.parent} has {', '.join(found) or 'none'})"


def _attack(named: tuple[str, DeclaredAttack]) -> list[str]:
    """An attack's name, its title, and its arguments with their defaults."""
    name, declared = named
    arguments = {argument: declared.arguments.get(argument, field.default) for argument, field in declared.fields.items()}
    return [name, declared.title, " ".join(f"{argument}={value}" for argument, value in arguments.items())]


def _families(families: Mapping[str, Family]) -> list[list[str]]:
    return [[name, family.title] for name, family in families.items()]


def _dataset(dataset: Dataset, place: Path | None) -> list[str]:
    where = "embedded"
    if dataset.tfds_name:
        prepared = place and any((place / dataset.tfds_name).glob("*/dataset_info.json"))
        where = f"in {place}" if prepared else f"not in {place or 'a home directory'} (--data_dir, --download)"
    size = "×".join(map(str, dataset.image_shape))
    return [dataset.name, f"{size}, {dataset.classes} classes, {dataset.train_images} + {dataset.test_images} images, {where}"]


def _measured(table: Table, group: Path) -> str:
    """How many of a table's cells are measured; a table for any data set is counted over all data sets it was made for."""
    files = [group / f"{tables.stem(table)}.csv"] if table.datasets else sorted(group.glob(f"{table.name}-*.csv"))
    measured = cells = 0
    for file in filter(Path.exists, files):
        try:
            found = [bool(line["measured_percent"]) for line in tables.read(file) if tables.is_table(line)]
        except UserError:
            return "damaged"
        cells += len(found)
        measured += sum(found)
    return f"{measured} of {cells}" if cells else "-"


def aligned(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Rows as lines with aligned columns; the last column is not padded."""
    widths = [max((len(row[index]) for row in rows if len(row) > index + 1), default=0) for index in range(max(map(len, rows)))]
    return "\n".join(
        indent + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip() for row in rows
    )
