"""What writing whole leaves behind, and what it removes."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adv_networks.errors import UserError
from adv_networks.storage.csv_rows import merge_rows, read_rows
from adv_networks.storage.files import locked, open_regular, read_text, remove_leftovers, write_text, write_whole


def names(directory):
    return sorted(file.name for file in directory.iterdir())


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "file.txt", "old")

    def half(temporary):
        temporary.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"writing \S+file\.txt: expected a place to write to, found: No space left on device"):
        write_whole(tmp_path / "file.txt", half)
    assert (names(tmp_path), (tmp_path / "file.txt").read_text()) == (["file.txt"], "old")


def test_leftovers_of_killed_writers_go_and_those_of_living_ones_stay(tmp_path):
    script = (
        "import os, pathlib, sys\n"
        "from adv_networks.storage.files import write_whole\n"
        "write_whole(pathlib.Path(sys.argv[1]), lambda file: (file.write_text('half'), os.kill(os.getpid(), 9)))"
    )
    for name in ("d.keras", "list"):
        assert subprocess.run([sys.executable, "-c", script, tmp_path / name]).returncode == -9
    host = re.sub(r"\W|_", "", platform.node())[:40]
    writers = (f"{host}-{os.getppid()}-12ab", f"not{host}-999999999-12ab", "notes")
    others = [f".g.writing-{writer}.keras" for writer in writers]
    for name in others:
        (tmp_path / name).write_text("of a living process, of another machine, of nobody")
    assert len(names(tmp_path)) == 5
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted(others)


def test_rows_of_data_sets_take_the_place_of_those_data_sets_lines(tmp_path):
    file = tmp_path / "rows.csv"
    merge_rows(file, ("dataset", "percent"), [dict(dataset="a", percent=1), dict(dataset="b", percent=2.50)], ["a", "b"])
    merge_rows(file, ("dataset", "percent"), [dict(dataset="a", percent=3)], ["a"])
    assert file.read_text() == "dataset,percent\nb,2.5\na,3\n"
    merge_rows(file, ("dataset", "percent"), [], ["b"])
    assert file.read_text() == "dataset,percent\na,3\n"
    with pytest.raises(UserError, match=r"rows.csv: expected the header dataset,share…, found dataset,percent \(remove it"):
        merge_rows(file, ("dataset", "share"), [], ["a"])
    assert file.read_text() == "dataset,percent\na,3\n"


def test_lock_is_not_waited_for_where_it_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "lock")
    refused = r"locking \S+lock: expected a place to write to, found: a FIFO in place of a file"
    with pytest.raises(UserError, match=refused), locked(tmp_path / "lock", wait=True):
        pass
    with pytest.raises(UserError, match=r"found: Is a directory"), locked(tmp_path, wait=True):
        pass


def test_what_is_no_regular_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for place, found in ((tmp_path / "fifo", "a FIFO"), (Path("/dev/zero"), "a device"), (tmp_path, "Is a directory")):
        with pytest.raises(OSError, match=found):
            open_regular(place)
    with pytest.raises(UserError, match=r"fifo: expected a table, found: a FIFO in place of a file"):
        read_rows(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "text")
    (tmp_path / "text").write_text("ε", encoding="utf-8")
    assert read_text(tmp_path / "link") == "ε"
