"""The checks against false security of every classifier that is a row of a table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from adv_networks.evaluation import check_records, checks
from adv_networks.experiments import SCALES, Cell, Experiment, Table, written
from adv_networks.storage.records import Record, merge, read, record_key
from adv_networks.tables.match import match
from adv_networks.tables.networks import Networks

# How many images the checks attack; a scale that divides the strong attacks' steps also divides this number.
CHECKED_IMAGES, _FEWEST_CHECKED = 64, 8
_READ_BY_CHECKS = ("epsilon", "norm", "pgd_steps", "pgd_step_fraction", "pgd_clip_start", "bn_evaluation")


def check_classifiers(
    table: Table, cells: Sequence[Cell], records: Sequence[Record], networks: Networks, directory: Path
) -> list[check_records.Checked]:
    """The checks of every classifier that is a row of the table. Those in the directory's `checks.csv` are not run again.

    If several rows evaluate one run in different ways, each of them is checked. A row with columns at several ε is checked
    once, at the middle one: the checks vary ε themselves.
    """
    if not table.rows_are_classifiers:
        return []
    rows: dict[tuple[str, ...], list[tuple[Cell, Record]]] = {}
    for cell, record in match(cells, records):
        if record is not None:
            spec = cell.target
            pgd = dataclasses.replace(spec.attack("pgd"), epsilon=0.0).settings()
            rows.setdefault((spec.target_name, spec.bn_evaluation, pgd), []).append((cell, record))
    file = directory / "checks.csv"
    return [check_records.Checked(pairs[0][0].row, _checked(pairs, networks, file)) for pairs in rows.values()]


def _evaluation(spec: Experiment) -> str:
    """The settings of a classifier's evaluation that are not part of its run's name, as a label."""
    own = dict(spec.overrides)
    changed = {name: own[name] for name in _READ_BY_CHECKS if name in own and not spec.trains_with(name)}
    return ", ".join(f"{name} = {written(value)}" for name, value in changed.items())


def _checked(pairs: Sequence[tuple[Cell, Record]], networks: Networks, file: Path) -> list[check_records.CheckRecord]:
    """The checks of one classifier, from its cells and their records."""
    epsilons = sorted({cell.target.epsilon for cell, _ in pairs})
    middle = epsilons[(len(epsilons) - 1) // 2]
    spec, record = next((cell.target, own) for cell, own in pairs if cell.target.epsilon == middle)
    # Several columns may show one record by several metrics.
    each = {own.key: (cell, own) for cell, own in pairs if cell.attack.has_source and not cell.attack.composed}
    attacked = list(each.values())
    measured = [
        checks.Measured(cell.column, own.accuracy_percent, cell.is_white_box)
        for cell, own in attacked
        if cell.attack.access != "unknown" and math.isfinite(cell.attack.epsilon) and cell.target.epsilon == middle
    ]
    changed = [
        checks.Changed(cell.column, own.changed_percent, 100 * own.correct_before / own.images, cell.attack.leaves_failures)
        for cell, own in attacked
        if own.correct_before is not None
    ]
    pgd = spec.attack("pgd")
    images = max(_FEWEST_CHECKED, CHECKED_IMAGES // SCALES[spec.scale].attack_divisor)
    identity = record_key(
        target_hash=record.target_hash, images_hash=record.images_hash, images=images, attack_settings=pgd.settings(),
        bn_evaluation=spec.bn_evaluation, measured=tuple(measured), **({"changed": tuple(changed)} if changed else {}),
    )  # fmt: skip
    labels = [one.label for one in measured]
    known = [line for line in read(file, check_records.CheckRecord) if line.identity == identity]
    if not known:
        x, y = networks.workspace.images(spec.dataset, "test", images)
        with networks.workspace.evaluating():
            how = dict(bn_evaluation=spec.bn_evaluation, changed=changed)
            found = checks.of_classifier(networks.classifier(spec), x, y, pgd, measured, **how)
        known = check_records.records_of(spec.target_name, found, identity, labels, _evaluation(spec))
        merge(file, known, check_records.CheckRecord)
    return known
