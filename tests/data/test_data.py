"""Loading, the validation split, and batches as a function of (seed, step)."""

import http.server
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow_datasets as tfds

from adv_networks import data
from adv_networks.data import sources
from adv_networks.errors import UserError
from adv_networks.experiments import DATASETS, Dataset, experiment


def numbered(count):
    """Images that carry their own number, so that a batch tells which it holds."""
    images = np.zeros((count, 8, 8, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(count) % 256, np.arange(count) // 256
    return images, np.arange(count) % 10


def numbers(x):
    pixels = np.round(np.asarray(x) * 255).astype(int)
    return pixels[:, 0, 0, 0] + 256 * pixels[:, 0, 1, 0]


def taken(dataset, count):
    return [(x.numpy(), y.numpy()) for x, y in dataset.take(count)]


def test_digits_are_all_there_once():
    train, test = (data.load("digits", split) for split in ("train", "test"))
    assert (train.images.shape, test.images.shape) == ((1437, 8, 8, 1), (360, 8, 8, 1))
    assert (train.images.dtype, train.labels.dtype) == (np.uint8, np.int32)
    from sklearn.datasets import load_digits

    own = np.concatenate([train.images, test.images]).reshape(1797, -1)
    original = np.round(load_digits().data * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, own)) == sorted(map(bytes, original))


def test_training_batches_visit_every_image_once_an_epoch_and_in_another_order_the_next():
    images, labels = numbered(300)
    batches = taken(data.batches(images, labels, 50, training=True, seed=1), 12)
    first, second = (np.concatenate([numbers(x) for x, _ in part]) for part in (batches[:6], batches[6:]))
    assert sorted(first) == sorted(second) == list(range(300))
    assert (first != second).mean() > 0.9
    for x, y in batches:
        np.testing.assert_array_equal(y, numbers(x) % 10)


def test_a_batch_may_span_two_epochs_and_is_always_full():
    images, labels = numbered(70)
    batches = taken(data.batches(images, labels, 64, training=True), 35)
    visits = np.bincount(np.concatenate([numbers(x) for x, _ in batches]), minlength=70)
    assert all(len(y) == 64 for _, y in batches)
    assert (visits == 32).all()


def test_shuffling_mixes_near_and_far():
    images, labels = numbered(2000)
    order = numbers(np.concatenate([x for x, _ in taken(data.batches(images, labels, 100, training=True), 20)]))
    assert abs(np.corrcoef(order, np.arange(2000))[0, 1]) < 0.1
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.1


@pytest.mark.parametrize("augment", [0, 2])
def test_batches_are_a_function_of_seed_and_step(augment):
    images, labels = numbered(100)
    images = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)
    options = dict(training=True, augment=augment)
    whole = taken(data.batches(images, labels, 16, seed=5, **options), 9)
    resumed = taken(data.batches(images, labels, 16, seed=5, start=6, **options), 3)
    other = taken(data.batches(images, labels, 16, seed=6, **options), 9)
    for (x, y), (same_x, same_y) in zip(whole[6:], resumed, strict=True):
        np.testing.assert_array_equal(x, same_x)
        np.testing.assert_array_equal(y, same_y)
    assert not any(np.array_equal(x, other_x) for (x, _), (other_x, _) in zip(whole, other, strict=True))


def test_evaluation_batches_come_in_order_with_a_partial_last_one():
    images, labels = numbered(70)
    batches = taken(data.batches(images, labels, 32, training=False), 9)
    assert [len(y) for _, y in batches] == [32, 32, 6]
    np.testing.assert_array_equal(np.concatenate([numbers(x) for x, _ in batches]), np.arange(70))
    assert batches[0][0].dtype == np.float32


def test_augmentation_shifts_by_at_most_the_padding_and_flips():
    image = np.random.default_rng(0).integers(1, 256, (1, 8, 8, 1), np.uint8)
    batch = taken(data.batches(image, np.zeros(1), 512, training=True, augment=2), 1)[0][0]
    padded = np.pad(image[0, :, :, 0], 2) / np.float32(255)
    crops = [padded[row : row + 8, column : column + 8] for row in range(5) for column in range(5)]
    variants = np.stack([*crops, *(crop[:, ::-1] for crop in crops)])
    is_variant = np.isclose(batch[:, None, :, :, 0], variants[None]).all((2, 3))
    assert is_variant.any(1).all(), "every image is a variant"
    assert is_variant.any(0).all(), "every variant is there"


