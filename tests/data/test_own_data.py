"""A user's own data set: what is read from folders and .npz files, what is refused, and the commands on it."""

import csv
import dataclasses
import json
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from adv_networks import data, evaluation, networks
from adv_networks.data import find_dataset
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import DATASETS, TABLES, experiment
from adv_networks.storage import records
from tests.conftest import SMALLEST, randomised, written_at

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


def transparent(file, mode):
    """A PNG with a tRNS chunk that makes its pixels transparent."""
    Image.new(mode, (8, 8), 0).save(file, transparency=bytes(2) if mode == "P" else (0, 0, 0) if mode == "RGB" else 0)


def deep(file):
    """A PNG of 16 bits a channel, which Pillow opens as RGB of 8."""
    rows = b"".join(b"\0" + b"\x12\x34" * 24 for _ in range(8))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    written = [struct.pack(">I", len(own)) + kind + own + struct.pack(">I", zlib.crc32(kind + own)) for kind, own in chunks]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))
    assert Image.open(file).mode == "RGB"


def animated(file, kind):
    """Three images in one file, of a format that its name may not say."""
    frames = [Image.new("L", (8, 8), 80 * number) for number in range(3)]
    frames[0].save(file, format=kind, save_all=True, append_images=frames[1:])


def digits(file, count=360):
    images, labels = load_digits(return_X_y=True)
    images = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    np.savez(file, images=images[:count], labels=labels[:count])
    return file


