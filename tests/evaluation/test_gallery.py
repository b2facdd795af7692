"""The gallery of a table of generators: every picture in it beside one made from the saved networks by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import data
from adv_networks.commands.base import Request
from adv_networks.commands.make_tables import MakeTables
from adv_networks.evaluation import gallery
from adv_networks.experiments import TABLES, Column, Row, Table
from adv_networks.storage import pictures
from adv_networks.training import Workspace
from tests.training.helpers import undrawn


@pytest.fixture
def drawn(monkeypatch):
    """The arguments that the figures are drawn of."""
    calls, draw = [], pictures.perturbations
    monkeypatch.setattr(pictures, "perturbations", lambda *arguments: calls.append(arguments) or draw(*arguments))
    return calls


@pytest.mark.long
def test_generators_are_shown_beside_fgs_and_pgd_on_held_out_images(drawn, tmp_path, monkeypatch):
    columns = (Column("A", "generator", target="standard", same_seed=True),)
    rows = (Row("autoencoder", "generator"),)
    monkeypatch.setitem(TABLES, "digits", Table("digits", "Generators against A", ("digits",), rows, columns))
    workspace = Workspace(runs=tmp_path / "runs", results=tmp_path / "results", progress=False)
    settings = dict(epsilon=0.1, classifier_width=2, generators=("released_mnist",), generator_width=2, steps=20)
    with undrawn():
        list(MakeTables(names=("digits",), request=Request(scale="tiny", overrides=settings), workspace=workspace).run())
    d, g = (
        keras.models.load_model(next(workspace.runs.glob(name))) for name in ("*-standard-*/d.keras", "*-generator-*/g.keras")
    )

    held_out, labels = (part[:8] for part in data.load("digits", "train"))
    x = tf.constant(held_out, tf.float32) / 255
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, d(x, training=False))
    fgs = tf.clip_by_value(x + 0.1 * tf.sign(tape.gradient(loss, x)), 0, 1).numpy()
    images, perturbed, limit, above = drawn[-1]
    assert list(perturbed) == ["FGS", "PGD", "autoencoder"] and limit == pytest.approx(0.1)
    np.testing.assert_allclose(images, x, atol=1e-6)
    np.testing.assert_allclose(perturbed["FGS"], fgs, atol=1e-5)
    np.testing.assert_allclose(perturbed["autoencoder"], np.clip(x + 0.1 * g(x, training=False), 0, 1), atol=1e-5)
    assert 0.05 < np.abs(perturbed["PGD"] - x).max() <= 0.1 + 1e-6
    seen = [np.argmax(d(own, training=False), 1) for own in (images, *perturbed.values())]
    assert above[1:] == [[f"seen as {label}" for label in own] for own in seen[1:]]
    assert above[0] == [f"{true}\nseen as {label}" for true, label in zip(labels, seen[0], strict=True)]
    (file,) = workspace.results.rglob("digits-digits-gallery.png")
    assert file.read_bytes().startswith(b"\x89PNG") and len(file.read_bytes()) < 1_000_000
    assert file.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


def test_figure_shows_each_attack_below_the_originals_with_the_names_of_the_classes():
    random = np.random.default_rng(0)
    images = random.random((2, 4, 4, 3), np.float32)
    perturbed = {name: images + random.uniform(-0.1, 0.1, images.shape).astype(np.float32) for name in ("FGS", "G")}
    seen = [np.array(classes) for classes in ([3, 5], [5, 9], [3, 0])]
    figure = gallery.draw(gallery.Gallery(images, np.array([3, 3]), perturbed, seen, 0.1), "cifar10")
    above = [[label.get_text() for label in axis.get_xticklabels()] for axis in figure.axes]
    assert above[0] == ["cat\nseen as cat", "cat\nseen as dog"]
    assert above[2] + above[4] == [f"seen as {name}" for name in ("dog", "truck", "cat", "airplane")]
    assert [axis.get_ylabel() for axis in figure.axes] == ["original", "FGS\n±0.1", "perturbed", "G\n±0.1", "perturbed"]
    shown = [axis.get_images() for axis in figure.axes]
    for number, (row, own) in enumerate(zip((1, 3), perturbed.values(), strict=True)):
        for column in range(2):
            change = shown[row][column]
            np.testing.assert_allclose(change.get_array(), (own - images)[column].mean(-1), atol=1e-6)
            assert change.get_clim() == (-0.1, 0.1)
            np.testing.assert_allclose(shown[2 * number + 2][column].get_array(), np.clip(own[column], 0, 1), atol=1e-6)
    np.testing.assert_allclose([picture.get_array() for picture in shown[0]], images)
