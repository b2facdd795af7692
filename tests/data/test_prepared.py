"""Data sets of TensorFlow Datasets by their name there: described without TensorFlow, decoded once, brought to one size."""

import shutil

import numpy as np
import pytest

from adv_networks import data
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import DATASETS, experiment
from tests.conftest import written_at

SIDES = ((8, 8), (12, 10), (6, 20))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A directory with the data set `shades_of_three`: plain images of several sizes, 9 for training and 3 for validation."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class ShadesOfThree(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            label = tfds.features.ClassLabel(names=["a", "b", "c"])
            features = {"image": tfds.features.Image(shape=(None, None, 3)), "label": label}
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, manager):
            return {"train": self._generate_examples(9), "validation": self._generate_examples(3)}

        def _generate_examples(self, count):
            for number in range(count):
                image = np.full((*SIDES[number % 3], 3), 50 * (number % 3) + 10, np.uint8)
                yield number, {"image": image, "label": number % 3}

    place = tmp_path_factory.mktemp("tfds")
    ShadesOfThree(data_dir=place).download_and_prepare()
    return place


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A cache of its own, and no data set stays declared."""
    monkeypatch.setenv("ADV_NETWORKS_CACHE", str(tmp_path / "cache"))
    declared = dict(DATASETS)
    yield
    for name in DATASETS.keys() - declared.keys():
        del DATASETS[name]


def test_images_of_several_sizes_are_brought_to_one_and_decoded_once(directory, tmp_path):
    own = data.prepared.declare("tfds:shades_of_three", directory, (8, 12))
    assert (own.name, own.image_shape, own.classes) == ("shades_of_three-8x12", (8, 12, 3), 3)
    assert (own.class_names, own.train_images, own.test_images) == (("a", "b", "c"), 9, 3)
    for split, count in (("train", 9), ("test", 3)):
        images, labels = data.load(own.name, split)
        assert images.shape == (count, 8, 12, 3) and isinstance(images, np.memmap)
        np.testing.assert_array_equal(images, np.broadcast_to((50 * labels + 10)[:, None, None, None], images.shape))
        assert np.bincount(labels).tolist() == [count // 3] * 3
    written = written_at(tmp_path / "cache")
    data.load(own.name, "train")
    assert written_at(tmp_path / "cache") == written
    assert experiment(own.name, "standard").dataset == own.name


def test_data_sets_that_files_would_confuse_are_refused(directory, tmp_path):
    for name in ("shades/of_three", "digits"):
        shutil.copytree(directory / "shades_of_three", tmp_path / name)
    data.prepared.declare("shades_of_three", directory, (8, 8))
    data.prepared.declare("shades_of_three", directory, (8, 8))
    with pytest.raises(
        UsageError, match="shades/of_three: expected a name whose files differ from those of data set shades_of_"
    ):
        data.prepared.declare("shades/of_three", tmp_path, (8, 8))
    features = tmp_path / "digits" / "1.0.0" / "features.json"
    features.write_text(features.read_text().replace('"-1"', '"8"'))
    with pytest.raises(UsageError, match="data set digits, received one that becomes digits too"):
        data.prepared.declare("digits", tmp_path)


def test_what_is_missing_is_one_line(directory, tmp_path):
    with pytest.raises(UsageError, match="resize: expected HEIGHT,WIDTH for data set shades_of_three, whose images"):
        data.prepared.declare("shades_of_three", directory)
    with pytest.raises(UserError, match=r"data set nosuch: expected it prepared in .*nosuch, found none"):
        data.prepared.declare("nosuch", directory)
    for name in ("", "/", "..", "a/", "../a"):
        with pytest.raises(UsageError, match=f"dataset: expected tfds:NAME or tfds:NAME/CONFIG, received tfds:{name}$"):
            data.prepared.declare(f"tfds:{name}", directory)
    (tmp_path / "odd" / "1.0.0").mkdir(parents=True)
    (tmp_path / "odd" / "1.0.0" / "dataset_info.json").write_text("{}")
    with pytest.raises(UserError, match="expected images with labels, found"):
        data.prepared.declare("odd", tmp_path)
