"""What was measured: `records.csv` has a line per (target, source, attack), `outcomes.csv` which images were right."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from adv_networks.storage import keyed_lines
from adv_networks.storage.hashes import DIGITS
from adv_networks.storage.lines import Line

# Of an accuracy, which is rounded, against its counts.
_ROUNDING = 0.01
_HEXADECIMAL = frozenset("0123456789abcdef")
_COUNTED = MappingProxyType(dict.fromkeys(("images", "draws"), (1, math.inf)))
_SHARES = ("accuracy", "confidence", "wrong_confidence", "changed", "conditioned", "success", "destruction", "rejected")


@dataclasses.dataclass(frozen=True)
class Record:
    """One accuracy and where it comes from. `key` is the hash of all that the number depends on.

    A random target is asked about each image `draws` times, and `correct` counts answers.
    Of a user's own data set `class_names` are the classes, as JSON, and `split` is how its images were split.
    `gradient` says which gradient the attack got of a classifier behind a defence (`experiments.GRADIENTS`), and is empty for
    one that no defence stands in front of.
    """

    key: str
    target: str
    source: str
    attack: str
    epsilon: float
    accuracy_percent: float
    correct: int
    images: int
    target_hash: str
    source_hash: str
    images_hash: str
    attack_settings: str
    bn_evaluation: str
    seconds: float
    dataset: str = ""
    method: str = ""
    protocol: str = ""
    scale: str = ""
    seed: int = 0
    steps: int = 0
    classifier_width: int = 0
    generator_width: int = 0
    training_images: int = 0
    training_commit: str = ""
    commit: str = ""
    versions: str = ""
    draws: int = 1
    # Younger than the first records, which have none of them; so has what is composed of others.
    confidence_percent: float | None = None
    wrong_confidence_percent: float | None = None
    changed_percent: float | None = None
    correct_before: int | None = None
    conditioned_percent: float | None = None
    success_percent: float | None = None
    l0_median: float | None = None
    l0_mean: float | None = None
    l2_median: float | None = None
    l2_mean: float | None = None
    linf_median: float | None = None
    linf_mean: float | None = None
    queries_mean: float | None = None
    # Of the images that another attack fooled the target on, how many what was done to them afterwards put right.
    destructible: int | None = None
    destruction_percent: float | None = None
    # What an attack that learns first has learned from.
    learned_from: str = ""
    class_names: str = ""
    split: str = ""
    rejected_percent: float | None = None
    gradient: str = ""

    limits: ClassVar[Mapping[str, tuple[float, float]]] = MappingProxyType(
        {**_COUNTED, **{f"{share}_percent": (0, 100) for share in _SHARES}}
    )

    def measure(self, metric: str) -> float | None:
        """The number that a key of `METRICS` names; None where it was not measured, or there is none."""
        value = getattr(self, METRICS[metric].field)
        if metric == "images still correct" and value is not None:
            return round(value * (self.correct_before or 0) / 100)
        return 100 - value if metric == "error" else value

    def images_of(self, metric: str) -> int | None:
        """Of how many images a metric is a share, None for one that is no share or has none."""
        field = METRICS[metric].images
        images = getattr(self, field) if field else None
        return images // self.draws if images and field == "correct_before" else images

    @property
    def wrong(self) -> int:
        """How many images the target labelled wrongly, in the mean of its draws."""
        return self.images - self.correct // self.draws

    @property
    def networks(self) -> dict[str, str]:
        """The hashes of the weights that it is of, by name: those of its target, and of its source where it has one."""
        return ({self.source: self.source_hash} if self.source else {}) | {self.target: self.target_hash}

    def fault(self) -> tuple[str, str] | None:
        """The first field that cannot be, and what was expected of it; None where all can."""
        answers = self.images * self.draws
        if self.correct > answers:
            return "correct", f"no more than the {answers} images"
        if abs(self.accuracy_percent - 100 * self.correct / answers) > _ROUNDING:
            return "accuracy_percent", f"that of {self.correct} out of {answers} images"
        if self.correct_before is not None and self.correct_before > answers:
            return "correct_before", f"no more than the {answers} images"
        return None


class Metric(NamedTuple):
    """What a cell of a table may show: a field of records, and the field with the images that it is a share of, if of any."""

    field: str
    images: str = ""


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": Metric("accuracy_percent", "images"),
        "error": Metric("accuracy_percent", "images"),
        # As the CIFAR10 report has it of its 1-NN.
        "accuracy (about)": Metric("accuracy_percent", "images"),
        "confidence": Metric("confidence_percent", "images"),
        "confidence of the mislabelled": Metric("wrong_confidence_percent", "wrong"),
        "images": Metric("correct"),
        "images still correct": Metric("conditioned_percent"),
        "accuracy of those correct at first": Metric("conditioned_percent", "correct_before"),
        "attack success rate": Metric("success_percent", "correct_before"),
        "destruction rate": Metric("destruction_percent", "destructible"),
        "images changed": Metric("changed_percent", "images"),
        **{f"{average} {norm}": Metric(f"{norm}_{average}") for norm in ("l0", "l2", "linf") for average in ("median", "mean")},
        "queries": Metric("queries_mean"),
        "images refused": Metric("rejected_percent", "images"),
    }
)
# The fields that records had none of at first, but for the number of images that were right before.
_OF_FIRST_RECORDS = ("accuracy_percent", "correct")
MEASURES = tuple(dict.fromkeys(metric.field for metric in METRICS.values() if metric.field not in _OF_FIRST_RECORDS))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Which images a record's target labelled correctly: a bit an image, eight a byte from the highest on, in hexadecimal.

    Of a random target there are so many bits for each of its `draws`, one draw after the other.
    """

    key: str
    images: int
    right: str
    draws: int = 1

    limits: ClassVar[Mapping[str, tuple[float, float]]] = _COUNTED

    @classmethod
    def of(cls, key: str, right: np.ndarray) -> Outcome:
        """The outcome of a record, from booleans [images] or [draws, images]."""
        return cls(key, right.shape[-1], np.packbits(right).tobytes().hex(), len(right) if right.ndim == 2 else 1)

    def fault(self) -> tuple[str, str] | None:
        """The first field that cannot be, and what was expected of it; None where all can."""
        digits = 2 * -(-self.images * self.draws // 8)
        if len(self.right) != digits or not _HEXADECIMAL.issuperset(self.right):
            return "right", f"{digits} hexadecimal digits for {self.images} images"
        return None

    def array(self) -> np.ndarray:
        """Booleans [images]; of a random target [draws, images]."""
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(self.right), np.uint8))[: self.images * self.draws].astype(bool)
        return bits if self.draws == 1 else bits.reshape(self.draws, self.images)


def record_key(**identity: Any) -> str:
    """16 hexadecimal digits of SHA-256 over what identifies a record."""
    return hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:DIGITS]


def hash_of_parts(parts: Iterable[Record]) -> str:
    """The source's hash of a worst case: 16 hexadecimal digits of SHA-256 over the keys of what it is the worst of."""
    return hashlib.sha256("".join(record.key for record in parts).encode()).hexdigest()[:DIGITS]


def read(file: Path, kind: type[Line] = Record) -> list[Line]:
    """The records of a file, or its lines of another kind, as `keyed_lines.read` has them."""
    return keyed_lines.read(file, kind)


def check(file: Path) -> None:
    """Raises a UserError where `merge` of records would, before the work whose records the file is to keep."""
    keyed_lines.check(file, Record)


def merge(file: Path, new: Iterable[Line], kind: type[Line] = Record) -> None:
    """Adds records, or lines of another kind, to a file, as `keyed_lines.merge` does."""
    keyed_lines.merge(file, new, kind)
