"""`.keras` files that are damaged, or made to do harm: one line each, soon, and nothing of theirs is run."""

import io
import json
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest

from adv_networks import evaluation
from adv_networks.errors import UserError
from adv_networks.evaluation import own_model
from tests.conftest import randomised

CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    file = tmp_path_factory.mktemp("whole") / "d.keras"
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    randomised(keras.Sequential(layers)).save(file)
    with zipfile.ZipFile(file) as saved:
        return {name: saved.read(name) for name in saved.namelist()}


def archive(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as saved:
        for name, member in members.items():
            saved.writestr(name, member)
    return content.getvalue()


def with_last_layer(members, settings=(), **said):
    config = json.loads(members[CONFIG])
    layer = config["config"]["layers"][-1]
    layer |= said
    layer["config"] |= dict(settings)
    return archive(members | {CONFIG: json.dumps(config)})


def with_weights(members, change):
    content = io.BytesIO(members[WEIGHTS])
    with h5py.File(content, "r+") as weights:
        change(weights["layers/dense/vars"])
    return archive(members | {WEIGHTS: content.getvalue()})


def replaced(**dataset):
    def change(variables):
        del variables["0"]
        variables.create_dataset("0", **dataset)

    return change


def relinked(variables, link):
    del variables["0"]
    variables["0"] = link


OF_CODE = dict(module="os", class_name="function", config="system", registered_name="system")
HOSTILE = {
    "a million million units": lambda members: with_last_layer(members, dict(units=10**12)),
    "a gigabyte of units": lambda members: with_last_layer(members, dict(units=2**24)),
    "less than no units": lambda members: with_last_layer(members, dict(units=-1)),
    "units that are a list": lambda members: with_last_layer(members, dict(units=[3])),
    "no type": lambda members: with_last_layer(members, dict(dtype="float7")),
    "code for an activation": lambda members: with_last_layer(members, dict(activation=OF_CODE)),
    "a function of Python for a layer": lambda members: with_last_layer(members, module="builtins", class_name="eval"),
    "a name that nothing encodes": lambda members: with_last_layer(members, class_name="\ud800\n"),
    "deep": lambda members: archive(members | {CONFIG: "[" * 50_000 + "]" * 50_000}),
    "not closed": lambda members: archive(members | {CONFIG: '{"a":' * 50_000}),
    "no object": lambda members: archive(members | {CONFIG: "null"}),
    "a bomb of blanks": lambda members: archive(members | {CONFIG: b" " * (2**24 + 1)}),
    "weights of another shape": lambda members: with_weights(members, replaced(data=np.zeros((3, 3)))),
    "weights that are larger than the disk": lambda members: with_weights(
        members, replaced(shape=(10**6, 10**6), dtype="f4", chunks=(100, 100))
    ),
    "weights that are text": lambda members: with_weights(members, replaced(data=[b"a", b"b"])),
    "weights elsewhere": lambda members: with_weights(
        members, lambda variables: relinked(variables, h5py.ExternalLink("/etc/passwd", "/"))
    ),
    "weights that lead to themselves": lambda members: with_weights(
        members, lambda variables: relinked(variables, h5py.SoftLink("/layers/dense/vars/0"))
    ),
    "no weights": lambda members: archive({CONFIG: members[CONFIG], METADATA: members[METADATA]}),
    "no archive": lambda members: members[WEIGHTS][:300],
}


def load(content, place):
    (place / "own.keras").write_bytes(content)
    return own_model.load(str(place / "own.keras"), "digits")


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_file_is_one_line_soon(kind, members, tmp_path):
    content, started = HOSTILE[kind](members), time.process_time()
    with pytest.raises(UserError, match=r"own\.keras: expected a Keras model, found") as error:
        load(content, tmp_path)
    assert str(error.value).isprintable() and len(str(error.value)) < 600
    assert time.process_time() - started < 3


def test_no_change_of_a_byte_ends_otherwise_than_in_one_line(members, tmp_path):
    rng, accepted = np.random.default_rng(0), 0
    for number in range(30):
        name = (CONFIG, WEIGHTS)[number % 2]
        content = bytearray(members[name])
        for place in rng.integers(len(content), size=2):
            content[place] = rng.integers(256)
        try:
            load(archive(members | {name: bytes(content)}), tmp_path)
            accepted += 1
        except UserError as error:
            assert str(error).isprintable()
    assert 0 < accepted < 30


def test_whole_files_are_loaded(members, tmp_path):
    assert load(archive(members), tmp_path).output_shape == (None, 10)
    evaluation.save_model(keras.models.load_model(tmp_path / "own.keras"), tmp_path / "named.keras", ["a", "b"])
    assert evaluation.class_names_of(tmp_path / "named.keras") == ("a", "b")
