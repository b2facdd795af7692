"""A user's own data set: what is read from folders and .npz files, what is refused, and the commands on it."""

import csv
import dataclasses
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from adv_networks import data, networks
from adv_networks.data import find_dataset
from adv_networks.errors import UserError
from adv_networks.experiments import DATASETS, TABLES, experiment
from tests.conftest import SMALL, randomised

SHADES = {"2": 20, "10": 100, "cat": 200}  # in the order in which the classes are numbered


@pytest.fixture(autouse=True)
def no_data_set_stays_declared():
    declared = dict(DATASETS)
    yield
    for name in DATASETS.keys() - declared.keys():
        del DATASETS[name]


def folder(place, *, counts=(5, 5, 5), size=(8, 8), mode="L", suffix="png"):
    """Class folders of plain images, each of its class's shade."""
    for (name, shade), count in zip(SHADES.items(), counts, strict=True):
        (place / name).mkdir(parents=True)
        for number in range(count):
            Image.new(mode, size, shade if mode == "L" else (shade, 0, 255)).save(place / name / f"{number}.{suffix}")
    return place


def digits(file, count=360):
    images, labels = load_digits(return_X_y=True)
    images = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    np.savez(file, images=images[:count], labels=labels[:count])
    return file


def test_class_folders_are_split_in_a_fixed_way_and_every_image_keeps_its_label(tmp_path):
    own = find_dataset(str(folder(tmp_path / "my shades")))
    assert own.name == "my_shades-78ceae25"  # As results on disk have it.
    assert (own.classes, own.image_shape, own.class_names) == (3, (8, 8, 1), ("2", "10", "cat"))
    (train, train_labels), (test, test_labels) = splits = [data.load(own.name, split) for split in ("train", "test")]
    assert (train.dtype, train_labels.dtype, len(train), len(test)) == (np.uint8, np.int32, 12, 3)
    for images, labels in splits:
        assert [int(image[0, 0, 0]) for image in images] == [list(SHADES.values())[label] for label in labels]
    assert np.bincount(np.concatenate([train_labels, test_labels])).tolist() == [5, 5, 5]
    assert set(train_labels[:6]) == {0, 1, 2}
    again = find_dataset(str(tmp_path / "." / "my shades") + "/")
    assert again.name == own.name and np.array_equal(data.load(again.name, "test").images, test)


def test_train_and_test_folders_of_coloured_jpegs_are_the_splits(tmp_path):
    folder(tmp_path / "train", mode="RGB", suffix="jpg", size=(12, 8))
    folder(tmp_path / "test", mode="RGB", suffix="jpg", size=(12, 8), counts=(1, 0, 3))
    (tmp_path / "test" / "10" / ".DS_Store").write_text("")
    path = str(tmp_path)
    assert find_dataset(path).image_shape == (8, 12, 3)
    images, labels = data.load(path, "test")
    assert sorted(labels) == [0, 2, 2, 2] and len(data.load(path, "train").images) == 15
    for image, label in zip(images, labels, strict=True):
        np.testing.assert_allclose(image[4, 4], (list(SHADES.values())[label], 0, 255), atol=4)


@pytest.mark.parametrize("names", [("images", "labels"), ("x_train", "y_train", "x_test", "y_test")])
def test_npz_holds_one_part_or_two(names, tmp_path):
    images, labels = np.arange(30, dtype=np.uint8).repeat(64).reshape(30, 8, 8), np.arange(30) % 3
    arrays = (images, labels, images[:6, ..., None], labels[:6, None])
    np.savez(tmp_path / "mine.npz", **dict(zip(names, arrays, strict=False)))
    splits = {split: data.load(str(tmp_path / "mine.npz"), split) for split in ("train", "test")}
    sizes = {split: len(part.images) for split, part in splits.items()}
    assert sizes == ({"train": 24, "test": 6} if len(names) == 2 else {"train": 30, "test": 6})
    for part in splits.values():
        assert all(image[0, 0, 0] % 3 == label for image, label in zip(*part, strict=True))


