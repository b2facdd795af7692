"""The parts of tables: rows of runs, columns of attacks, and attack suites, which are columns to add."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table: one run for each data set, either classifiers under attack or generators that attack.

    `settings` are at the paper's scale: the scale divides the widths among them. `datasets` are the table's data sets that have
    this row, None meaning all; `protocol` is the row's own, None meaning the table's.

    In columns with a surrogate, the surrogate is a run of the table's protocol, or the one of `sources` that has the column's
    method. `published` names the table and the row whose published numbers these cells are compared with, None meaning its
    own. In a transposed table, the labels of the attacks are put between `prefix` and `suffix`. `attack` replaces the attacks
    of the columns, and `gradient` is the gradient of the row's defence that they follow, empty for the defence's choice.

    Examples:
        >>> from adv_networks.experiments import Row
        >>> Row("PGD, smaller ball", "pgd", settings=(("epsilon", 0.1),)).surrogate("standard").method
        'standard'
    """

    label: str
    method: str
    settings: tuple[tuple[str, Any], ...] = ()
    datasets: tuple[str, ...] | None = None
    protocol: str | None = None
    sources: tuple[Row, ...] = ()
    published: tuple[str, str] | None = None
    prefix: str = ""
    suffix: str = ""
    attack: str | None = None
    gradient: str = ""

    def surrogate(self, method: str) -> Row:
        """The row that describes the surrogates of that method."""
        return next((source for source in self.sources if source.method == method), Row("", method))


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table: an attack on the row's classifier, crafted on it too unless `source` names the surrogate's method.

    If the row is a generator, `target` names the method of the classifier that it attacks. These other runs use the next seed
    unless `same_seed`. `generator` is the position of the attacking generator in its run. With `fresh`, the source is a
    generator trained against the row's own run. A column that shows the worst of other columns names them in `worst_of`. A
    `titled` column is labelled by the attack's title, because it may have its own ε. `metric` is the number shown, a key of
    `storage.records.METRICS`; columns may share a label and differ in it. `datasets` are the table's data sets that have this
    column, None meaning all.

    A column that only one row has names it in `row`. `settings` override those of the row, for its run and for the source
    alike, at the paper's scale: ε, for instance. `source_settings` override those of the source only.

    Examples:
        >>> from adv_networks.experiments import TABLES
        >>> [column.label for column in TABLES["1"].columns if column.source == "pgd"]
        ["FGS(B')", "PGD(B')"]
    """

    label: str
    attack: str
    source: str | None = None
    target: str | None = None
    same_seed: bool = False
    generator: int = 0
    fresh: bool = False
    titled: bool = False
    worst_of: tuple[str, ...] = ()
    metric: str = "accuracy"
    row: str | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    datasets: tuple[str, ...] | None = None
    source_settings: tuple[tuple[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True)
class AttackSuite:
    """Columns to add to a table; `images` is the default number of test images, the first ones.

    Examples:
        >>> from adv_networks.experiments import SUITES
        >>> SUITES["strong"].images, SUITES["strong"].columns[0].label
        (1000, 'PGD-100×10')
    """

    name: str
    title: str
    columns: tuple[Column, ...] = ()
    images: int = 0


SUITES: dict[str, AttackSuite] = {}

# The columns of the white-box attacks on every classifier.
WHITE_BOX = (Column("No Noise", "clean"), Column("FGS", "fgs"), Column("PGD", "pgd"))
