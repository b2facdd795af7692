"""Data sets that are damaged, or made to do harm: one line each, at once, in little memory."""

import io
import json
import os
import resource
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adv_networks.data import find_dataset, load
from adv_networks.errors import UserError, printable
from adv_networks.evaluation import gallery
from adv_networks.experiments import DATASETS
from adv_networks.storage import pictures

IMAGES, LABELS = np.zeros((8, 4, 4), np.uint8), np.arange(8) % 2


@pytest.fixture(autouse=True)
def no_data_set_stays_declared():
    declared = dict(DATASETS)
    yield
    for name in DATASETS.keys() - declared.keys():
        del DATASETS[name]


def refused(path, match):
    """The data set is refused in one line, within a second and 100 MB."""
    started, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=match) as error:
        find_dataset(str(path))
    assert str(error.value).isprintable() and len(str(error.value)) < 600
    assert time.process_time() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100_000


@pytest.mark.parametrize("label", [10**5, 2**31 - 1, 2**31, 2**62, -1, 2**64 - 1])
@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_huge_label_is_one_line_at_once(label, dtype, tmp_path):
    file = tmp_path / "mine.npz"
    labels = LABELS.astype(np.uint64)
    labels[-1] = label % 2**64
    np.savez(file, images=IMAGES, labels=labels.astype(dtype))
    refused(file, r"expected (training images of every class.* found none of class 2|labels)")


def test_class_that_has_only_test_images_is_missed(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=np.where(LABELS, 2**30, 0))
    refused(file, "found none of class 2")


