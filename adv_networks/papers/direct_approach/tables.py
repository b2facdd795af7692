"""The paper's tables, our own tables that extend it, and the attack suites for their rows."""

from __future__ import annotations

import dataclasses

from adv_networks.experiments import (
    METHODS,
    SUITES,
    WHITE_BOX,
    AttackSuite,
    Column,
    Row,
    Table,
    declare_tables,
    experiment,
)
from adv_networks.papers.direct_approach.recipes import deviations

_AUTOATTACK = (
    Column("APGD-CE", "apgd_ce"),
    Column("APGD-T", "apgd_targeted"),
    Column("FAB-T", "fab_targeted"),
    Column("Square", "square"),
)

SUITES |= {
    suite.name: suite
    for suite in (
        AttackSuite("paper", "the table's own attacks"),
        AttackSuite(
            "strong",
            "also PGD-100 with 10 restarts, the four of AutoAttack, APGD-DLR, a fresh generator, and the worst case of all",
            (
                Column("PGD-100×10", "restarted_pgd"),
                *_AUTOATTACK,
                Column("APGD-DLR", "apgd_dlr"),
                Column("Fresh G", "generator", source="generator", same_seed=True, fresh=True),
                Column("AutoAttack", "worst", worst_of=tuple(column.label for column in _AUTOATTACK)),
                Column("Worst case", "worst"),
            ),
            images=1_000,
        ),
    )
}  # fmt: skip

BLACK_BOX = tuple(
    Column(f"{attack.upper()}({METHODS[source].letter}')", attack, source)
    for source in ("standard", "pgd", "advnet")
    for attack in ("fgs", "pgd")
)
A, B, C = (
    Row("standard (A)", "standard"),
    Row("adversarial PGD (B)", "pgd"),
    Row("adversarial network (C)", "advnet"),
)
ABC = (A, B, C)
EAT = Row("ensemble adversarial training", "ensemble")


def _grid(name: str, title: str, *datasets: str) -> Table:
    return Table(name, title, datasets, ABC, (*WHITE_BOX, *BLACK_BOX))


_GENERATORS = (
    Row("autoencoder (8 filters)", "", (("generators", ("g1",)), ("generator_width", 8))),
    Row("autoencoder (64 filters)", "", (("generators", ("g1",)), ("generator_width", 64))),
    Row("random Gaussian", "", (("generators", ("g2",)),)),
    Row("label", "", (("generators", ("g3",)),)),
)


def _generators(method: str) -> tuple[Row, ...]:
    """The four generators of Section 4.5, each in a run of this method."""
    return tuple(dataclasses.replace(row, method=method) for row in _GENERATORS)


# During this run, the finite difference is compared with double backprop.
_PAPER_ROW = Row("paper", "advnet", (("compare_regulariser", True),))


def _switches(dataset: str) -> tuple[Row, ...]:
    """The paper's C with each deviation of the released code alone."""
    paper = experiment(dataset, "advnet", scale="paper").trained()
    rows = []
    for label, settings in deviations(dataset, "advnet").items():
        if experiment(dataset, "advnet", scale="paper", **settings).trained() == paper:
            settings = settings | dict(
                _PAPER_ROW.settings
            )  # A setting that only evaluation reads needs no training of its own.
        rows.append(Row(f"paper, but {label}", "advnet", tuple(settings.items()), (dataset,)))
    return tuple(rows)


def _ablations() -> tuple[Table, ...]:
    columns = (*WHITE_BOX, Column("G", "generator"))
    titles = {"fd": "finite difference", "exact": "exact", "none": "no regulariser"}
    regularisers = tuple(
        Row(
            f"{title}, {count} G step{'s' * (count > 1)}",
            "advnet",
            (("regulariser", name), ("generator_steps", count), ("compare_regulariser", name == "fd" and count == 5)),
        )
        for count in (5, 1)
        for name, title in titles.items()
    )
    compared = ("mnist", "cifar10")
    return (
        Table("protocol", "The paper's text against its released code, switch by switch: adversarial network (C)", compared,
              (_PAPER_ROW, Row("released", "advnet", protocol="released"), *_switches("mnist"), *_switches("cifar10")),
              columns),
        Table("regulariser", "The regulariser of Eq. 5 and the number of G's steps: adversarial network (C)", compared,
              regularisers, columns, along_training=True),
    )  # fmt: skip


declare_tables(
    "direct_approach",
    _grid("1", "White-box and black-box attacks on MNIST (ε = 0.3)", "mnist"),
    _grid("2", "White-box and black-box attacks on SVHN (ε = 0.05)", "svhn"),
    _grid("3", "White-box and black-box attacks on CIFAR10 (ε = 8/256)", "cifar10"),
    Table("4", "Ensemble adversarial training against the adversarial network", ("mnist", "svhn", "cifar10"),
          (EAT, C), (*WHITE_BOX, *BLACK_BOX)),
    Table("5", "Attack performance of various generator networks trained against A, on CIFAR10 (ε = 8/256)", ("cifar10",),
          _generators("generator"),
          (Column("Test Acc on Original (A)", "generator", target="standard", same_seed=True),
           Column("standard (A')", "generator", target="standard"),
           Column("adversarial PGD (B)", "generator", target="pgd", same_seed=True),
           Column("adversarial network (C)", "generator", target="advnet", same_seed=True))),
    Table("6", "Adversarial networks trained with various generators, on CIFAR10 (ε = 8/256)", ("cifar10",),
          _generators("advnet"), (*WHITE_BOX, *(column for column in BLACK_BOX if column.source != "advnet"))),
    _grid("7", "White-box and black-box attacks on CIFAR100 (ε = 8/256)", "cifar100"),
    Table("digits", "White-box attacks on the embedded digits, not of the paper (ε = 0.15)", ("digits",), (A, C),
          (*WHITE_BOX, Column("G(C)", "generator", "advnet", same_seed=True))),
    _grid("grid", "White-box and black-box attacks"),
    *_ablations(),
)  # fmt: skip