def test_static_examples_enlarge_the_training_set_in_equal_parts():
    images, labels = numbered(100)
    images[:] = images // 2 + 64
    perturbations = np.stack([np.full(images.shape, units, np.int8) for units in (127, -127, 0)])
    stream = data.batches(images, labels, 100, training=True, perturbations=perturbations, epsilon=0.1)
    x = np.concatenate([x for x, _ in taken(stream, 4)])
    shift = x[:, 4, 4, 0] - 64 / 255
    assert [int((np.abs(shift - expected) < 1e-6).sum()) for expected in (0.1, -0.1, 0.0)] == [100, 100, 200]


@pytest.mark.parametrize("augment", [0, 2])
def test_paired_static_examples_come_beside_their_own_images(augment):
    images, labels = numbered(100)
    images[:] = images // 2 + 64  # so that nothing is clipped; two images to a number
    perturbations = np.stack([np.full(images.shape, units, np.int8) for units in (127, -127, 0)])
    options = dict(training=True, perturbations=perturbations, paired=True, epsilon=0.1, augment=augment)
    batches = taken(data.batches(images, labels, 50, **options), 24)
    assert batches[0][0].shape == (2, 50, 8, 8, 1)
    first = np.concatenate([numbers(x[0]) for x, _ in batches[:2]])
    kinds = []
    for x, _ in batches:
        shift = x[1] - x[0]
        kind = np.round(10 * shift[:, 4, 4, 0]).astype(int)
        kinds.append(kind)
        np.testing.assert_allclose(shift, np.where(x[0] > 0, 0.1 * kind[:, None, None, None], 0), atol=1e-6)
    shares = np.unique(np.concatenate(kinds), return_counts=True)[1] / 1200
    np.testing.assert_allclose(shares, 1 / 3, atol=0.06)
    assert len(np.unique(kinds, axis=0)) == 24
    if not augment:
        assert np.unique(first, return_counts=True)[1].tolist() == [2] * 50


def test_validation_images_are_held_out_of_training():
    spec = experiment("digits", "standard")
    training, validation = data.training_and_validation(spec)
    assert (len(training.images), len(validation.images)) == (1200, 237)
    whole = data.load("digits", "train")
    np.testing.assert_array_equal(np.concatenate([validation.images, training.images]), whole.images)
    training, validation = data.training_and_validation(experiment("digits", "standard", validation=0))
    assert (len(training.images), len(validation.images)) == (1437, 0)


def test_of_a_subset_no_more_than_a_fifth_is_held_out():
    training, validation = data.training_and_validation(experiment("digits", "standard", train_images=100))
    assert (len(training.images), len(validation.images)) == (80, 20)


def test_missing_data_set_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=f"data set mnist: expected it prepared in {tmp_path}.*--download"):
        data.load("mnist", "train", data_dir=tmp_path)


@pytest.mark.parametrize("dataset", [name for name, declared in DATASETS.items() if declared.tfds_name])
def test_each_data_set_comes_through_its_builder_with_the_declared_shapes(dataset, tmp_path):
    declared = DATASETS[dataset]
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "file.INFO").touch()  # as of a file that is fetched already
    place = dict(data_dir=tmp_path, download=True)
    with tfds.testing.mock_data(num_examples=40):
        for split in ("train", "test"):
            images, labels = data.load(dataset, split, **place)
            assert (images.shape, images.dtype) == ((40, *declared.image_shape), np.uint8)
            assert labels.dtype == np.int32 and declared.classes / 2 < labels.max() < declared.classes
        spec = experiment(dataset, "pgd", batch_size=16, extra_images=25 if dataset == "svhn" else 0)
        training, validation = data.training_and_validation(spec, **place)
    assert (len(training.images), len(validation.images)) == (32 + spec.extra_images, 8)
    x, y = next(iter(data.batches(*training, 16, training=True, augment=spec.augment_pad)))
    assert x.shape == (16, *declared.image_shape) and 0 <= x.numpy().min() < x.numpy().max() <= 1 and y.shape == (16,)


@pytest.fixture
def declare(monkeypatch):
    """Declares a data set called "numbered", of these splits of numbered images, for the length of the test."""

    def declare(**counts):
        declared = Dataset("numbered", None, (8, 8, 1), 10, counts["train"], counts.get("test", 0), 8, dict(epsilon=0.1))
        splits = {split: data.Images(*numbered(count)) for split, count in counts.items()}
        monkeypatch.setitem(DATASETS, "numbered", declared)
        return sources.register(declared, lambda place: sources.InMemory("numbered", splits))

    return declare


