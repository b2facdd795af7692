"""Files of lines with keys, merged under a lock and written whole.

`records.csv` has one line per (target, source, attack); `outcomes.csv` says of the same keys which images were right.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from adv_networks.errors import UserError
from adv_networks.storage.files import locked, remove_leftovers, write_rows


@dataclasses.dataclass(frozen=True)
class Record:
    """One accuracy and where it comes from. `key` is the hash of all that the number depends on."""

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

    @property
    def networks(self) -> dict[str, str]:
        """The hashes of the weights that it is of, by name: those of its target, and of its source where it has one."""
        return ({self.source: self.source_hash} if self.source else {}) | {self.target: self.target_hash}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Which images a record's target labelled correctly: a bit an image, eight a byte from the highest on, in hexadecimal."""

    key: str
    images: int
    right: str

    @classmethod
    def of(cls, key: str, right: np.ndarray) -> Outcome:
        """The outcome of a record, from booleans [images]."""
        return cls(key, len(right), np.packbits(right).tobytes().hex())

    def array(self) -> np.ndarray:
        """Booleans [images]."""
        return np.unpackbits(np.frombuffer(bytes.fromhex(self.right), np.uint8))[: self.images].astype(bool)


Line = TypeVar("Line")


def _fields(kind: type) -> dict[str, type]:
    return {field.name: {"str": str, "int": int, "float": float}[str(field.type)] for field in dataclasses.fields(kind)}


def record_key(**identity: Any) -> str:
    """16 hexadecimal digits of SHA-256 over what identifies a record."""
    return hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:16]


def hash_of_parts(parts: Iterable[Record]) -> str:
    """The source's hash of a worst case: 16 hexadecimal digits of SHA-256 over the keys of what it is the worst of."""
    return hashlib.sha256("".join(record.key for record in parts).encode()).hexdigest()[:16]


def read(file: Path, kind: type[Line] = Record) -> list[Line]:
    """The records of a file, or its lines of another kind (a dataclass with a key); none if there is no file.

    A file may be older than the kind's last fields, which then have their defaults.

    Raises:
        UserError: the file is not a whole one of that kind; it is left as it is.
    """
    fields = _fields(kind)
    if not file.exists():
        return []
    try:
        with file.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.reader(handle, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: expected a record file, found: {error} (mend it or move it away)") from None
    required = sum(field.default is dataclasses.MISSING for field in dataclasses.fields(kind))
    if not rows or not required <= len(rows[0]) or rows[0] != list(fields)[: len(rows[0])]:
        raise UserError(
            f"{file}: expected the header {','.join(fields)[:60]}…, "
            f"found {','.join(rows[0])[:60] if rows else 'an empty file'} (mend it or move it away)"
        )
    records = []
    for number, row in enumerate(rows[1:], start=2):
        try:
            records.append(kind(**{name: fields[name](text) for name, text in zip(rows[0], row, strict=True)}))
        except ValueError as error:
            raise UserError(
                f"{file} line {number}: expected {len(rows[0])} valid fields, found: {error} (mend it or move it away)"
            ) from None
    return records


def check(file: Path) -> None:
    """Raises a UserError where `merge` would, before the work whose records it is to keep; removes killed writers' files."""
    with locked(_lock(file), wait=True):
        remove_leftovers(file.parent)
        read(file)


def _lock(file: Path) -> Path:
    return file.with_name(f".{file.name}.lock")


def merge(file: Path, new: Iterable[Line], kind: type[Line] = Record) -> None:
    """Adds records, or lines of another kind, to a file that other processes may be adding to; one of the same key goes."""
    with locked(_lock(file), wait=True):
        by_key = {}
        for record in (*read(file, kind), *new):
            by_key.pop(record.key, None)
            by_key[record.key] = record
        write_rows(file, list(_fields(kind)), [vars(record) for record in by_key.values()])
