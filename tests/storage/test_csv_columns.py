"""Columns of CSV files: NumPy's reading of long files gives what the csv module gives, whatever is in them."""

import csv
import random

import pytest

from adv_networks.errors import UserError
from adv_networks.storage.csv_columns import BLOCK, columns, rows
from adv_networks.storage.lines import parse
from adv_networks.storage.records import Record
from tests.storage.test_records import COMMITTED

HEADER = ["key", "name", "value"]
PLAIN = [
    "",
    "a",
    "12",
    "1.5",
    "12345678",
    "123456789",
    "sixteen letters.",
    "more than sixteen letters",
    "é",
    "日本語",
    " ",
    "'=1",
]
QUOTED = ['"a,b"', '"a\nb"', '"say ""a"", b"', '"""a"""', '""', '""""', '"é,\n"""', '"' + "long, " * 40 + '"', '","', '"\n"']
HOSTILE = [
    'a"b',
    '"a"b',
    '"a" ',
    ' "a"',
    '"open',
    'open"',
    '"a""',
    "a,b",
    "a\nb",
    "\r",
    "a\r\nb",
    '"a\r\nb"',
    "\0",
    '"a\0b"',
    "\n",
    ",",
    "\x0b\u2028",
]


def file_of(rng, hostile=0):
    """Bytes of a file of up to 40 lines with so many hostile cells, and then perhaps with other line ends or a byte changed."""
    common = rng.choices(PLAIN + QUOTED, k=4)
    cells = [[f"{number:04x}", rng.choice(common), rng.choice(PLAIN + QUOTED)] for number in range(rng.randrange(1, 40))]
    for _ in range(hostile):
        rng.choice(cells)[rng.randrange(3)] = rng.choice(HOSTILE)
    end = "\r\n" if hostile and rng.random() < 0.1 else "\n"
    text = end.join(map(",".join, [HEADER, *cells])) + rng.choice(["", end])
    data = text.encode()
    if hostile and rng.random() < 0.1:
        at = rng.randrange(len("key,name,value\n"), len(data))
        data = data[:at] + rng.choice([b"\xff", b"\xc3", b"", b'"']) + data[at + 1 :]
    return data


def outcome(lines):
    """Lists of the cells of each line after the header; None if a line is no CSV or has another number of cells."""
    try:
        found = list(lines)
    except (ValueError, csv.Error):
        return None
    return found if all(len(line) == len(HEADER) for line in found) else None


def by_columns(data, size):
    for count, some in columns(data, HEADER, size):
        lines = list(zip(*(column.of_lines(column.texts) for column in some), strict=True))
        assert len(lines) == count
        yield from map(list, lines)


@pytest.mark.parametrize("hostile", [0, 1, 3])
def test_columns_are_those_of_the_csv_module(hostile):
    rng = random.Random(hostile)
    outcomes = []
    for _ in range(400):
        data = file_of(rng, hostile)
        expected = outcome(rows(data))
        size = rng.choice([1, 40, 300, 2000])
        assert outcome(by_columns(data, size)) == (expected and expected[1:]), (data, size)
        outcomes.append(expected is not None)
    assert all(outcomes) if not hostile else 40 < sum(outcomes) < 360, "expected hostile files of both kinds"


def test_equal_texts_of_a_long_file_are_found_by_numpy():
    data = b"key,name,value\n" + b"".join(b'%016x,"a, b",%d\n' % (number, number % 3) for number in range(5_000))
    found = list(columns(data, HEADER, 2**16))
    assert sum(count for count, _ in found) == 5_000 and len(found) > 1
    for count, (key, name, value) in found:
        assert all(column.which is not None for column in (key, name, value)), "expected NumPy to have found the cells"
        assert len(key.texts) == count and set(name.texts) == {"a, b"} and len(value.texts) < 10


def test_cell_longer_than_the_csv_module_allows_is_refused():
    data = b"key,name,value\na," + b"b" * (csv.field_size_limit() + 1) + b",1\n"
    assert outcome(rows(data)) is None and outcome(by_columns(data, 2**17 + 100)) is None


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"moving", b"mov\xffing", "expected a line of CSV, found:"),
        (b"moving", b'"mov"ing', "expected a line of CSV, found:"),
        (b"moving", b"mov,ing", "expected {fields} fields, found {more}"),
        (b",0.3,", b",inf,", "column epsilon: expected a finite number from 0 on, found inf"),
        (b",0.3,", b",0.3,\n", "expected {fields} fields, found 6"),
        (b",3000,", b"," + b"9" * 400 + b",", "column steps: expected a whole number from 0 on, found 9999"),
    ],
)
def test_faults_of_a_long_file_are_named_by_line_and_column(old, new, fault, tmp_path):
    header, *lines = next(file for file in COMMITTED if len(file.read_bytes()) > 100_000).read_bytes().splitlines()
    many = [line for line in lines if b",0.3," in line and b",3000," in line] * 200
    at = len(many) - 9
    good = b"\n".join([header, *many]) + b"\n"
    assert len(good) > BLOCK and len(parse(tmp_path / "records.csv", Record, good)) == len(many)
    many[at] = many[at].replace(old, new, 1)
    count = header.count(b",") + 1
    with pytest.raises(UserError) as error:
        parse(tmp_path / "records.csv", Record, b"\n".join([header, *many]) + b"\n")
    expected = fault.format(fields=count, more=count + 1)
    assert str(error.value).startswith(f"{tmp_path / 'records.csv'} line ")
    assert expected in str(error.value) and "\n" not in str(error.value)
    if b"\xff" not in new:
        assert f" line {at + 2}, " in str(error.value)
