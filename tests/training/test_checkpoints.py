"""Which checkpoint a run goes on from, whatever a kill, a full disk or a damaged file left."""

import os
import re

import numpy as np
import pytest
import tensorflow as tf

from adv_networks.errors import UserError
from adv_networks.training.checkpoints import Checkpoints


def checkpoints(directory, value=0.0):
    return Checkpoints(directory, state=[tf.Variable(np.full([100, 100], value, np.float32))])


def state(saved):
    return float(saved.tracked.state[0][0, 0])


@pytest.fixture
def directory(tmp_path):
    """Checkpoints of the steps 1 to 5, whose state is -step."""
    saved = checkpoints(tmp_path / "run" / "checkpoints")
    for step in range(1, 6):
        saved.tracked.state[0].assign(np.full([100, 100], -step))
        saved.save(step)
    return tmp_path / "run" / "checkpoints"


def names(directory):
    return sorted(file.name for file in directory.iterdir())


def files(*steps):
    return sorted(["checkpoint", *(f"ckpt-{step}.{part}" for step in steps for part in ("data-00000-of-00001", "index"))])


def test_last_two_are_kept_and_the_last_restored(directory):
    assert names(directory) == files(4, 5)
    assert tf.train.latest_checkpoint(directory) == str(directory / "ckpt-5")
    saved = checkpoints(directory)
    assert (saved.restore(), state(saved)) == (5, -5)


def test_empty_directory_starts_at_step_0(tmp_path):
    saved = checkpoints(tmp_path / "checkpoints", 7.0)
    assert (saved.restore(), state(saved)) == (0, 7)


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file):
    file.write_bytes(b"")


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("part", ["data-00000-of-00001", "index"])
@pytest.mark.parametrize("damage", [cut, empty, flip_a_bit])
def test_damaged_newest_gives_way_to_the_one_before_with_a_line(part, damage, directory, capfd):
    damage(directory / f"ckpt-5.{part}")
    saved = checkpoints(directory)
    assert (saved.restore(), state(saved)) == (4, -4)
    error = capfd.readouterr().err
    assert re.fullmatch(r"\S*ckpt-5: damaged, continuing from step 4 \(.+\)\n", error)
    assert names(directory) == files(4)
    saved.save(6)
    assert names(directory) == files(4, 6)


def test_only_damaged_ones_are_an_error_and_stay(directory):
    for step in (4, 5):
        cut(directory / f"ckpt-{step}.index")
    before = {file.name: file.read_bytes() for file in directory.iterdir()}
    with pytest.raises(UserError, match=r"ckpt-5: expected a whole checkpoint, found: \S+"):
        checkpoints(directory).restore()
    assert {file.name: file.read_bytes() for file in directory.iterdir()} == before


@pytest.mark.parametrize("part", ["data-00000-of-00001", "index"])
def test_missing_file_of_the_newest_is_named_and_nothing_is_touched(part, directory):
    (directory / f"ckpt-5.{part}").unlink()
    before = names(directory)
    with pytest.raises(UserError, match=rf"expected ckpt-5\.{part}, found none \(remove \S+/checkpoint to continue from"):
        checkpoints(directory).restore()
    assert names(directory) == before
    (directory / "checkpoint").unlink()
    assert checkpoints(directory).restore() == 4


@pytest.mark.parametrize("text", [None, "", "nonsense"])
def test_without_a_list_the_files_there_are_count(text, directory):
    (directory / "checkpoint").unlink()
    if text is not None:
        (directory / "checkpoint").write_text(text)
    assert checkpoints(directory).restore() == 5
    assert names(directory) == files(4, 5)
    assert tf.train.latest_checkpoint(directory) == str(directory / "ckpt-5")


def test_killed_writes_do_not_count_and_go(directory, capfd):
    (directory / "ckpt-6_temp").mkdir()
    (directory / "ckpt-6_temp" / "part-00000-of-00001.data-00000-of-00001.tempstate123").write_text("half")
    (directory / "ckpt-7.data-00000-of-00001").write_text("no index yet")
    (directory / "checkpoint.tmp123").write_text("of TensorFlow's own manager")
    for part in ("data-00000-of-00001", "index"):
        (directory / f"ckpt-8.{part}").write_bytes((directory / f"ckpt-5.{part}").read_bytes()[:50])
    assert checkpoints(directory).restore() == 5
    assert names(directory) == files(4, 5)
    assert capfd.readouterr().err == ""


def test_checkpoints_of_a_manager_are_read(tmp_path):
    tracked = tf.train.Checkpoint(step=tf.Variable(9, dtype=tf.int64), state=[tf.Variable(tf.fill([100, 100], 3.0))])
    manager = tf.train.CheckpointManager(tracked, tmp_path, max_to_keep=2)
    for step in (8, 9):
        manager.save(checkpoint_number=step)
    saved = checkpoints(tmp_path)
    assert (saved.restore(), state(saved)) == (9, 3)
    assert names(tmp_path) == files(8, 9)


def test_state_of_another_shape_is_an_error(directory):
    with pytest.raises(UserError, match="expected a whole checkpoint, found"):
        Checkpoints(directory, state=[tf.Variable(tf.zeros([3]))]).restore()
    assert names(directory) == files(4, 5)


def test_full_disk_is_one_line_and_leaves_the_earlier_ones_whole(mounted):
    place = mounted("-t", "tmpfs", "-o", "size=128k", "tmpfs")
    saved = checkpoints(place / "checkpoints")
    for step in (1, 2):
        saved.save(step)
    for _ in range(2):
        with pytest.raises(UserError, match=r"writing \S+/ckpt-3: expected a place to write to, found: .*[Nn]o space left"):
            saved.save(3)
        assert names(place / "checkpoints") == files(1, 2)
    assert checkpoints(place / "checkpoints").restore() == 2


def test_read_only_directory_is_one_line(directory, mounted):
    place = mounted("--bind", directory.parent, remount="bind,ro")
    assert os.access(place, os.R_OK)
    for use in (lambda: checkpoints(place / "checkpoints").save(6), lambda: checkpoints(place / "new")):
        with pytest.raises(UserError, match=r"expected a place to write to, found: .*Read-only file system"):
            use()
    assert names(directory) == files(4, 5)
