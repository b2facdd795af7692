"""What a run's directory says is believed only where it can be, and never waited for."""

import hashlib
import json
import os

import numpy as np
import pytest

from adv_networks.errors import UserError
from adv_networks.storage import run_directories
from adv_networks.storage.arrays import NoArrays, map_npy
from adv_networks.storage.hashes import arrays_hash, check_hashed, file_hash, images_hash, write_hashed


def description(**changes):
    known = {"file": file_hash_of(b"weights"), "weights": "0123456789abcdef"}
    provenance = {"commit": "c", "versions": "v", "machine": "m", "training_images": 9, "validation_images": 0}
    whole = {"experiment": {"steps": 8}, "provenance": provenance, "finished": True, "hashes": {"d.keras": known}}
    provenance |= changes.pop("provenance", {})
    return whole | changes


def file_hash_of(content):
    return hashlib.sha256(content).hexdigest()[:16]


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "experiment.json").write_text(json.dumps(description()))
    (tmp_path / "d.keras").write_bytes(b"weights")
    return tmp_path


def refused(do, match):
    with pytest.raises(UserError, match=match) as error:
        do()
    assert str(error.value).isprintable() and len(str(error.value)) < 600
    return error


def test_whole_description_is_read(workdir):
    assert run_directories.describe(workdir) == description()
    assert run_directories.state(workdir) == "finished"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 10_000,
        json.dumps(description(hashes=[])).encode(),
        json.dumps(description(hashes={"d.keras": "0123"})).encode(),
        json.dumps(description(hashes={"d.keras": {"file": "a"}})).encode(),
        json.dumps(description(hashes={"\ud800\n": {"file": 1, "weights": 2}})).encode(),
        json.dumps(description(provenance={"commit": 3})).encode(),
        json.dumps(description(provenance={"versions": ["v"]})).encode(),
        json.dumps(description(provenance={"training_images": "many"})).encode(),
        json.dumps(description(provenance={"training_images": True})).encode(),
        json.dumps(description(provenance={"training_images": -1})).encode(),
        json.dumps(description(provenance={"training_images_hash": {"a": "\n" * 9_999}})).encode(),
    ],
    ids=lambda text: text[:12].decode("latin-1") + str(len(text)),
)
def test_damaged_description_is_one_line(text, workdir):
    (workdir / "experiment.json").write_bytes(text)
    refused(lambda: run_directories.describe(workdir), r"experiment\.json: expected a run's description")
    assert run_directories.state(workdir) == "damaged"


def test_fifos_in_a_run_are_not_waited_for(workdir):
    (workdir / "d.keras").unlink()
    (workdir / "checkpoints").mkdir()
    os.mkfifo(workdir / "d.keras")
    os.mkfifo(workdir / "checkpoints" / "checkpoint")
    refused(lambda: run_directories.checked_file(workdir, "d.keras"), "found: a FIFO in place of a file")
    refused(lambda: run_directories.listed_steps(workdir / "checkpoints"), "found: a FIFO in place of a file")
    (workdir / "experiment.json").unlink()
    os.mkfifo(workdir / "experiment.json")
    refused(lambda: run_directories.describe(workdir), "found: a FIFO in place of a file")


@pytest.mark.parametrize("text", ['model_checkpoint_path: "ckpt-' + "9" * 5_000 + '"\n', None])
def test_damaged_list_of_checkpoints_is_one_line(text, workdir):
    place = workdir / "checkpoints"
    place.mkdir()
    (place / "checkpoint").mkdir() if text is None else (place / "checkpoint").write_text(text)
    refused(lambda: run_directories.listed_steps(place), r"checkpoint: expected .*, found")
    (workdir / "experiment.json").write_text(json.dumps({**description(), "finished": True}).replace('"finished"', '"begun"'))
    assert run_directories.state(workdir) == "damaged"


def test_list_of_checkpoints_names_their_steps(tmp_path):
    assert run_directories.listed_steps(tmp_path) == []
    (tmp_path / "checkpoint").write_bytes(b'model_checkpoint_path: "ckpt-20"\n\xff\nall_model_checkpoint_paths: "/a/ckpt-8"\n')
    assert run_directories.listed_steps(tmp_path) == [8, 20]


def test_file_of_a_run_is_the_one_that_it_saved(workdir):
    assert run_directories.checked_file(workdir, "d.keras") == workdir / "d.keras"
    assert run_directories.known_weights_hash(workdir, "d.keras") == "0123456789abcdef"
    run_directories.check_weights(workdir, "d.keras", "0123456789abcdef")
    refused(lambda: run_directories.check_weights(workdir, "d.keras", "f" * 16), "expected weights of hash 0123456789abcdef")
    (workdir / "d.keras").write_bytes(b"others")
    for use in (run_directories.checked_file, run_directories.known_weights_hash):
        refused(
            lambda use=use: use(workdir, "d.keras"),
            f"hash {file_hash_of(b'weights')}.*found another, hash {file_hash_of(b'others')}",
        )


def test_file_that_the_run_says_nothing_of_is_taken_as_it_is(workdir):
    (workdir / "g.keras").write_bytes(b"of a run of long ago")
    assert run_directories.checked_file(workdir, "g.keras") == workdir / "g.keras"
    assert run_directories.known_weights_hash(workdir, "g.keras") is None
    (workdir / "d.keras").unlink()
    assert run_directories.known_weights_hash(workdir, "d.keras") is None


def test_hashes_are_those_of_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"bytes")
    assert file_hash(tmp_path / "file") == file_hash_of(b"bytes")
    images, labels = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1), np.array([3, 4], np.int32)
    by_hand = b"(2, 2, 2, 1)" + bytes(range(8)) + b"(2,)" + b"\3\0\0\0\4\0\0\0"
    assert images_hash(images, labels) == arrays_hash(images, labels) == file_hash_of(by_hand)
    assert arrays_hash(images[:, ::-1]) == arrays_hash(images[:, ::-1].copy()) != arrays_hash(images)


def test_hashed_file_with_another_bit_is_refused(tmp_path):
    file, array = tmp_path / "static.npy", np.arange(100, dtype=np.int8)
    write_hashed(file, lambda temporary: np.save(temporary, array))
    check_hashed(file, "arrays", "advice")
    assert (tmp_path / "static.npy.sha256").read_text() == f"{hashlib.sha256(file.read_bytes()).hexdigest()}  static.npy\n"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    refused(
        lambda: check_hashed(file, "arrays", "remove it"),
        r"static\.npy: expected arrays as they were written, .* \(remove it\)",
    )
    (tmp_path / "static.npy.sha256").write_bytes(b"\xff")
    refused(
        lambda: check_hashed(file, "arrays", "remove it"), r"static\.npy\.sha256: expected the SHA-256 of static\.npy, found"
    )
    (tmp_path / "static.npy.sha256").unlink()
    check_hashed(file, "arrays", "advice")


def test_arrays_that_are_not_as_they_say_are_refused(tmp_path):
    file = tmp_path / "static.npy"
    np.save(file, np.arange(100, dtype=np.int8))
    np.testing.assert_array_equal(map_npy(file), np.arange(100))
    whole = file.read_bytes()
    for content in (
        b"",
        whole[:50],
        whole[:-1],
        whole + b"1",
        whole.replace(b"(100,)", b"(1e9,)"),
        whole.replace(b"'|i1'", b"'|O' "),
    ):
        file.write_bytes(content)
        with pytest.raises(NoArrays):
            map_npy(file)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(OSError, match="a FIFO in place of a file"):
        map_npy(file)
