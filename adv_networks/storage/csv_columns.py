"""CSV text by columns: what the csv module reads, found by NumPy in long files, where it takes a fraction of the time.

In a long file most columns have few different texts. NumPy finds the cells in the bytes and which of them are equal, so each
text is decoded about once a block. The csv module reads short files. It also takes over from the first block that this project
would not have written: one with a line of another length, a quote inside a cell, or Windows line ends.
"""

from __future__ import annotations

import csv
import functools
import io
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from adv_networks.lazy import np

# Bytes. Of 0.5, 1, 2 and 4 MiB the fastest: the arrays of a block stay in the cache, and calls of NumPy are few.
BLOCK = 2**21
_ROWS_AT_ONCE = 2048
_COMMA, _NEWLINE, _QUOTE = b',\n"'
# Cells are compared eight bytes at a time, and only within a slot: cells of different slots differ.
_WORD, _SLOT_BITS = 8, 16
# A block whose longest cell would take more than this many times its bytes as the width of a column is left to the csv module.
_MOST_PADDING = 16


class Column(NamedTuple):
    """A column of some lines: texts, and which of them each line has; `which` is None if each line has its own, in order."""

    texts: Sequence[str]
    which: np.ndarray | None = None

    def of_lines(self, values: Sequence[Any]) -> Sequence[Any]:
        """The values of the lines, from those of the texts."""
        return values if self.which is None else np.fromiter(values, object, len(values))[self.which].tolist()


class _Cells(NamedTuple):
    """Where the cells of whole lines start and end in a block: int64 [columns, lines]; in bytes, the longest and all lines."""

    starts: np.ndarray
    ends: np.ndarray
    longest: int
    size: int


@functools.cache
def _masks() -> np.ndarray:
    """For each number of bytes, a word with these bytes set."""
    return np.array([2 ** (8 * width) - 1 for width in range(_WORD + 1)], "<u8")


@functools.cache
def _factors(words: int) -> np.ndarray:
    """Factors of the words of a cell, whose sum of products has a slot in its highest bits."""
    return np.random.default_rng(words).integers(2**64, size=words, dtype=np.uint64)


def rows(data: bytes) -> Iterator[list[str]]:
    """The rows of a CSV file."""
    return csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline=""), strict=True)


def columns(data: bytes, header: Sequence[str], block_size: int = BLOCK) -> Iterator[tuple[int, list[Column]]]:
    """The lines after the header of a CSV file, some at a time: their number and their columns.

    Raises:
        ValueError, csv.Error: the file is not UTF-8, no CSV, or a line has not the header's number of fields.
    """
    start, first = 0, f"{','.join(header)}\n".encode()
    if len(data) > block_size and data.startswith(first):
        start = len(first)
        while (block := data[start : start + block_size]) and (cells := _cells(block, len(header))):
            padded = block + bytes(cells.longest + _WORD)
            yield cells.starts.shape[1], [_column(padded, *places) for places in zip(cells.starts, cells.ends, strict=True)]
            start += cells.size
    others = itertools.islice(rows(data[start:]), 0 if start else 1, None)
    while some := list(itertools.islice(others, _ROWS_AT_ONCE)):
        if set(map(len, some)) != {len(header)}:
            raise ValueError
        yield len(some), list(map(Column, zip(*some, strict=True)))


def _cells(block: bytes, count: int) -> _Cells | None:
    """The cells of the whole lines of `count` fields at the start of a block; None if the csv module may read it otherwise."""
    if b"\r" in block or b"\0" in block:
        return None
    array = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(array == _QUOTE)
    opening, closing = quotes[: len(quotes) // 2 * 2].reshape(-1, 2).T
    # The two quotes that stand for one close a part of a cell and open the next.
    apart = opening[1:] != closing[:-1] + 1
    opening, closing = opening[np.append(opening[:1] >= 0, apart)], closing[np.append(apart, closing[:1] >= 0)]
    ends = np.flatnonzero((array == _COMMA) | (array == _NEWLINE))
    if len(quotes) % 2:
        ends = ends[: np.searchsorted(ends, quotes[-1])]
    depth = np.zeros(len(ends) + 1, np.int64)
    np.add.at(depth, np.searchsorted(ends, opening), 1)
    np.add.at(depth, np.searchsorted(ends, closing), -1)
    ends = ends[np.cumsum(depth[:-1]) == 0]
    lines = len(ends) // count
    if not lines:
        return None
    ends = ends[: lines * count]
    starts, size = np.append(0, ends[:-1] + 1), int(ends[-1]) + 1
    quoted = array[starts] == _QUOTE
    is_last = (array[ends] == _NEWLINE).reshape(lines, count)
    if (
        not is_last[:, -1].all()
        or is_last[:, :-1].any()
        or not np.array_equal(starts[quoted], opening[opening < size])
        or not np.array_equal(ends[quoted] - 1, closing[closing < size])
        or (longest := int(np.max(ends - starts))) > csv.field_size_limit()
        or longest * lines > _MOST_PADDING * len(block)
    ):
        return None
    starts, ends = (np.ascontiguousarray(places.reshape(lines, count).T) for places in (starts, ends))
    return _Cells(starts, ends, longest, size)


def _column(block: bytes, starts: np.ndarray, ends: np.ndarray) -> Column:
    """The column with these cells, each text about once. The block ends in zeros, as many as its longest cell."""
    widths = ends - starts
    least, most = int(widths.min()), int(widths.max())
    lines, words = np.arange(len(starts)), max(1, -(-most // _WORD))
    size = words * _WORD
    cells = np.ndarray(len(block) - size + 1, f"V{size}", block, strides=(1,))[starts].view("<u8").reshape(-1, words)
    for word in range(least // _WORD, words):
        cells[:, word] &= _masks().take(widths - _WORD * word, mode="clip")
    if (cells == cells[0]).all():
        alike = np.zeros_like(lines)
    else:
        slots = (cells @ _factors(words) >> np.uint64(64 - _SLOT_BITS)).astype(np.int64)
        found = np.empty(2**_SLOT_BITS, np.int64)
        found[slots] = lines
        alike = found[slots]
        alike = np.where((cells[alike] == cells).all(axis=1), alike, lines)
    firsts = alike == lines
    bytes_ = cells[firsts].view(f"S{size}")[:, 0].tolist()
    texts = b"\0".join(bytes_).decode().split("\0")
    if any(text.startswith('"') for text in texts):
        texts = [text[1:-1].replace('""', '"') if text.startswith('"') else text for text in texts]
    return Column(texts, (np.cumsum(firsts) - 1)[alike])
