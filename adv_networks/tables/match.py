"""Matches cells with their records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from adv_networks.claims import COMPLETENESS
from adv_networks.experiments import BATCH_STATISTICS_SIZE, DATASETS, Cell, generator_file
from adv_networks.storage.records import Record, hash_of_parts

# With fewer test images the standard error can exceed 1.6 points, and the accuracy measures nothing.
_FEWEST_OF_A_SPLIT = 1_000


def source_name(cell: Cell) -> str:
    """The source in a record of this cell: a run, a run's generator, or "" for clean images and worst cases.

    Examples:
        >>> from adv_networks import experiments, tables
        >>> cell = experiments.TABLES["1"].cells("paper")[3]
        >>> cell.column, tables.source_name(cell)
        ("FGS(A')", 'mnist-standard-paper-s1')
    """
    if cell.attack.composed or not cell.attack.has_source:
        return ""
    name = (cell.source or cell.target).target_name
    return f"{name}/{generator_file(cell.generator)}".removesuffix(".keras") if cell.attack.access == "generator" else name


def match(
    cells: Iterable[Cell], records: Iterable[Record], networks: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[Cell, Record | None]]:
    """Each cell with its record: the last one that fits, and that has as many iterations as the cell's run.

    A run that was trained again is another network of the same name. Only the records of one network for each name count: the
    one whose hash is in `networks`, or else that of the newest (the last) record. In the same way, only the test images of the
    newest record count for each data set.

    Examples:
        >>> from adv_networks import experiments, tables
        >>> from adv_networks.storage.records import Record
        >>> cell = experiments.TABLES["1"].cells("paper")[0]
        >>> hashes, settings = ("", "", ""), cell.attack.settings()
        >>> record = Record("", cell.target.name, "", "clean", 0.0, 99.0, 9900, 10000, *hashes, settings, "moving", seconds=1.0)
        >>> [found.accuracy_percent for _, found in tables.match([cell], [record])]
        [99.0]
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
    """The records on the images and of the networks that count; `datasets` gives a target's data set if a record lacks it."""
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
    """The records of the cells that make up a worst case: cells of the same row and run.

    Examples:
        >>> from adv_networks import experiments, tables
        >>> cells = experiments.TABLES["1"].under("strong").cells("paper")
        >>> worst = next(cell for cell in cells if cell.column == "AutoAttack")
        >>> tables.parts_of(worst, tables.match(cells, []))  # APGD-CE, APGD-T, FAB-T and Square
        [None, None, None, None]
    """
    own = {cell.column: record for cell, record in pairs if (cell.row, cell.target) == (worst.row, worst.target)}
    return [own.get(column) for column in worst.attack.parts]


def _has_its_parts(cell: Cell, record: Record, pairs: Sequence[tuple[Cell, Record | None]]) -> bool:
    """Whether a worst case was made from the current records of its row; always true for other cells."""
    if not cell.attack.composed:
        return True
    parts = parts_of(cell, pairs)
    return all(parts) and record.source_hash == hash_of_parts(parts)


def completeness(cell: Cell, record: Record) -> str:
    """How complete the data of a number is; one of `claims.COMPLETENESS`.

    "complete": all test images and, as far as the record says, all training images. "part": all test images, but only a part
    of the training images. "limited": only the first test images, as the cell's experiment asks, and all training images.
    "split": fewer test images than the data set has, so another split than the official one. "subset": so few that they measure
    nothing, or the first test images and a part of the training images.

    Examples:
        >>> from adv_networks import experiments, tables
        >>> from adv_networks.storage.records import Record
        >>> cell = experiments.TABLES["1"].cells("paper")[0]
        >>> hashes, settings = ("", "", ""), cell.attack.settings()
        >>> record = Record("", cell.target.name, "", "clean", 0.0, 99.0, 99, 100, *hashes, settings, "moving", seconds=1.0)
        >>> tables.completeness(cell, record)
        'subset'
    """
    declared = DATASETS[cell.dataset]
    tested, limited = (
        record.images == _evaluated_images(images, cell.target.bn_evaluation)
        for images in (declared.test_images, cell.target.test_images)
    )
    # Validation images count as training images. If the record has 0 training images, their number is unknown.
    trained = not record.training_images or record.training_images + cell.target.validation >= declared.train_images
    if tested:
        return "complete" if trained else "part"
    if limited:
        return "limited" if trained else "subset"
    return "split" if record.images >= _FEWEST_OF_A_SPLIT else "subset"


def least_complete(kinds: Iterable[str]) -> str:
    """The least complete among several kinds of data.

    Examples:
        >>> from adv_networks import tables
        >>> tables.least_complete(["complete", "part"])
        'part'
    """
    return min(kinds, key=COMPLETENESS.index)


def _evaluated_images(images: int, bn_evaluation: str) -> int:
    """How many of these images are evaluated: with BN on batch statistics, a partial batch after full ones is left out."""
    size = BATCH_STATISTICS_SIZE
    return images - images % size if bn_evaluation == "batch" and images > size else images
