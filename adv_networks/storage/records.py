"""Measured results: `records.csv` has a line for each (target, source, attack), `outcomes.csv` which images were right."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from adv_networks.lazy import np
from adv_networks.storage import keyed_lines
from adv_networks.storage.hashes import DIGITS
from adv_networks.storage.lines import Line

# How far a rounded accuracy may differ from that of its counts.
_ROUNDING = 0.01
_HEXADECIMAL = frozenset("0123456789abcdef")
_COUNTED = MappingProxyType(dict.fromkeys(("images", "draws"), (1, math.inf)))
_SHARES = ("accuracy", "confidence", "wrong_confidence", "changed", "conditioned", "success", "destruction", "rejected")


@dataclasses.dataclass(frozen=True)
class Record:
    """One accuracy and its provenance. `key` is the hash of everything that the number depends on.

    A random target labels each image `draws` times, and `correct` counts its answers.
    For a user's own data set, `class_names` are the classes, as JSON, and `split` is how its images were split.
    `runtime` says which kernels and threads computed it, which can change results by rounding.
    `gradient` is the gradient that the attack got from a classifier behind a defence (`experiments.GRADIENTS`), or "each" for
    all in turn; it is empty if there is no defence.
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
    # Fields that were added after the first records. Those records and worst cases do not have them.
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
    # On how many images another attack fooled the target, and how many of them are right again after this attack.
    destructible: int | None = None
    destruction_percent: float | None = None
    # The training images from which an attack has learned.
    learned_from: str = ""
    class_names: str = ""
    split: str = ""
    rejected_percent: float | None = None
    gradient: str = ""
    runtime: str = ""

    limits: ClassVar[Mapping[str, tuple[float, float]]] = MappingProxyType(
        {**_COUNTED, **{f"{share}_percent": (0, 100) for share in _SHARES}}
    )

    def measure(self, metric: str) -> float | None:
        """The value of a metric, a key of `METRICS`; None if it was not measured or does not exist."""
        value = getattr(self, METRICS[metric].field)
        if metric == "images still correct" and value is not None:
            return round(value * (self.correct_before or 0) / 100)
        return 100 - value if metric == "error" else value

    def images_of(self, metric: str) -> int | None:
        """The number of images of which a metric is a percentage; None if it is not a percentage."""
        field = METRICS[metric].images
        images = getattr(self, field) if field else None
        return images // self.draws if images and field == "correct_before" else images

    @property
    def wrong(self) -> int:
        """How many images the target labelled wrongly, on average over its draws."""
        return self.images - self.correct // self.draws

    @property
    def networks(self) -> dict[str, str]:
        """The weight hashes of its networks, by name: the target, and the source if there is one."""
        return ({self.source: self.source_hash} if self.source else {}) | {self.target: self.target_hash}

    def fault(self) -> tuple[str, str] | None:
        """The first field with an impossible value, and what was expected of it; None if there is none."""
        answers = self.images * self.draws
        if self.correct > answers:
            return "correct", f"no more than the {answers} images"
        if abs(self.accuracy_percent - 100 * self.correct / answers) > _ROUNDING:
            return "accuracy_percent", f"that of {self.correct} out of {answers} images"
        if self.correct_before is not None and self.correct_before > answers:
            return "correct_before", f"no more than the {answers} images"
        return None


class Metric(NamedTuple):
    """A number that a cell can show: a field of records, and the field with the number of images behind a percentage."""

    field: str
    images: str = ""


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": Metric("accuracy_percent", "images"),
        "error": Metric("accuracy_percent", "images"),
        # The CIFAR10 report gives this for its 1-NN.
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
# The fields of metrics that the first records have; `MEASURES` are the others.
_OF_FIRST_RECORDS = ("accuracy_percent", "correct")
MEASURES = tuple(dict.fromkeys(metric.field for metric in METRICS.values() if metric.field not in _OF_FIRST_RECORDS))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Which images a record's target labelled correctly: one bit for each image, packed from the highest bit, in hexadecimal.

    A random target has the bits of all its `draws`, one draw after the other.
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
        """The first field with an impossible value, and what was expected of it; None if there is none."""
        digits = 2 * -(-self.images * self.draws // 8)
        if len(self.right) != digits or not _HEXADECIMAL.issuperset(self.right):
            return "right", f"{digits} hexadecimal digits for {self.images} images"
        return None

    def array(self) -> np.ndarray:
        """Booleans [images], or [draws, images] for a random target."""
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(self.right), np.uint8))[: self.images * self.draws].astype(bool)
        return bits if self.draws == 1 else bits.reshape(self.draws, self.images)


def record_key(**identity: Any) -> str:
    """The key of a record: 16 hexadecimal digits of the SHA-256 of everything that identifies it."""
    return hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:DIGITS]


def hash_of_parts(parts: Iterable[Record]) -> str:
    """The source hash of a worst case: 16 hexadecimal digits of the SHA-256 of the keys of its parts."""
    return hashlib.sha256("".join(record.key for record in parts).encode()).hexdigest()[:DIGITS]


def read(file: Path, kind: type[Line] = Record) -> list[Line]:
    """Reads the records of a file, or lines of another kind (`keyed_lines.read`)."""
    return keyed_lines.read(file, kind)


def check(file: Path) -> None:
    """Raises the UserError that `merge` of records would raise, before the work that makes the records."""
    keyed_lines.check(file, Record)


def merge(file: Path, new: Iterable[Line], kind: type[Line] = Record) -> None:
    """Adds records, or lines of another kind, to a file (`keyed_lines.merge`)."""
    keyed_lines.merge(file, new, kind)
