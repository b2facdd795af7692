"""The notes about a table's numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from adv_networks.experiments import DATASETS, METHODS, SETTINGS, Cell, Experiment, experiment, experiments_of
from adv_networks.storage.records import Record
from adv_networks.tables.match import completeness, least_complete


def notes_of(cells: Sequence[tuple[Cell, Record | None]]) -> list[str]:
    """What a reader must know about the numbers: iterations, widths, images, seeds, commits and versions."""
    measured = [(cell, record) for cell, record in cells if record is not None]
    notes = []
    for dataset in dict.fromkeys(cell.dataset for cell, _ in measured):
        own = [(cell, record) for cell, record in measured if cell.dataset == dataset]
        specs = experiments_of(cell for cell, _ in own)
        declared, seen = DATASETS[dataset], [record for _, record in own]
        data = least_complete(completeness(cell, record) for cell, record in own)
        trained = f"trained on {_listed(record.training_images for record in seen)} of {declared.train_images} images"
        if data in ("split", "subset"):
            what = {
                "split": "These numbers are not comparable with the published ones. Claims about them are counted apart.",
                "subset": "The numbers show that the code runs, and measure nothing.",
            }
            notes.append(
                f"**{dataset} does not have its official split here: {trained}, tested on "
                f"{_listed(record.images for record in seen)} of {declared.test_images}. {what[data]}**"
            )
        elif data == "part":
            notes.append(f"**{dataset}: {trained}; the test set is complete.**")
        elif (
            any(spec.extra_images for spec in specs) and min(record.training_images for record in seen) <= declared.train_images
        ):
            notes.append(f"{dataset}: trained without the {_listed(spec.extra_images for spec in specs)} extra images.")
        players = [
            f"{_listed(spec.classifier.upper() for spec in specs)} of width {_listed(spec.classifier_width for spec in specs)}"
        ]
        generators = [spec for spec in specs if METHODS[spec.method].trains_generator]
        if generators:
            players.append(
                f"{_listed(name.upper() for spec in generators for name in spec.generators)} of width "
                f"{_listed(spec.generator_width for spec in generators)} (the paper's default: "
                f"{SETTINGS['generator_width'].default})"
            )
        notes.append(
            f"{dataset}: {_listed(spec.steps for spec in specs)} iterations (the source's: "
            f"{_listed(map(_steps_in_full, specs))}) of "
            f"{_listed(spec.batch_size for spec in specs)} images out of {_listed(record.training_images for record in seen)}; "
            f"{', '.join(players)}; {_balls(own)}; {_listed(record.images for record in seen)} of "
            f"{declared.test_images} test images."
        )
    if not measured:
        return []
    specs, records = experiments_of(cell for cell, _ in measured), [record for _, record in measured]
    notes.append(f"Seeds {_listed(spec.seed for spec in specs)}; protocol {_listed(spec.protocol for spec in specs)}.")
    made_by = [_listed(record.versions for record in records)]
    if any(record.runtime for record in records):  # which older records do not have
        made_by.append(_listed(record.runtime or "unknown" for record in records))
    notes.append(
        f"Trained at commit {_listed(record.training_commit for record in records)}, "
        f"evaluated at {_listed(record.commit for record in records)}; {'; '.join(made_by)}."
    )
    return notes


def _steps_in_full(spec: Experiment) -> int:
    """The iterations of a run at the scale of its source."""
    return experiment(spec.dataset, spec.method, protocol=spec.protocol, scale="paper").steps


def _balls(measured: Sequence[tuple[Cell, Record]]) -> str:
    """The balls of the cells' attacks, in words."""
    attacks = [cell.attack for cell, _ in measured if cell.attack.has_ball and math.isfinite(cell.attack.epsilon)]
    if not attacks:
        return ball_of(measured[0][0].target)
    norms = dict.fromkeys(attack.norm for attack in attacks)
    sizes = {norm: sorted({attack.epsilon for attack in attacks if attack.norm == norm}) for norm in norms}
    written = {norm: _listed(f"{size:g}" for size in own) for norm, own in sizes.items()}
    return " and ".join(f"ε = {own}" + f" in {norm}" * (norm != "linf") for norm, own in written.items())


def ball_of(spec: Experiment) -> str:
    """The ball of an experiment's attacks, in words."""
    return f"ε = {spec.epsilon:g}" + f" in {spec.norm}" * (spec.norm != "linf")


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values))