def test_class_folders_are_split_in_a_fixed_way_and_every_image_keeps_its_label(tmp_path):
    own = find_dataset(str(folder(tmp_path / "my shades")))
    assert own.name == "my_shades-bbdaa8a4"  # As results on disk have it.
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
        (lambda place: (folder(place), (place / "stray.png").write_bytes(b"no")), r"stray.png: .* 10, cat, found a file"),
        (lambda place: (place.mkdir(), Image.new("L", (8, 8)).save(place / "0.png")), r"found files only \(0.png\)"),
        (lambda place: folder(place, counts=(5, 0, 5)), "found none of 10 in mine"),
        (lambda place: folder(place / "train"), "expected train and test, or class folders, found train"),
        (lambda place: place.mkdir(), "found no image"),
        (lambda place: (place / "only").mkdir(parents=True), "found no image"),
        (lambda place: (folder(place), (place / "cat" / "more").mkdir()), "more: expected a PNG or JPEG .* another folder"),
        (lambda place: (folder(place / "train"), folder(place / "test"), (place / "misc").mkdir()), "found misc too"),
        (lambda place: (folder(place), transparent(place / "2" / "0.png", "P")), "0.png: .* found transparent pixels"),
        (lambda place: (folder(place), transparent(place / "2" / "0.png", "RGB")), "0.png: .* found transparent pixels"),
        (lambda place: (folder(place), transparent(place / "2" / "0.png", "L")), "0.png: .* found transparent pixels"),
        (lambda place: (folder(place), deep(place / "2" / "0.png")), "0.png: expected 8 bits per channel, found 16"),
        (lambda place: (folder(place), animated(place / "2" / "0.png", "PNG")), "0.png: .* found an animation of 3"),
        (lambda place: (folder(place), animated(place / "2" / "0.png", "GIF")), "0.png: .* found another kind of file"),
        (lambda place: (folder(place), animated(place / "2" / "0.jpg", "WEBP")), "0.jpg: .* found another kind of file"),
        (lambda place: (folder(place), (place / "2" / "0.png").write_bytes(b"P6 8 8 65535\n" + bytes(384))), "another kind"),
        (lambda place: (folder(place), (place / "2" / "0.png").write_bytes(b"")), "0.png: .* found another kind of file"),
        (lambda place: (folder(place), Image.new("CMYK", (8, 8)).save(place / "2" / "0.jpg")), "0.jpg: .* found mode CMYK"),
    ],
)  # fmt: skip
def test_other_folders_are_refused(make, message, tmp_path):
    make(tmp_path / "mine")
    with pytest.raises(UserError, match=message) as error:
        find_dataset(str(tmp_path / "mine"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("resize", [8, (8,), (0, 8), (8.5, 8), (8, 2**15), "88"])
def test_other_sizes_than_height_and_width_are_refused(resize, tmp_path):
    folder(tmp_path / "mine")
    with pytest.raises(UsageError, match="resize: expected height and width, from 1 to 32767, received"):
        data.own_data.opened(tmp_path / "mine", resize=resize)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (dict(pictures=np.zeros(3)), "expected x_train, .* found pictures"),
        (dict(images=np.full((4, 8, 8), 1.5), labels=np.arange(4) % 2), "images to be uint8, .* float64 .* from 1.5 to 1.5"),
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


def as_folders(file, place):
    """The images of a file of `digits` in class folders."""
    with np.load(file) as arrays:
        for number, (image, label) in enumerate(zip(arrays["images"], arrays["labels"], strict=True)):
            (place / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / str(label) / f"{number}.png")
    return place


@pytest.mark.slow
def test_every_command_takes_it_and_keeps_the_names_of_its_classes(run, tmp_path, monkeypatch):
    path = str(as_folders(digits(tmp_path / "digits.npz"), tmp_path / "mine"))
    code, output, error = run(f"--dataset={path}", "--method=standard", *SMALLEST)
    assert code == 0, error
    (file,) = (tmp_path / "results").rglob("records.csv")
    names = [str(number) for number in range(10)]
    for record in records.read(file):
        assert (json.loads(record.class_names), record.split) == (names, "a fifth of each class for testing, seed 0")
    (workdir,) = (tmp_path / "runs").iterdir()
    assert evaluation.class_names_of(workdir / "d.keras") == tuple(names)
    assert re.search(r"mine-[0-9a-f]{8}-standard-tiny-s0.*\n.*\n.* +\d+\.\d\d +\d+\.\d\d", output)
    code, output, error = run("--table=grid", f"--dataset={path}", "--plan", *SMALLEST)
    assert code == 0, error
    assert output.count(f"--dataset={path}") == 6 and output.count("# done") == 1
    grid = TABLES["grid"]
    monkeypatch.setitem(TABLES, "grid", dataclasses.replace(grid, rows=grid.rows[:1], columns=grid.columns[:3]))
    code, output, error = run("--table=grid", f"--dataset={path}", *SMALLEST)
    assert code == 0, error
    (table,) = (tmp_path / "results").rglob("grid-mine-*.csv")
    with table.open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 3 and all(row["measured_percent"] and not row["published_percent"] for row in rows)
    randomised(networks.d1((8, 8, 1), 10, 4)).save(tmp_path / "own.keras")
    code, output, error = run(f"--model={tmp_path}/own.keras", "--input_range=0,1", f"--dataset={path}")
    assert code == 0, error
    assert re.search(r"on 72 test images of mine-[0-9a-f]{8}, ε = 0\.3", output)
    (tmp_path / "mine" / "9").rename(tmp_path / "mine" / "nine")
    data.own_data.forget()
    code, output, error = run(f"--dataset={path}", "--method=standard", *SMALLEST)
    assert (code, output, error.count("\n")) == (1, "", 1)
    assert "expected class_names = ['0', " in error and "'nine'], " not in error.partition("received")[0]
    code, output, error = run(f"--model={workdir}", "--input_range=0,1", f"--dataset={path}")
    assert (code, output) == (1, "") and "found one of other classes (only one of the two has 9, nine)" in error


def test_sides_that_the_networks_do_not_take_are_one_line(run, tmp_path):
    code, output, error = run(f"--dataset={folder(tmp_path / 'mine', size=(10, 10))}", *SMALLEST)
    assert (code, output, error) == (2, "", "main.py: image sides: expected multiples of 4, received (10, 10, 1)\n")


def labels_of(dataset, split):
    return np.bincount(data.load(dataset, split).labels).tolist()


def test_a_fifth_of_each_class_is_for_testing_however_small_the_class(tmp_path):
    own = find_dataset(str(folder(tmp_path / "mine", counts=(50, 10, 2))))
    assert (labels_of(own.name, "train"), labels_of(own.name, "test")) == ([40, 8, 1], [10, 2, 1])
    assert own.split == "a fifth of each class for testing, seed 0"
    labels = np.repeat([0, 1, 2], [50, 10, 2])
    np.savez(
        tmp_path / "mine.npz", images=np.arange(62, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2), labels=labels
    )
    arrays = str(tmp_path / "mine.npz")
    assert (labels_of(arrays, "train"), labels_of(arrays, "test")) == ([40, 8, 1], [10, 2, 1])
    seen = np.concatenate([data.load(arrays, split).images[:, 0, 0, 0] for split in ("train", "test")])
    assert sorted(seen) == list(range(62)), "expected every image in one part"


@pytest.mark.parametrize("rare", [1, 2, 3])
def test_no_class_loses_its_training_images_to_validation(rare):
    for common in range(30, 50):
        labels = np.repeat([0, 1, 2], [common, rare, rare])
        images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1)
        own = data.from_arrays((images, labels), (images[:2], labels[:2]), name=f"rare{rare}")
        spec = experiment(own.name, "standard", validation=len(labels) // 5)
        training, held_out = data.training_and_validation(spec)
        assert len(held_out.labels) == len(labels) // 5
        assert (2 * np.bincount(training.labels) >= [common, rare, rare]).all()
        together = np.concatenate([training.images, held_out.images]).ravel()
        assert sorted(together) == list(range(len(labels))), "expected every image in one part"


@pytest.mark.parametrize(("order", "names"), [("numbers", ("2", "10", "cat")), ("names", ("10", "2", "cat")),
                                              ("cat,2,10", ("cat", "2", "10"))])  # fmt: skip
def test_class_order_says_which_folder_is_which_number(order, names, tmp_path):
    own = data.own_data.opened(folder(tmp_path / "mine"), class_order=order.split(","))
    assert own.class_names == names
    for image, label in zip(*data.load(own.name, "train"), strict=True):
        assert image[0, 0, 0] == SHADES[names[label]]


def test_class_order_of_other_classes_or_of_arrays_is_refused(tmp_path):
    with pytest.raises(UsageError, match="class_order: expected numbers, names, or all of 10, 2, cat, received cat, 2"):
        data.own_data.opened(folder(tmp_path / "mine"), class_order=("cat", "2"))
    with pytest.raises(UsageError, match="expected a data set of class folders"):
        data.own_data.opened(digits(tmp_path / "mine.npz"), class_order=("names",))


def test_what_file_managers_leave_is_no_image_and_a_class_may_be_called_train(tmp_path):
    place = folder(tmp_path / "mine")
    for name in ("Thumbs.db", "desktop.ini"):
        (place / name).write_text("")
        (place / "cat" / name).write_text("")
    (place / "cat").rename(place / "train")
    (place / "2").rename(place / "test")
    assert find_dataset(str(place)).class_names == ("10", "test", "train")


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_validation_folder_is_held_out_and_alone_it_is_the_test_set(validation, tmp_path):
    for part, counts in (("train", (5, 5, 5)), ("test", (1, 2, 3)), (validation, (3, 1, 1))):
        folder(tmp_path / "mine" / part, counts=counts)
    own = find_dataset(str(tmp_path / "mine"))
    assert (own.validation, own.train_images, own.split) == (5, 15, "as given")
    training, held_out = data.training_and_validation(experiment(own.name, "standard"))
    assert (np.bincount(training.labels).tolist(), np.bincount(held_out.labels).tolist()) == ([5, 5, 5], [3, 1, 1])
    (tmp_path / "mine" / "test").rename(tmp_path / "test")
    assert labels_of(str(tmp_path / "mine") + "/", "test") == [3, 1, 1]


def test_opaque_palettes_are_read_and_sizes_are_brought_to_one(tmp_path):
    place = folder(tmp_path / "mine")
    Image.new("P", (8, 8), 0).save(place / "2" / "0.png", transparency=b"\xff\xff")
    assert find_dataset(str(place)).image_shape == (8, 8, 3)
    Image.new("L", (20, 9), 20).save(place / "2" / "1.png")
    data.own_data.forget()
    with pytest.raises(UserError, match="--resize=HEIGHT,WIDTH resizes all of them"):
        find_dataset(str(place))
    own = data.own_data.opened(place, resize=(12, 16))
    assert (own.image_shape, own.options) == ((12, 16, 3), {"resize": "12,16"})
    values = {int(image[5, 5, 0]): int(label) for image, label in zip(*data.load(own.name, "train"), strict=True)}
    assert values.items() >= {(20, 0), (100, 1), (200, 2)}
    assert data.own_data.opened(digits(tmp_path / "mine.npz"), resize=(16, 16)).image_shape == (16, 16, 1)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_large_folder_is_mapped_from_a_file_with_the_same_images(mode, tmp_path, monkeypatch):
    place = folder(tmp_path / "mine", mode=mode)
    if mode == "RGB":
        Image.new("L", (8, 8), 9).save(place / "10" / "0.png")
    whole = find_dataset(str(place))
    expected = {split: data.load(whole.name, split) for split in ("train", "test")}
    monkeypatch.setenv("ADV_NETWORKS_CACHE", str(tmp_path / "cache"))
    for _ in range(2):
        own = data.own_data.opened(place, in_memory=100)
        assert own.name == whole.name
        for split, images in expected.items():
            found = data.load(own.name, split)
            assert isinstance(found.images, np.memmap) and not found.images.flags.writeable
            assert all(map(np.array_equal, found, images))
        written = written_at(tmp_path / "cache")
        data.own_data.forget()
    assert written_at(tmp_path / "cache") == written, "expected nothing to be decoded twice"
    spec = experiment(own.name, "standard", validation=2, batch_size=4)
    training, _ = data.training_and_validation(spec)
    x, y = next(iter(data.batches(*training, 4, training=True)))
    for image, label in zip(x.numpy(), y.numpy(), strict=True):
        assert (list(SHADES.values())[label] / 255 == pytest.approx(image[0, 0, 0])) or image[0, 0, 0] == pytest.approx(9 / 255)
    data.own_data.forget()
    Image.new(mode, (8, 8), 77 if mode == "L" else (77, 0, 0)).save(place / "2" / "0.png")
    assert data.own_data.opened(place, in_memory=100).name != whole.name


def test_arrays_may_be_floats_and_labels_one_hot():
    images, labels = np.arange(60, dtype=np.uint8).reshape(15, 2, 2, 1), np.arange(15) % 3
    own = data.from_arrays((images, labels), (images[:3], labels[:3]), name="mine")
    for form in ((images / 255, labels), (images / np.float32(255), np.eye(3)[labels]), (images[..., 0], labels[:, None])):
        assert data.from_arrays(form, (images[:3], labels[:3]), name="mine").name == own.name
    assert labels_of(own.name, "test") == [1, 1, 1]
    assert experiment(((images, labels), (images[:3], labels[:3])), "pgd").dataset.partition("-")[2] == own.name[5:]
    assert labels_of(experiment((images / 255, np.eye(3)[labels]), "pgd").dataset, "train") == [4, 4, 4]
    with pytest.raises(UsageError, match="expected \\(images, labels\\), or two such pairs, received 3 parts"):
        experiment((images, labels, labels), "pgd")
    for form, found in (
        ((images / 50, labels), "found float64 .* from 0 to 1.18"),
        ((images, np.eye(3)[labels] * 0.5), "integers .* or one-hot rows, found float64"),
        ((images, np.ones((15, 3))), "integers .* or one-hot rows, found float64"),
        ((images, labels[:4]), "as many train images as train labels, found 15 and 4"),
        ((images.astype(np.int64), labels), "found int64"),
    ):
        with pytest.raises(UsageError, match=found):
            data.from_arrays(form)


@pytest.mark.parametrize("suffix", ["zip", "csv", "npy"])
def test_other_files_are_one_line_that_says_what_to_do(suffix, tmp_path):
    (tmp_path / f"mine.{suffix}").write_bytes(b"PK\3\4")
    with pytest.raises(UserError, match=rf"expected a folder of class folders or an \.npz, found an? \.{suffix} \("):
        find_dataset(str(tmp_path / f"mine.{suffix}"))


def test_name_of_no_data_set_lists_folders_and_files_among_what_is_possible():
    with pytest.raises(UsageError, match=r"expected one of digits, .*, a folder of images or an \.npz, received nosuch"):
        find_dataset("nosuch")
