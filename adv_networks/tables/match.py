"""Cells and their records: which record is that of a cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from adv_networks.experiments import BATCH_STATISTICS_SIZE, DATASETS, Cell, generator_file
from adv_networks.storage.records import Record, hash_of_parts


def source_name(cell: Cell) -> str:
    """What a record of this cell has for its source: a run, a run's generator, or nothing for clean images and worst cases."""
    if cell.attack.composed or not cell.attack.has_source:
        return ""
    name = (cell.source or cell.target).target_name
    return f"{name}/{generator_file(cell.generator)}".removesuffix(".keras") if cell.attack.access == "generator" else name


def match(
    cells: Iterable[Cell], records: Iterable[Record], networks: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[Cell, Record | None]]:
    """Each cell with its record, the last that fits; one of another number of iterations than the cell's run fits none.

    All are of one network a name, as a run that was trained again is another one: the one that has the hash in `networks`,
    or else that of the newest record (the last). Likewise they are of one set of test images a data set, the newest record's.
    """
    cells = list(cells)
    found = {
        (record.target, record.source, record.attack, record.attack_settings, record.bn_evaluation): record
        for record in _agreeing(records, networks, {cell.target.target_name: cell.dataset for cell in cells})
    }
    pairs = []
    for cell in cells:
        evaluated = (cell.attack.name, cell.attack.settings(), cell.target.bn_evaluation)
        record = found.get((cell.target.target_name, source_name(cell), *evaluated))
        pairs.append((cell, record if record and record.steps in (0, cell.target.steps) else None))
    return [(cell, record if record and _has_its_parts(cell, record, pairs) else None) for cell, record in pairs]


def _agreeing(records: Iterable[Record], networks: Mapping[str, str], datasets: Mapping[str, str]) -> list[Record]:
    """The records on the images and of the networks that count; `datasets` are of the targets whose records may not say."""
    images: dict[str, str] = {}
    counting: dict[str, str] = {}
    by_dataset = [(record.dataset or datasets.get(record.target, ""), record) for record in records]
    for dataset, record in by_dataset:
        images[dataset] = record.images_hash
        counting |= record.networks
    counting |= networks
    return [
        record
        for dataset, record in by_dataset
        if record.images_hash == images[dataset] and record.networks.items() <= counting.items()
    ]


def parts_of(worst: Cell, pairs: Iterable[tuple[Cell, Record | None]]) -> list[Record | None]:
    """The records of the cells that a cell is the worst of: those of its row, and of the same run."""
    own = {cell.column: record for cell, record in pairs if (cell.row, cell.target) == (worst.row, worst.target)}
    return [own.get(column) for column in worst.attack.parts]


def _has_its_parts(cell: Cell, record: Record, pairs: Sequence[tuple[Cell, Record | None]]) -> bool:
    """Whether a worst case is that of the records in its row; what is none has no parts."""
    if not cell.attack.composed:
        return True
    parts = parts_of(cell, pairs)
    return all(parts) and record.source_hash == hash_of_parts(parts)


def completeness(cell: Cell, record: Record) -> str:
    """Whether the data was there: all test images and, so far as the record says, all training images.

    "complete" if so, "limited" if only the first test images were, as the cell's experiment asks; else "subset".
    """
    declared = DATASETS[cell.dataset]
    tested, limited = (
        record.images == _evaluated_images(images, cell.target.bn_evaluation)
        for images in (declared.test_images, cell.target.test_images)
    )
    # What is held out for validation counts; 0 training images means that nobody said.
    trained = not record.training_images or record.training_images + cell.target.validation >= declared.train_images
    if not trained or not (tested or limited):
        return "subset"
    return "complete" if tested else "limited"


def _evaluated_images(images: int, bn_evaluation: str) -> int:
    """How many of so many images are evaluated: BN on batch statistics leaves a partial batch after full ones out."""
    size = BATCH_STATISTICS_SIZE
    return images - images % size if bn_evaluation == "batch" and images > size else images
