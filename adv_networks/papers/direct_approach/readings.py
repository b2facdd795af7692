"""A table that compares the text, the released code and each single difference on every row of Tables 1-4 and 7."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from adv_networks.experiments import TABLES, WHITE_BOX, Row, Table, declare_tables, experiment
from adv_networks.papers.direct_approach.recipes import deviations
from adv_networks.papers.direct_approach.tables import ABC, BLACK_BOX, EAT

_GRIDS = {"mnist": "1", "svhn": "2", "cifar10": "3", "cifar100": "7"}
_RATES = ("learning_rate", "weight_decay")
# Section 4.4 cites Tramèr et al. (2018), who also use examples of the model itself; the section mentions only static ones.
_CITED = {"ensemble": {"own_examples": True}}


def _rows() -> Iterator[Row]:
    for dataset, table in _GRIDS.items():
        for row in ABC:
            yield from _readings(dict(datasets=(dataset,), published=(table, row.label)), row, dataset)
        if dataset in TABLES["4"].datasets:
            yield from _readings(dict(datasets=(dataset,), published=("4", EAT.label)), EAT, dataset)


def _readings(place: dict[str, Any], row: Row, dataset: str) -> Iterator[Row]:
    """The readings of one published row: the text, the released code, and each difference alone.

    The surrogates follow the text; for the row of the released code, they follow that. The text's B, C and EAT are also
    attacked from the released code's A'. If both of A's rates differ, a row has them together, and is attacked from an A' that
    has them too. EAT is also trained as in the source that the text cites.
    """

    def read(label: str, settings: dict[str, Any] | None = None, **changes: Any) -> Row:
        settings = tuple((settings or {}).items())
        return dataclasses.replace(row, label=f"{row.label}: {label}", settings=settings, **place, **changes)

    released = tuple(Row("", source.method, protocol="released") for source in ABC)
    standard = ABC[0].method
    yield read("text")
    if row.method != standard:
        yield read("text, from the released A'", sources=released[:1])
    yield read("released", protocol="released", sources=released)
    if cited := _CITED.get(row.method):
        yield read("with own examples", cited)
        yield read("released with own examples", cited, protocol="released", sources=released)
    single = deviations(dataset, row.method)
    rates = {key: value for group in single.values() for key, value in group.items() if key in _RATES}
    if len(rates) == len(_RATES):
        own = (Row("", standard, tuple(rates.items())),) if row.method == standard else ()
        yield read(" and ".join(_label_of(single, key) for key in _RATES), rates, sources=own)
    for label, settings in single.items():
        # D1 has no BN.
        if not (label.startswith("bn_evaluation") and experiment(dataset, row.method).classifier == "d1"):
            yield read(label, settings)


def _label_of(groups: dict[str, dict[str, Any]], key: str) -> str:
    return next(label for label, settings in groups.items() if key in settings)


declare_tables(
    "direct_approach",
    Table(
        "readings",
        "The readings of Tables 1-4 and 7: the text, its released code, and each difference alone",
        tuple(_GRIDS),
        tuple(_rows()),
        (*WHITE_BOX, *BLACK_BOX),
    ),
)
