"""Decoded data sets are kept until their files change, and a cache that is damaged or cannot be written is done without."""

import os

import numpy as np
import pytest

from adv_networks import data
from adv_networks.data import cache
from adv_networks.errors import UserError

IMAGES = data.Images(
    np.random.default_rng(0).integers(0, 255, [4, 28, 28, 1], np.uint8),
    np.arange(4, dtype=np.int32),
)
FILE = "mnist-train.tfrecord-00000-of-00001"


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("ADV_NETWORKS_CACHE", str(tmp_path / "cache"))
    directory = tmp_path / "tfds" / "mnist" / "3.0.1"
    directory.mkdir(parents=True)
    (directory / FILE).write_bytes(b"records")
    return directory


@pytest.fixture
def kept(source):
    """The file of the images that are kept."""
    cache.write(source, "mnist", "train", images=IMAGES)
    (file,) = cache.directory().iterdir()
    return file


def test_images_come_back_as_they_were(kept):
    found = cache.read("mnist", "train")
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(found, IMAGES, strict=True))
    assert cache.read("mnist", "test") is None


@pytest.mark.parametrize("change", ["other bytes", "another file", "another version", "no directory"])
def test_changed_files_are_decoded_again(change, kept, source):
    if change == "another version":
        (source.parent / "3.1.0").mkdir()
    elif change == "no directory":
        source.rename(source.with_name("elsewhere"))
    else:
        (source / (FILE if change == "other bytes" else "features.json")).write_bytes(b"changed, longer")
    assert cache.read("mnist", "train") is None


def flipped(content):
    return content[:-3000] + bytes([content[-3000] ^ 1]) + content[-2999:]


@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"nonsense", lambda content: content[:500], flipped])
def test_damaged_cache_is_done_without(damage, kept):
    kept.write_bytes(damage(kept.read_bytes()))
    assert cache.read("mnist", "train") is None


def test_waiting_file_in_place_of_the_cache_is_done_without(kept):
    kept.unlink()
    os.mkfifo(kept)
    assert cache.read("mnist", "train") is None


def test_cache_of_other_arrays_is_done_without(source):
    cache.write(source, "mnist", "train", images=data.Images(IMAGES.images, IMAGES.labels[:2]))
    assert cache.read("mnist", "train") is None


def test_unwritable_cache_is_done_without(source, tmp_path):
    (tmp_path / "cache").write_text("a file")
    cache.write(source, "mnist", "train", images=IMAGES)
    assert cache.read("mnist", "train") is None


def test_user_without_a_home_has_no_cache_and_is_asked_for_the_directory(source, tmp_path, monkeypatch):
    for name in ("ADV_NETWORKS_CACHE", "XDG_CACHE_HOME", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "~")  # What Python finds where there is no HOME and no entry in passwd.
    monkeypatch.chdir(tmp_path)
    assert cache.directory() is None
    cache.write(source, "mnist", "train", images=IMAGES)
    assert cache.read("mnist", "train") is None
    for data_dir, message in ((None, "expected --data_dir or TFDS_DATA_DIR"), ("~/data", "~/data: expected a home directory")):
        with pytest.raises(UserError, match=message):
            data.load("mnist", "train", data_dir=data_dir)
        with pytest.raises(UserError, match=message):
            data.check("mnist", ["train"], data_dir=data_dir)
    assert not (tmp_path / "~").exists()
