"""Record files: what is appended, what is replaced, what a kill leaves, and which values are refused."""

import csv
import dataclasses
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from adv_networks.errors import UserError
from adv_networks.storage import records
from adv_networks.storage.records import Outcome, Record, merge, read

COMMITTED = sorted((Path(__file__).parents[2] / "results").rglob("records.csv"))


def record(key="00000000000000aa", correct=9, images=12, **changes):
    percent = round(100 * correct / max(1, images), 4)
    whole = Record(key, "d", "", "clean", 0.1, percent, correct, images, "1e34567890123456", "", "ab", "{}", "moving", 0.5)
    return dataclasses.replace(whole, **changes)


def some(count, start=0):
    return [record(f"{number:016x}", correct=number % 13) for number in range(start, start + count)]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "records.csv"


@pytest.mark.parametrize("committed", COMMITTED, ids=str)
def test_committed_records_are_read_as_they_are_written(committed, file):
    kept = read(committed)
    merge(file, kept)
    with committed.open(newline="") as old, file.open(newline="") as new:
        for before, after in zip(list(csv.reader(old))[1:], list(csv.reader(new))[1:], strict=True):
            assert after[: len(before)] == before


def test_file_of_before_the_last_fields_takes_new_lines(file):
    kept = some(2)
    fields = [field.name for field in dataclasses.fields(Record)]
    old = [",".join(map(str, list(vars(line).values())[:14])) for line in kept]
    file.write_text("\n".join([",".join(fields[:14]), *old]) + "\n")
    assert read(file) == kept
    before = file.read_bytes()
    merge(file, some(1, 2))
    assert read(file) == some(3)
    assert file.read_bytes().startswith(before), "expected lines without the younger fields to leave the others as they are"
    named = record("00000000000000ff", dataset="digits")
    merge(file, [named])
    assert read(file) == [*some(3), named]


def test_lines_are_appended_and_the_earlier_ones_not_written_again(file):
    merge(file, some(50))
    before, inode = file.read_bytes(), file.stat().st_ino
    merge(file, some(2, 50))
    assert (file.stat().st_ino, file.read_bytes()[: len(before)]) == (inode, before)
    assert read(file) == some(52)


def test_last_line_of_a_key_counts_and_replaced_ones_do_not_pile_up(file):
    lines = some(600)
    for number in range(8):
        merge(file, [dataclasses.replace(line, seconds=float(number)) for line in lines])
    assert read(file) == [dataclasses.replace(line, seconds=7.0) for line in lines]
    assert len(file.read_text().splitlines()) <= 2 * len(lines) + 1
    merge(file, lines[:1])
    assert read(file)[-1] == lines[0] and len(read(file)) == len(lines)


def test_last_line_without_an_end_is_whole_if_its_fields_are(file):
    merge(file, some(2))
    file.write_text(file.read_text().rstrip("\n"))
    assert read(file) == some(2)
    merge(file, some(1, 2))
    assert read(file) == some(3)


KILLED = """
import os, sys
from pathlib import Path
from tests.storage.test_records import some
from adv_networks.storage.records import merge
whole = os.write
def half(descriptor, data):
    whole(descriptor, data[: int(sys.argv[2])])
    os.kill(os.getpid(), 9)
os.write = half
merge(Path(sys.argv[1]), some(2, 3))
"""


@pytest.mark.parametrize("written", [0, 1, 40, 100])
def test_killed_process_leaves_no_half_a_line(written, file):
    merge(file, some(3))
    before = file.read_bytes()
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, file, str(written)], cwd=root)
    assert done.returncode == -9
    assert len(file.read_bytes()) == len(before) + written, "expected the test to leave half a line"
    assert read(file) == some(3)
    merge(file, some(1, 3))
    assert read(file) == some(4)


def test_line_that_a_kill_left_is_not_taken_out_of_another_file(file):
    merge(file, some(3))
    lock = file.with_name(".records.csv.lock")
    lock.write_text(f"{file.stat().st_ino + 1} 100 {file.stat().st_size + 9}\n")
    assert read(file) == some(3)
    lock.write_text("half an ent")
    merge(file, some(1, 3))
    assert read(file) == some(4)


FULL = """
import resource, sys
from pathlib import Path
from tests.storage.test_records import some
from adv_networks.errors import UserError
from adv_networks.storage.records import merge
file = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 50,) * 2)
try:
    merge(file, some(2, 3))
except UserError as error:
    print(error)
"""


