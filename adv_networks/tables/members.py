"""A game of several classifiers: each alone and their mean, under attacks crafted on each of them and on the mean."""

from __future__ import annotations

from pathlib import Path

from adv_networks import evaluation
from adv_networks.experiments import METHODS, Experiment, generator_file
from adv_networks.storage.records import Record, merge, read
from adv_networks.tables.evaluate import provenance
from adv_networks.tables.networks import Networks

_MEAN = "mean"
# The attacks, by their name in records, and how a column is called before its source.
_TITLES = {"clean": "No Noise", "fgs": "FGS", "pgd": "PGD", "generator": "G"}


def transfer(spec: Experiment, networks: Networks, directory: Path) -> list[Record]:
    """The records of every classifier of a run under FGS, PGD and the run's generators, each crafted on every classifier.

    Records that the directory's `records.csv` lacks are computed and saved there. A classifier's name in them is the run's name
    and its file, `run/d-1`; the mean has the run's name.

    Returns:
        The records; none for a run with a single classifier.
    """
    files = METHODS[spec.method].member_files(spec)
    if not files:
        return []
    names = {_record_name(spec, file): file for file in files}
    with networks.workspace.evaluating():
        classifiers = {spec.target_name: networks.of(spec), **{name: networks.of(spec, file) for name, file in names.items()}}
        generators = {
            _record_name(spec, generator_file(number)): networks.of(spec, generator_file(number))
            for number in range(len(spec.generators))
        }
        return evaluation.grid(
            classifiers,
            classifiers | generators,
            [spec.attack(name) for name in _TITLES],
            *networks.workspace.images(spec.dataset, "test", spec.test_images),
            known=read(directory / "records.csv"),
            provenance=dict.fromkeys(classifiers, provenance(spec, networks.workspace)),
            bn_evaluation=spec.bn_evaluation,
            on_records=lambda new: merge(directory / "records.csv", new),
        )


def as_text(spec: Experiment, records: list[Record]) -> str:
    """The accuracies of `transfer` as aligned columns: a row for each classifier, a column for each attack and its source."""
    if not records:
        return ""
    rows = {spec.target_name: _MEAN}
    for file, name in zip(METHODS[spec.method].member_files(spec), spec.own.classifiers, strict=True):
        rows[_record_name(spec, file)] = f"{file.removesuffix('.keras')} ({name})"
    shown: dict[str, dict[str, str]] = {label: {} for label in rows.values()}
    for record in records:
        source = rows.get(record.source, record.source.rpartition("/")[2])
        column = f"{_TITLES[record.attack]} {source}".rstrip()
        shown[rows[record.target]][column] = f"{record.accuracy_percent:.2f}"
    columns = list(dict.fromkeys(column for own in shown.values() for column in own))
    first = max(map(len, shown))
    lines = ["Each classifier and their mean under attacks crafted on each; accuracy in %", "  ".join([" " * first, *columns])]
    for label, own in shown.items():
        lines.append("  ".join([label.ljust(first), *(own[name].rjust(len(name)) for name in columns)]))
    return "\n".join(lines)


def _record_name(spec: Experiment, file: str) -> str:
    """The name of one of a run's networks in records."""
    return f"{spec.target_name}/{file}".removesuffix(".keras")
