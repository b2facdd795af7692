"""Decoded data sets are kept until their files change, and a cache that is damaged or cannot be written is done without."""

import numpy as np
import pytest

from adv_networks import data
from adv_networks.data import cache


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("ADV_NETWORKS_CACHE", str(tmp_path / "cache"))
    directory = tmp_path / "tfds" / "mnist" / "3.0.1"
    directory.mkdir(parents=True)
    (directory / "mnist-train.tfrecord-00000-of-00001").write_bytes(b"records")
    return directory


@pytest.fixture
def load(source, monkeypatch):
    """Loads MNIST from the directory, and counts how often its files are decoded."""
    decoded = []

    def decode(name, split, data_dir, download, limit):
        decoded.append((split, limit))
        rng = np.random.default_rng(len(decoded))
        return data.Images(rng.integers(0, 255, [4, 28, 28, 1], np.uint8), np.arange(4, dtype=np.int32)), source

    monkeypatch.setattr(data, "_decode", decode)
    place = source.parents[1]

    def load(split="train", limit=0, place=place):
        return data.load("mnist", split, data_dir=place, limit=limit), len(decoded)

    return load


def same(one, other):
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


def test_files_are_decoded_once(load):
    (first, _), (second, count) = load(), load()
    assert same(first, second) and count == 1


def test_each_split_limit_and_directory_is_its_own(load, tmp_path):
    counts = [load()[1], load("test")[1], load(limit=2)[1], load(place=tmp_path)[1], load()[1]]
    assert counts == [1, 2, 3, 4, 4]


@pytest.mark.parametrize("change", ["other bytes", "another file", "another version"])
def test_changed_files_are_decoded_again(change, load, source):
    first, _ = load()
    if change == "another version":
        (source.parent / "3.1.0").mkdir()
    else:
        name = "mnist-train.tfrecord-00000-of-00001" if change == "other bytes" else "features.json"
        (source / name).write_bytes(b"changed, longer")
    second, count = load()
    assert count == 2 and not same(first, second)
    assert same(second, load()[0])


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_damaged_cache_is_done_without(content, load):
    load()
    (file,) = cache.directory().iterdir()
    file.write_bytes(file.read_bytes()[:500] if content is None else content)
    assert load()[1] == 2
    assert load()[1] == 2


def test_unwritable_cache_is_done_without(load, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert [load()[1], load()[1]] == [1, 2]
