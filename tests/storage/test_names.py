"""Names of users reach tables, pictures and files as texts, whatever is in them."""

import csv
import io

import numpy as np
import pytest

from adv_networks.errors import printable
from adv_networks.storage import pictures
from adv_networks.storage.csv_rows import csv_text, merge_rows
from adv_networks.storage.names import for_files, shortened

NAMES = [
    "$x^$", "$\\frac{$", "$$", "a_b^c", "%", "\\", "{}", "<b>", "=1+1", "-", "",
    "a\nb", "\x00", "\x1b[31m", "\u202egpj", "\ud800", b"\xff\xe9".decode("utf-8", "surrogateescape"), "名前", "x" * 255,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_every_name_is_printable_and_encodable(name):
    assert printable(name).isprintable()
    printable(name).encode("utf-8")
    assert len(shortened(name)) <= 40
    assert for_files(name).isascii() and not set(for_files(name)) & set("/\n\0 $")


def test_escapes_are_those_of_the_bytes():
    assert printable("a\nb") == r"a\nb"
    assert printable(b"caf\xe9".decode("utf-8", "surrogateescape")) == r"caf\xe9"
    assert printable("Grüße, 名前") == "Grüße, 名前"


def test_names_are_drawn_as_they_are_written(tmp_path):
    import matplotlib

    names = ["$x^$", "$\\frac{$", "a\nb", "\x00", "\ud800", "x" * 255]
    images, series = np.zeros((len(names), 4, 4, 1)), {name: [(0, 1), (1, 2)] for name in names}
    with matplotlib.rc_context({"text.usetex": True}):
        figure = pictures.perturbations(images, {"$x^$": images}, 0.1, [names, names])
        assert pictures.pixels(figure).ndim == 3
        pictures.save(figure, tmp_path / "figure.png")
        pictures.curves(tmp_path / "curves.png", series, "x", "y")
        pictures.heat_maps(tmp_path / "heat", ["$x^$"], names, {"$x^$": [[1.0] * len(names)]})
        pictures.curve_panels(tmp_path / "panels", {"$x^$": {"$x^$": [(0, 1)]}}, "x", "y")
    assert len(list(tmp_path.iterdir())) == 7
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert ticks[:2] == ["$x^$", "$\\frac{$"]


def test_no_text_is_a_formula_of_a_spreadsheet(tmp_path):
    texts = ["=1+1", "+cmd", "-cmd", "@SUM(A1)", "\t=1", "-1.5", "+2", "-", "a=b", "'=1"]
    rows = [{"dataset": "a", "text": text, "number": -0.5} for text in texts]
    written = [row["text"] for row in csv.DictReader(io.StringIO(csv_text(("dataset", "text", "number"), rows)))]
    assert written == ["'=1+1", "'+cmd", "'-cmd", "'@SUM(A1)", "'\t=1", "-1.5", "+2", "-", "a=b", "'=1"]
    file = tmp_path / "rows.csv"
    merge_rows(file, ("dataset", "text", "number"), rows, ["a"])
    before = file.read_text()
    merge_rows(file, ("dataset", "text", "number"), [], ["b"])
    assert file.read_text() == before
