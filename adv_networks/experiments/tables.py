"""Tables as data: the cells that rows of runs and columns of attacks make."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adv_networks.errors import UsageError
from adv_networks.experiments.attacks import Defaults, parse_attack, resolve_attack
from adv_networks.experiments.cells import Cell
from adv_networks.experiments.datasets import find_dataset
from adv_networks.experiments.experiment import checked_setting, experiment
from adv_networks.experiments.methods import METHODS
from adv_networks.experiments.scales import scaled
from adv_networks.experiments.settings import choose, written
from adv_networks.experiments.table_parts import SUITES, Column, Row


@dataclasses.dataclass(frozen=True)
class Table:
    """A table: `rows` of runs against `columns` of attacks, repeated for each data set.

    A table without `datasets` works on any data set (`on`). With `along_training` it also reports what the runs logged during
    training, and the time per step. `suite` names the attack suite whose columns were added, and `has_further_attacks` says
    whether `with_attacks` added others. `left_out` has a line for each column of the suite that needs more classes than the
    data sets have. A `transposed` table shows its attacks as rows and its runs as columns, and so do the keys of its cells.

    `paper` names the source of the table, a module of `papers`. Tables that one command makes together share a `bundle`, its
    name. `appendix` says what the table shows besides its cells, a key of `tables.appendices.APPENDICES`.

    Examples:
        >>> from adv_networks.experiments import WHITE_BOX, Row, Table
        >>> len(Table("mine", "A on MNIST", ("mnist",), (Row("A", "standard"),), WHITE_BOX).cells("cpu"))
        3
    """

    name: str
    title: str
    datasets: tuple[str, ...]
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    along_training: bool = False
    suite: str = "paper"
    has_further_attacks: bool = False
    left_out: tuple[str, ...] = ()
    transposed: bool = False
    paper: str = ""
    bundle: str = ""
    appendix: str = ""

    @property
    def rows_are_classifiers(self) -> bool:
        """Whether its rows are classifiers under attack, not generators that attack."""
        return all(METHODS[row.method].gives_classifier for row in self.rows)

    @property
    def row_settings(self) -> frozenset[str]:
        """The settings that rows or columns set themselves. An override of one would give several of them the same runs."""
        own = [reading.settings for row in self.rows for reading in (row, *row.sources)]
        own += [column.settings for column in self.columns]
        return frozenset(key for settings in own for key, _ in settings)

    def under(self, suite: str) -> Table:
        """This table with the columns of an attack suite. A worst case that names no columns is the worst of all of them.

        A column is left out if its attack needs more classes than there are, and so is a worst case that names such a column.

        Raises:
            UsageError: the suite has columns, but the table's rows are generators.
        """
        added = choose(SUITES, suite, "attack_suite").columns
        if not added:
            return self
        self._check_under_attack("attack_suite", suite)
        left_out = self._for_more_classes(added)
        added = tuple(column for column in added if not left_out.keys() & {column.label, *column.worst_of})
        every = tuple(column.label for column in (*self.columns, *added) if column.attack != "worst")
        added = tuple(
            dataclasses.replace(column, worst_of=column.worst_of or every) if column.attack == "worst" else column
            for column in added
        )
        title = f"{self.title}, {suite} attack suite"
        reasons = tuple(f"{label} is left out: {reason}." for label, reason in left_out.items())
        columns = self.columns + added
        return dataclasses.replace(self, title=title, columns=columns, along_training=False, suite=suite, left_out=reasons)

    def _for_more_classes(self, columns: Iterable[Column]) -> dict[str, str]:
        """The attacks for which the table's data sets have too few classes: the reason, by the label of the column."""
        classes = min(find_dataset(name).classes for name in self.datasets)
        found = {}
        for column in columns:
            try:
                resolve_attack(column.attack, Defaults(epsilon=1.0)).check(classes=classes)
            except UsageError as error:
                found[column.label] = str(error)
        return found

    def with_attacks(self, texts: Sequence[str]) -> Table:
        """This table with a column for each of these attacks, given as texts of the grammar (`parse_attack`).

        No worst case includes them.

        Raises:
            UsageError: a text names no attack, or there are texts but the table's rows are generators.
        """
        if not texts:
            return self
        self._check_under_attack("attack", texts[0])
        columns = list(self.columns)
        for text in dict.fromkeys(texts):
            source = parse_attack(text).source
            if source is not None:
                choose(METHODS, source, f"source of {text}")
            columns.append(Column(text, text, source=source, titled=True))
        title = f"{self.title}, with further attacks"
        return dataclasses.replace(self, title=title, columns=tuple(columns), along_training=False, has_further_attacks=True)

    def _check_under_attack(self, argument: str, attack: str) -> None:
        if not self.rows_are_classifiers:
            rows = f"table {self.name}" if self.name in TABLES else f"method {self.rows[0].method}"
            raise UsageError(
                f"{argument}: expected classifiers to attack with {attack}, received {rows}, whose rows are generators"
            )

    def on(self, datasets: tuple[str, ...] | None) -> Table:
        """The table itself, or, if it has no data sets of its own, this table on these data sets."""
        if self.datasets:
            return self
        if not datasets:
            raise UsageError(f"table {self.name}: expected a data set, received none")
        names = ", ".join(datasets)
        return dataclasses.replace(self, name=f"{self.name}-{names}", title=f"{self.title} on {names}", datasets=datasets)

    def cells(
        self,
        scale: str,
        *,
        protocol: str = "paper",
        seed: int = 0,
        datasets: tuple[str, ...] | None = None,
        **overrides: Any,
    ) -> list[Cell]:
        """Every cell with the experiments that it depends on; `datasets` keeps only the cells of those data sets.

        Raises:
            UsageError: an override of a setting in which the rows differ (see `row_settings`), or a protocol other than the
                paper's if rows have their own.
        """
        self._check_overrides(protocol, overrides)
        chosen = [name for name in self.datasets if datasets is None or name in datasets]
        return [
            self._cell(dataset, row, column, scale, protocol, seed, overrides)
            for dataset in chosen
            for row in self.rows
            if row.datasets is None or dataset in row.datasets
            for column in self.columns
            if column.row in (None, row.label) and (column.datasets is None or dataset in column.datasets)
        ]

    def _check_overrides(self, protocol: str, overrides: Mapping[str, Any]) -> None:
        if fixed := sorted(self.row_settings & overrides.keys()):
            key, value = fixed[0], written(checked_setting(fixed[0], overrides[fixed[0]]))
            raise UsageError(f"{key}: expected no override with table {self.name}, whose rows set it, received {value}")
        if protocol != "paper" and any(row.protocol for row in self.rows):
            raise UsageError(f"protocol: expected paper with table {self.name}, whose rows have their own, received {protocol}")

    def _cell(
        self, dataset: str, row: Row, column: Column, scale: str, protocol: str, seed: int, overrides: Mapping[str, Any]
    ) -> Cell:
        own_column = scaled(dataset, scale, column.settings) | overrides
        settings = scaled(dataset, scale, row.settings) | own_column
        own = experiment(dataset, row.method, protocol=row.protocol or protocol, scale=scale, seed=seed, **settings)
        other = None
        if column.source or column.target:
            other_seed = seed if column.same_seed else seed + 1
            method = column.source or column.target
            if column.fresh:
                # The generator has the row's kind and size, because it uses the row's settings.
                settings = settings | {"against": row.method}
                other = experiment(dataset, method, protocol=own.protocol, scale=scale, seed=other_seed, **settings)
            else:
                reading = row.surrogate(method)
                settings = scaled(dataset, scale, (*reading.settings, *column.source_settings)) | own_column
                other = experiment(
                    dataset, method, protocol=reading.protocol or protocol, scale=scale, seed=other_seed, **settings
                )
        target, source = (other, own) if column.target else (own, other)
        attack = target.attack(f"{row.attack or column.attack}{f':gradient={row.gradient}' * bool(row.gradient)}")
        if column.worst_of:
            attack = dataclasses.replace(attack, parts=column.worst_of)
        from_source = "" if column.source is None else f" from {METHODS[column.source].letter}'"
        label = f"{attack.title}{from_source}" if column.titled else column.label
        own_networks = {target.target_name}
        if source is not None:
            own_networks = {source.target_name}
            if attack.access == "generator":
                own_networks |= {needed.name for needed in source.needs().values()}
        knows_gradients = attack.reads_gradients and attack.gradient != "none"
        is_white_box = (knows_gradients or not attack.has_source) and target.target_name in own_networks
        places = (f"{row.prefix}{label}{row.suffix}", row.label) if self.transposed else (row.label, label)
        about = target, source, attack, column.generator, is_white_box, row.published, column.metric
        return Cell(self.name, dataset, *places, *about)


TABLES: dict[str, Table] = {}


def declare_tables(paper: str, *tables: Table) -> None:
    """Registers the tables of a source, which is a module of `papers`.

    Examples:
        >>> from adv_networks.experiments import TABLES, WHITE_BOX, Row, Table, declare_tables
        >>> declare_tables("direct_approach", Table("mine", "A on MNIST", ("mnist",), (Row("A", "standard"),), WHITE_BOX))
        >>> TABLES.pop("mine").paper  # It is gone again.
        'direct_approach'
    """
    TABLES.update({table.name: dataclasses.replace(table, paper=paper) for table in tables})


def bundles() -> dict[str, tuple[str, ...]]:
    """The names of the tables that one command makes together, by the name of their bundle.

    Examples:
        >>> from adv_networks.experiments import bundles
        >>> bundles()["poster"]
        ('poster-1', 'poster-text', 'poster-pixel', 'poster-game')
    """
    names = dict.fromkeys(table.bundle for table in TABLES.values() if table.bundle)
    return {name: tuple(table.name for table in TABLES.values() if table.bundle == name) for name in names}