def test_another_pixel_is_another_data_set(tmp_path):
    names = set()
    for number, value in enumerate((20, 20, 21)):
        place = folder(tmp_path / str(number) / "mine")
        Image.new("L", (8, 8), value).save(place / "2" / "0.png")
        names.add(find_dataset(str(place)).name)
    assert len(names) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: (folder(place), Image.new("L", (9, 8)).save(place / "cat" / "odd.png")), "expected 8×8 .* found 9×8"),
        (lambda place: (folder(place), (place / "cat" / "notes.txt").write_text("")), "notes.txt: expected a PNG or JPEG"),
        (lambda place: (folder(place), (place / "cat" / "0.png").write_bytes(b"no")), "0.png: expected a PNG or JPEG"),
        (lambda place: (folder(place), Image.new("RGBA", (8, 8)).save(place / "2" / "0.png")), "found mode RGBA"),
        (lambda place: (folder(place), (place / "stray.png").write_bytes(b"no")), "stray.png: expected a folder"),
        (lambda place: folder(place, counts=(5, 0, 5)), "found none of class 1"),
        (lambda place: folder(place / "train"), "expected train and test, or class folders, found train"),
        (lambda place: place.mkdir(), "found no image"),
        (lambda place: (place / "only").mkdir(parents=True), "found no image"),
    ],
)  # fmt: skip
def test_other_folders_are_refused(make, message, tmp_path):
    make(tmp_path / "mine")
    with pytest.raises(UserError, match=message) as error:
        find_dataset(str(tmp_path / "mine"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (dict(pictures=np.zeros(3)), "expected x_train, .* found pictures"),
        (dict(images=np.zeros((4, 8, 8)), labels=np.arange(4) % 2), "images to be uint8 .* found float64"),
        (dict(images=np.zeros((4, 8, 8, 2), np.uint8), labels=np.arange(4) % 2), r"found uint8 \[4, 8, 8, 2\]"),
        (dict(images=np.zeros((4, 8, 8), np.uint8), labels=np.arange(3) % 2), "as many images as labels, found 4 and 3"),
        (dict(images=np.zeros((4, 8, 8), np.uint8), labels=np.arange(4) - 1), "integers"),
        (dict(images=np.zeros((4, 8, 8), np.uint8), labels=np.arange(4) * 2**40), "labels below .*, found 3298534883328"),
        (dict(images=np.zeros((4, 8, 8), np.uint8), labels=np.ones(4, int)), "found none of class 0"),
        (dict(images=np.zeros((9, 8, 8), np.uint8), labels=np.zeros(9, int)), "found one class"),
        (
            dict(x_train=np.zeros((4, 8, 8), np.uint8), y_train=np.arange(4) % 2,
                 x_test=np.zeros((4, 4, 8), np.uint8), y_test=np.arange(4) % 2),
            r"expected test images of shape \(8, 8, 1\)",
        ),
        (b"no zip", "expected an .npz"),
        (np.zeros(3), "expected an .npz"),
    ],
)  # fmt: skip
def test_other_npz_files_are_refused(arrays, message, tmp_path):
    file = tmp_path / "mine.npz"
    if isinstance(arrays, dict):
        np.savez(file, **arrays)
    elif isinstance(arrays, bytes):
        file.write_bytes(arrays)
    else:
        with file.open("wb") as handle:
            np.save(handle, arrays)
    with pytest.raises(UserError, match=message) as error:
        find_dataset(str(file))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("size", "mode", "classifier", "epsilon"), [(28, "L", "d1", 0.3), (32, "L", "d2", 8 / 256),
                                                                     (8, "RGB", "d2", 8 / 256)])  # fmt: skip
def test_recipe_follows_the_images_and_every_number_of_it_is_a_setting(size, mode, classifier, epsilon, tmp_path):
    path = str(folder(tmp_path / "mine", size=(size, size), mode=mode))
    declared = find_dataset(path)
    spec = experiment(declared.name, "advnet")
    assert (spec.classifier, spec.epsilon, spec.augment_pad) == (classifier, epsilon, 0)
    assert (declared.classes, declared.train_images, declared.test_images) == (3, 12, 3)
    assert spec.name == f"{declared.name}-advnet-cpu-s0"
    other = experiment(declared.name, "advnet", epsilon=0.1, classifier="d2", batch_size=8, weight_decay=0.0)
    assert (other.epsilon, other.classifier, other.batch_size, other.weight_decay) == (0.1, "d2", 8, 0.0)
    assert np.array_equal(data.load(path, "test")[0], data.load(declared.name, "test")[0])


def test_every_command_takes_it(run, tmp_path, monkeypatch):
    path = str(digits(tmp_path / "mine.npz"))
    code, output, error = run(f"--dataset={path}", "--method=standard", *SMALL)
    assert code == 0, error
    assert re.search(r"mine-[0-9a-f]{8}-standard-tiny-s0.*\n.*\n.* +\d+\.\d\d +\d+\.\d\d", output)
    code, output, error = run("--table=grid", f"--dataset={path}", "--plan", *SMALL)
    assert code == 0, error
    assert output.count(f"--dataset={path}") == 6 and output.count("# done") == 1
    grid = TABLES["grid"]
    monkeypatch.setitem(TABLES, "grid", dataclasses.replace(grid, rows=grid.rows[:1], columns=grid.columns[:3]))
    code, output, error = run("--table=grid", f"--dataset={path}", *SMALL)
    assert code == 0, error
    (table,) = (tmp_path / "results").rglob("grid-mine-*.csv")
    with table.open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 3 and all(row["measured_percent"] and not row["published_percent"] for row in rows)
    randomised(networks.d1((8, 8, 1), 10, 4)).save(tmp_path / "own.keras")
    code, output, error = run(f"--model={tmp_path}/own.keras", "--input_range=0,1", f"--dataset={path}")
    assert code == 0, error
    assert re.search(r"on 72 test images of mine-[0-9a-f]{8}, ε = 0\.3", output)


def test_sides_that_the_networks_do_not_take_are_one_line(run, tmp_path):
    code, output, error = run(f"--dataset={folder(tmp_path / 'mine', size=(10, 10))}", *SMALL)
    assert (code, output, error) == (2, "", "main.py: image sides: expected multiples of 4, received (10, 10, 1)\n")
