"""Figures: in the format that is asked for, the same every time, smoothed over the raw line, the training's ε marked."""

import numpy as np
import pytest
from PIL import Image

from adv_networks.storage import pictures


@pytest.mark.parametrize("kind", pictures.FORMATS)
def test_figures_are_written_as_asked_beside_png_and_are_the_same_each_time(kind, tmp_path):
    begins = {"pdf": b"%PDF", "png": b"\x89PNG", "svg": b"<?xml"}
    written = []
    for name in ("one", "two"):
        with pictures.written_as(kind):
            pictures.heat_maps(tmp_path / name / "heat", ["A", "B"], ["cat", "dog"], {"measured": [[1.0, 99.95], [None, 50]]})
        files = {file.suffix: file.read_bytes() for file in (tmp_path / name).iterdir()}
        assert files.keys() == {".png", f".{kind}"} and files[f".{kind}"].startswith(begins[kind])
        written.append(files)
    assert written[0] == written[1]


def test_many_points_are_smoothed_and_few_are_not(tmp_path):
    rng = np.random.default_rng(0)
    for count in (10, 400):
        noise = [(step, 50 + 20 * rng.standard_normal()) for step in range(count)]
        pictures.curves(tmp_path / f"{count}.png", {"noise": noise}, "iteration", "accuracy, %", y_scale="linear")
    # The faint line of the points is there only where the curve is a mean.
    faint = {}
    for count in (10, 400):
        with Image.open(tmp_path / f"{count}.png") as picture:
            pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
        faint[count] = int(((pixels[:, 2] - pixels[:, 0] > 40) & (pixels[:, 0] > 120)).sum())
    assert faint[400] > 5 * faint[10]


def test_training_epsilon_is_marked_in_every_panel(tmp_path):
    series = {"A": [(0.1, 90.0), (0.3, 10.0)], "B": [(0.1, 95.0), (0.3, 80.0)]}
    sizes = []
    for marked in (None, ("ε in training", 0.2)):
        with pictures.written_as("svg"):
            pictures.curve_panels(tmp_path / "panels", {"FGS": series, "PGD": series}, "ε", "accuracy in %", marked=marked)
        sizes.append((tmp_path / "panels.svg").read_text().count("stroke: #808080"))
    assert sizes == [0, 3]  # a panel each, and the legend


def test_no_line_crosses_the_images(tmp_path):
    black = np.zeros((2, 8, 8, 1))
    pictures.image_rows(tmp_path / "rows", {"row": (black, ["one", "two"])})
    shown = {"rows": np.asarray(Image.open(tmp_path / "rows.png").convert("L"))}
    shown["perturbations"] = pictures.pixels(pictures.perturbations(black, {"none": black}, 1, [["", ""]] * 2)).mean(-1)
    for name, pixels in shown.items():
        across = (pixels < 10)[(pixels < 10).mean(1) > 0.5]
        edges = np.count_nonzero(np.diff(across.astype(int)), axis=1)
        assert len(across) > 50 and edges.min() == 4, name  # Into each image and out of it, where no label is beside them.