def test_full_disk_leaves_the_file_as_it_was(file):
    merge(file, some(3))
    before = file.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL, file], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.stdout == f"writing {file}: expected a place to write to, found: File too large\n", done.stderr
    assert file.read_bytes() == before


IMPOSSIBLE = [
    ("accuracy_percent", "250", "a finite number from 0 to 100"),
    ("accuracy_percent", "-1", "a finite number from 0 to 100"),
    ("accuracy_percent", "nan", "a finite number"),
    ("accuracy_percent", "12.5", "that of 9 out of 12 images"),
    ("epsilon", "inf", "a finite number"),
    ("epsilon", "-0.1", "a finite number from 0 on"),
    ("seconds", "1e400", "a finite number"),
    ("seconds", "soon", "a finite number"),
    ("images", "0", "a whole number from 1 on"),
    ("images", "-12", "a whole number from 1 on"),
    ("images", "12.0", "a whole number from 1 on"),
    ("correct", "13", "no more than the 12 images"),
    ("steps", "many", "a whole number from 0 on"),
    ("key", "1.23E+15", "16 hexadecimal digits"),
    ("target_hash", "1.23457E+15", "16 hexadecimal digits"),
    ("images_hash", "12345678", "16 hexadecimal digits"),
]


@pytest.mark.parametrize(("field", "text", "expected"), IMPOSSIBLE)
def test_impossible_values_are_refused_with_their_place_and_the_file_is_left(field, text, expected, file):
    merge(file, some(3))
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    rows[1] |= {"correct": "9", "images": "12", "accuracy_percent": "75.0"} | {field: text}
    with file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    damaged = file.read_bytes()
    for use in (read, records.check, lambda file: merge(file, some(1, 5))):
        with pytest.raises(UserError) as error:
            use(file)
        assert str(error.value).startswith(f"{file} line 3, column {field}: expected {expected}"), error.value
        assert f"found {text}" in str(error.value) and "\n" not in str(error.value)
    assert file.read_bytes() == damaged


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(accuracy_percent=float("nan")), "column accuracy_percent: expected a finite number from 0 to 100, found nan"),
        (dict(correct=0, images=0), "column images: expected a whole number from 1 on, found 0"),
        (dict(epsilon=None), "column epsilon: expected a finite number from 0 on, found"),
    ],
)
def test_new_record_with_an_impossible_value_is_refused(changes, message, file):
    merge(file, some(1))
    before = file.read_bytes()
    with pytest.raises(UserError, match=message):
        merge(file, [record(**changes)])
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("aa,0,,1", "images"),
        ("aa,9,ff,1", "right"),
        ("aa,8,fg,1", "right"),
        ("aa,8,,1", "right"),
        ("aa,8,ff,0", "draws"),
    ],
)
def test_impossible_outcomes_are_refused(line, column, tmp_path):
    file = tmp_path / "outcomes.csv"
    merge(file, [Outcome.of("bb", np.ones(9, bool))], Outcome)
    with file.open("a") as handle:
        handle.write(f"{line}\n")
    with pytest.raises(UserError, match=rf"outcomes\.csv line 3, column {column}: expected"):
        read(file, Outcome)


@pytest.mark.parametrize("place", ["records.csv", ".records.csv.lock"])
def test_fifo_in_place_of_a_file_is_one_line(place, file, tmp_path):
    os.mkfifo(tmp_path / place)
    with pytest.raises(UserError, match=r"expected .*, found: a FIFO in place of a file"):
        merge(file, some(1))


def test_long_files_are_read_nearly_as_fast_as_their_csv_and_added_to_in_no_time(file):
    lines = read(COMMITTED[0])
    long = [dataclasses.replace(lines[number % len(lines)], key=f"{number:016x}") for number in range(4_000)]
    merge(file, long)

    def seconds(do):
        times = []
        for _ in range(3):
            started = time.process_time()
            do()
            times.append(time.process_time() - started)
        return min(times)

    plain = seconds(lambda: list(csv.reader(io.StringIO(file.read_text()))))
    reading = seconds(lambda: read(file))
    assert read(file) == long
    adding = seconds(lambda: merge(file, long[:1]))
    # Before, adding a line took as long as reading and writing all, five times as long as the CSV alone.
    assert reading < 5 * plain and adding < plain / 2, (plain, reading, adding)
