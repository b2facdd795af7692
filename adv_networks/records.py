"""`records.csv`: one line per (target, source, attack), merged under a lock and written whole."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adv_networks.errors import UserError
from adv_networks.files import locked, remove_leftovers, write_text


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


_FIELDS = {field.name: {"str": str, "int": int, "float": float}[str(field.type)] for field in dataclasses.fields(Record)}


def record_key(**identity: Any) -> str:
    """16 hexadecimal digits of SHA-256 over what identifies a record."""
    return hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:16]


def read(file: Path) -> list[Record]:
    """The records of a file; none if there is no file.

    Raises:
        UserError: the file is not a whole record file; it is left as it is.
    """
    if not file.exists():
        return []
    try:
        with file.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.reader(handle, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: expected a record file, found: {error} (mend it or move it away)") from None
    if not rows or rows[0] != list(_FIELDS):
        raise UserError(
            f"{file}: expected the header {','.join(_FIELDS)[:60]}…, "
            f"found {','.join(rows[0])[:60] if rows else 'an empty file'} (mend it or move it away)"
        )
    records = []
    for number, row in enumerate(rows[1:], start=2):
        try:
            records.append(Record(**{name: kind(text) for (name, kind), text in zip(_FIELDS.items(), row, strict=True)}))
        except ValueError as error:
            raise UserError(
                f"{file} line {number}: expected {len(_FIELDS)} valid fields, found: {error} (mend it or move it away)"
            ) from None
    return records


def check(file: Path) -> None:
    """Raises a UserError where `merge` would, before the work whose records it is to keep; removes killed writers' files."""
    with locked(_lock(file), wait=True):
        remove_leftovers(file.parent)
        read(file)


def _lock(file: Path) -> Path:
    return file.with_name(f".{file.name}.lock")


def merge(file: Path, new: Iterable[Record]) -> None:
    """Adds records at the end of a file that other processes may be adding to; one of the same key goes."""
    with locked(_lock(file), wait=True):
        by_key = {}
        for record in (*read(file), *new):
            by_key.pop(record.key, None)
            by_key[record.key] = record
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_FIELDS)
        writer.writerows(dataclasses.astuple(record) for record in by_key.values())
        write_text(file, text.getvalue())