def test_draw_of_extra_images_is_added_where_there_are_some(declare):
    declare(train=40, extra=200)
    options = dict(validation=8, extra_images=80)
    training, validation = data.training_and_validation(experiment("numbered", "standard", **options))
    assert (len(training.images), len(validation.images)) == (112, 8)
    drawn = numbers(training.images[32:] / 255)
    assert len(set(drawn)) == 80
    again, _ = data.training_and_validation(experiment("numbered", "standard", **options))
    np.testing.assert_array_equal(again.images, training.images)
    replaced, _ = data.training_and_validation(experiment("numbered", "standard", extra_replacement=True, **options))
    assert len(set(numbers(replaced.images[32:] / 255))) < 80
    declare(train=40)
    training, _ = data.training_and_validation(experiment("numbered", "standard", **options))
    assert len(training.images) == 32


def test_data_set_is_added_by_its_declaration_and_its_source(declare):
    declared = declare(train=40, test=20)
    assert data.find_dataset("numbered") is declared
    assert np.array_equal(numbers(data.load("numbered", "test", limit=5).images / 255), range(5))
    data.check("numbered", ["train", "test"])
    with pytest.raises(data.NoSuchSplit, match="numbered: expected split train or test, received extra"):
        data.check("numbered", ["extra"])


def test_damaged_data_set_is_one_clear_line(tmp_path):
    directory = tmp_path / "mnist" / "3.0.1"
    directory.mkdir(parents=True)
    (directory / "dataset_info.json").write_text("{nonsense")
    with pytest.raises(UserError, match=f"data set mnist: expected to read it from {tmp_path}, found"):
        data.load("mnist", "train", data_dir=tmp_path)


def test_missing_split_of_the_digits_is_told_from_missing_data():
    with pytest.raises(data.NoSuchSplit):
        data.load("digits", "extra")


def test_data_set_is_checked_without_reading_it(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=f"data set mnist: expected it prepared in {tmp_path}.*--download"):
        data.check("mnist", ["train"], data_dir=tmp_path)
    data.check("digits", ["train", "test"], data_dir=tmp_path)
    (tmp_path / "dataset_info.json").touch()
    there = SimpleNamespace(data_dir=str(tmp_path), info=SimpleNamespace(splits={"train": None}))
    monkeypatch.setattr(tfds, "builder", lambda *_, **options: there)
    data.check("mnist", ["train"], data_dir=tmp_path)
    with pytest.raises(data.NoSuchSplit, match=r"data set mnist in .*: expected a split test, found train"):
        data.check("mnist", ["train", "test"], data_dir=tmp_path)


@pytest.mark.parametrize("does", [data.check, lambda name, splits, **places: data.load(name, splits[0], **places)])
def test_download_without_a_network_says_within_seconds_where_to_put_the_data(does, tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nothing answers
    begun = time.monotonic()
    with pytest.raises(UserError, match=f"data set mnist: expected https://.* to answer.*put it into {tmp_path}/mnist/"):
        does("mnist", ["train"], data_dir=tmp_path, download=True)
    assert time.monotonic() - begun < 10


def test_download_from_a_server_that_answers_anything_is_left_to_it(tmp_path, monkeypatch):
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        urls = {f"http://127.0.0.1:{server.server_port}/{name}": None for name in "ab"}
        missing = SimpleNamespace(data_dir=str(tmp_path), url_infos=urls)
        monkeypatch.setattr(tfds, "builder", lambda *_, **options: missing)
        data.check("mnist", ["train"], data_dir=tmp_path, download=True)
        server.shutdown()


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100"])
def test_tfds_data_sets_load_through_their_builders(name, tmp_path, monkeypatch):
    directory = tmp_path / name / "1.0.0"
    directory.mkdir(parents=True)
    (directory / "dataset_info.json").write_text("{}")
    with tfds.testing.mock_data(num_examples=5):
        builder = tfds.builder
        monkeypatch.setattr(tfds, "builder", lambda *args, **options: at(builder(*args, **options), directory))
        images, labels = data.load(name, "train", data_dir=tmp_path)
    assert images.shape == (5, *experiment_shape(name))
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)


def at(builder, directory):
    """The builder as if its data were in that directory."""

    with tfds.core.registered.skip_registration():

        class There(type(builder)):
            data_dir = str(directory)

    builder.__class__ = There
    return builder


def experiment_shape(name):
    return DATASETS[name].image_shape