def npy(header, content=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def array(**changes):
    """The bytes of an `.npy` whose header says this."""
    said = {"descr": "|u1", "fortran_order": False, "shape": (8, 4, 4)} | changes
    return npy(repr(said), bytes(128))


def archive(file, images, *, compression=zipfile.ZIP_STORED, **others):
    labels = io.BytesIO()
    np.save(labels, LABELS)
    with zipfile.ZipFile(file, "w", compression) as opened:
        for name, content in {"images": images, "labels": labels.getvalue(), **others}.items():
            opened.writestr(f"{name}.npy", content)
    return file


HOSTILE = {
    "more than there is": array(shape=(10**12, 4, 4)),
    "more than a number holds": array(shape=(10**30, 4, 4)),
    "negative": array(shape=(-8, 4, -4)),
    "true": array(shape=(True, 8, 16)),
    "objects": array(descr="|O"),
    "text": array(descr="<U4"),
    "fields": array(descr=[("a", "|u1")]),
    "no type": array(descr="nonsense"),
    "no shape": npy("{'descr': '|u1', 'fortran_order': False}"),
    "no dictionary": npy("3"),
    "code": npy("__import__('os').abort()"),
    "deep": npy("(" * 9_000),
    "signs": npy("-" * 9_000 + "1"),
    "not closed": npy("{'"),
    "version": b"\x93NUMPY\x09\x00" + array()[8:],
    "no header": b"\x93NUMPY\x01\x00\xff\xff",
    "empty": b"",
    "zeros": bytes(200),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_arrays_of_hostile_structure_are_one_line(content, tmp_path):
    refused(archive(tmp_path / "mine.npz", content), r"mine\.npz: expected")


def test_bomb_of_zeros_is_refused_by_what_it_says_before_it_is_opened(tmp_path):
    file = archive(tmp_path / "mine.npz", array() + bytes(2**24), compression=zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 200_000
    refused(file, "images: .* bytes for uint8")


def test_arrays_beside_the_wanted_ones_are_not_looked_at(tmp_path):
    file = archive(tmp_path / "mine.npz", array(), metadata=array(descr="|O"), more=b"nonsense")
    assert find_dataset(str(file)).classes == 2


def test_order_of_the_elements_is_that_of_the_file(tmp_path):
    images = np.arange(128, dtype=np.uint8).reshape(8, 4, 4)
    parts = dict(y_train=LABELS, x_test=images, y_test=LABELS)
    np.savez(tmp_path / "c.npz", x_train=images, **parts)
    np.savez_compressed(tmp_path / "f.npz", x_train=np.asfortranarray(images), **parts)
    loaded = [load(str(tmp_path / name), "train") for name in ("c.npz", "f.npz")]
    np.testing.assert_array_equal(*(part.images for part in loaded))
    assert sorted(image.tobytes() for image in loaded[0].images) == sorted(image.tobytes() for image in images)
    assert loaded[0].images.flags.writeable


@pytest.mark.parametrize("part", ["method", "encrypted", "sizes", "directory", "end"])
def test_damaged_archives_are_one_line(part, tmp_path):
    file = archive(tmp_path / "mine.npz", array())
    content = bytearray(file.read_bytes())
    directory = content.index(b"PK\1\2")
    if part == "method":
        content[8] = content[directory + 10] = 99
    elif part == "encrypted":
        content[6] |= 1
        content[directory + 8] |= 1
    elif part == "sizes":
        content[directory + 20 : directory + 28] = b"\xff\xff\xff\x7f" * 2
    elif part == "directory":
        content[directory + 28 : directory + 30] = b"\xff\xff"
    else:
        del content[-10:]
    file.write_bytes(content)
    refused(file, r"mine\.npz: expected .*images and labels, found")


def test_no_change_of_a_byte_ends_otherwise_than_in_one_line(tmp_path):
    file = archive(tmp_path / "mine.npz", array(), compression=zipfile.ZIP_DEFLATED)
    whole, rng, accepted = file.read_bytes(), np.random.default_rng(0), 0
    for number in range(400):
        content = bytearray(whole)
        for place in rng.integers(len(content), size=rng.integers(1, 4)):
            content[place] = rng.integers(256)
        changed = tmp_path / f"{number}.npz"
        changed.write_bytes(content)
        try:
            found = load(str(changed), "train")
            accepted += 1
            assert (found.images.shape[1:], found.images.dtype) == ((4, 4, 1), np.uint8)
        except UserError as error:
            assert str(error).isprintable()
    assert accepted < 400


def pictures_of(place, name="0.png"):
    for label in ("a", "b"):
        (place / label).mkdir(parents=True)
        for number in range(6):
            Image.new("L", (4, 4), number).save(place / label / f"{number}.png")
    (place / "a" / name).unlink(missing_ok=True)
    return place / "a" / name


@pytest.mark.parametrize("place", ["data set", "picture", "class"])
def test_fifo_is_not_waited_for(place, tmp_path):
    path = tmp_path / "mine"
    if place == "data set":
        os.mkfifo(path)
    elif place == "picture":
        os.mkfifo(pictures_of(path))
    else:
        pictures_of(path)
        os.mkfifo(path / "c")
    refused(path, "a FIFO in place of a file|expected a folder of one of the classes")


@pytest.mark.parametrize("damage", ["cut", "text", "size"])
def test_damaged_pictures_are_one_line(damage, tmp_path):
    file = pictures_of(tmp_path / "mine")
    whole = (tmp_path / "mine" / "b" / "0.png").read_bytes()
    contents = {
        "cut": whole[:-30],
        "text": b"GIF89a",
        "size": whole[:16] + b"\x7f\xff\xff\xff" * 2 + whole[24:],
    }
    file.write_bytes(contents[damage])
    refused(tmp_path / "mine", r"0\.png: expected a PNG or JPEG image, found")


NAMES = ["$x^$", "$\\frac{$", b"caf\xe9", "=1+1", "a\nb", "\x1b[2J", "x" * 255]


def path_of(place, name):
    return place / os.fsdecode(name)


def named_folder(place):
    for number, name in enumerate(NAMES):
        folder = path_of(place, name)
        folder.mkdir(parents=True)
        for count in range(5):
            Image.new("L", (4, 4), 20 * number + count).save(folder / f"{count}.png")


def test_class_names_of_every_kind_are_kept_in_order_and_drawn(tmp_path):
    named_folder(tmp_path / "mine")
    declared = find_dataset(str(tmp_path / "mine"))
    assert sorted(declared.class_names) == sorted(["$x^$", "$\\frac{$", "caf\\xe9", "=1+1", "a\\nb", "\\x1b[2J", "x" * 255])
    test = load(declared.name, "test")
    for image, label in zip(*test, strict=True):
        assert declared.class_name(int(label)) == printable(os.fsdecode(NAMES[int(image[0, 0, 0]) // 20]))
    x = test.images / np.float32(255)
    made = gallery.Gallery(x, test.labels, {"pgd": x}, [test.labels, test.labels], 0.1)
    figure = gallery.draw(made, declared.name)
    assert pictures.pixels(figure).ndim == 3
    drawn = {text.get_text().splitlines()[0] for text in figure.axes[0].get_xticklabels()}
    assert {declared.class_name(int(label))[:19] for label in test.labels} == {text[:19] for text in drawn}


def test_names_that_are_no_text_are_refused_in_text(tmp_path):
    place = path_of(tmp_path, b"caf\xe9\n")
    place.mkdir()
    refused(place, r"caf\\xe9\\n: expected class folders of PNG or JPEG images, found no image")


HOMELESS = """
import json, os
from adv_networks import data
from adv_networks.commands.base import Request
from adv_networks.commands.listing import List
from adv_networks.training import Workspace
(said,) = List(request=Request(), workspace=Workspace()).run()
print(json.dumps([len(data.load("digits", "train").labels), os.listdir(), said, os.environ["KERAS_HOME"]]))
"""


def test_user_without_a_home_leaves_no_directory_of_that_name(tmp_path):
    homeless = {name: value for name, value in os.environ.items() if name not in ("TFDS_DATA_DIR", "KERAS_HOME")}
    homeless |= {"HOME": "~", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", HOMELESS], cwd=tmp_path, env=homeless, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    images, left, said, of_keras = json.loads(done.stdout.splitlines()[-1])
    assert (images, left, Path(of_keras).is_absolute()) == (1437, [], True)
    assert "not in a home directory (--data_dir, --download)" in said
