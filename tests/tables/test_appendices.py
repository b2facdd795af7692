"""What comes with tables beside their cells: numbers of curves and patterns by hand, and a small game from table to claims."""

import csv

import numpy as np
import pytest

from adv_networks import claims, data, tables
from adv_networks.commands.base import Request
from adv_networks.commands.make_tables import MakeTables
from adv_networks.evaluation import load_model
from adv_networks.experiments import TABLES, Column, Row, Table, experiment
from adv_networks.networks.projection import Projection
from adv_networks.tables import statements
from adv_networks.tables.appendices import APPENDICES, Made, derived
from adv_networks.tables.appendices.derived import Number
from adv_networks.tables.appendices.generator_curves import effective_rank, epochs_to_convergence, mean_cosine
from adv_networks.tables.appendices.photographed_images import crafted
from adv_networks.training import Workspace
from tests.training.helpers import undrawn


def test_convergence_is_where_the_curve_stays_near_its_end():
    falling = [(1, 90.0), (2, 60.0), (3, 51.0), (4, 56.0), (5, 51.5), (6, 49.0), (7, 50.0), (8, 50.5), (9, 50.0), (10, 50.0)]
    assert epochs_to_convergence(falling) == 5  # at 3 it was within 2 points of 50, and left again
    assert epochs_to_convergence([(0.5, 97.0), (1, 98.0), (1.5, 97.5)]) == 0.5
    assert epochs_to_convergence([(1, 90.0), (2, 20.0)]) == 2
    twenty = [(epoch, 80.0 - epoch) for epoch in range(1, 21)]  # the last tenth is of 61 and 60
    assert epochs_to_convergence(twenty) == 18


def test_complexity_of_patterns_by_hand():
    one = np.outer([1.0, -2.0, 0.5, 3.0], np.arange(1.0, 7.0)).reshape(4, 2, 3, 1)
    assert effective_rank(one) == pytest.approx(1, abs=1e-6)
    assert mean_cosine(one) == pytest.approx(1)
    apart = np.eye(5).reshape(5, 5, 1, 1)
    assert effective_rank(apart) == pytest.approx(5)
    assert mean_cosine(apart) == pytest.approx(0)
    # Singular values 3 and 1: shares 3/4 and 1/4. Two of three vectors at right angles, the third at 45° to both.
    assert effective_rank(np.diag([3.0, 1.0])[..., None, None]) == pytest.approx(4 / 3**0.75)
    assert mean_cosine(np.array([[1, 0], [0, 1], [1, 1]])[..., None]) == pytest.approx(2 / 3 / np.sqrt(2))


def test_panels_are_of_what_is_measured(tmp_path):
    rows = [
        dict(row=row, column=column, metric="accuracy", measured_percent=value)
        for row, column, value in (("A", "0.1", 50.0), ("A", "0.2", 30.0), ("B", "0.1", None))
    ]
    table = Table("mini", "", ("digits",), (), ())
    said = APPENDICES["panels_by_epsilon"](Made(table, (), rows, None, tmp_path))
    assert said == "`mini-epsilon.png`: the same as curves." and (tmp_path / "mini-epsilon.png").exists()
    assert APPENDICES["panels_by_epsilon"](Made(table, (), rows[2:], None, tmp_path)) == ""


def test_numbers_of_two_data_sets_are_told_apart(tmp_path):
    made = Made(Table("mini", "", ("digits", "mnist"), (), ()), (), [dict(data="complete")], None, tmp_path)
    numbers = {"digits": 0.1, "mnist": 0.2}
    found = [("L = 1", experiment(name, "standard"), [Number("noise", "error", own, 5)]) for name, own in numbers.items()]
    said = derived.write(made, "mini-errors", found)
    assert said.splitlines()[2:] == ["| digits, L = 1 | 0.1 |", "| mnist, L = 1 | 0.2 |"]
    assert derived.write(made, "mini-errors", found[:1]).splitlines()[2:] == ["| L = 1 | 0.1 |"]


@pytest.fixture(scope="module")
def game(tmp_path_factory):
    """The poster's game on the digits, with perceptrons, in one intensity; its results' directory, and what was printed."""
    place = tmp_path_factory.mktemp("game")
    at = (("epsilon", 0.1),)
    small = (("classifier", "mlp"), ("classifier_width", 8), ("generator_width", 16))
    frozen, learning = (Row(row, method, small, protocol="poster") for row, method in (("F", "standard"), ("L", "alternating")))
    columns = (
        Column("clean", "clean", row="F"),
        Column("clean", "clean", row="F", metric="confidence"),
        Column("FastGrad 0.1", "fgs", row="F", settings=at),
        Column("FastGrad 0.1", "fgs", row="F", settings=at, metric="confidence of the mislabelled"),
        Column("G 0.1", "generator", source="generator", fresh=True, same_seed=True, row="F", settings=at),
        Column("G 0.1", "generator", row="L", settings=at),
    )
    table = Table("mini", "A small game", ("digits",), (frozen, learning), columns, appendix="generator_curves")
    with pytest.MonkeyPatch.context() as patched, undrawn():
        patched.setitem(TABLES, "mini", table)
        workspace = Workspace(runs=place / "runs", results=place / "results", progress=False)
        (text,) = MakeTables(names=("mini",), request=Request(scale="tiny"), workspace=workspace).run()
    return place / "results" / "tiny", text


@pytest.mark.long
def test_game_has_the_cells_of_its_rows_and_no_others(game):
    directory, text = game
    rows = {(row["row"], row["column"], row["metric"]): row for row in tables.read(directory / "mini.csv")}
    assert len(rows) == 6
    assert all(float(row["measured_percent"]) >= 0 for row in rows.values())
    assert "FastGrad 0.1, confidence of the mislabelled" in text.splitlines()[1]
    runs = {row["run"] for row in rows.values()}
    assert sorted(runs)[0].startswith("digits-alternating-tiny-s0-poster") and len(runs) == 2


@pytest.mark.slow
def test_game_comes_with_its_curves_patterns_and_pictures(game):
    directory, _ = game
    with (directory / "poster-curves.csv").open() as file:
        lines = {(line["row"], line["column"]): line for line in csv.DictReader(file)}
    assert {row for row, _ in lines} == {"F, 0.1", "L, 0.1"} and len(lines) == 10
    assert 1 <= float(lines["F, 0.1", "effective rank"]["measured_percent"]) <= 256
    assert 0 <= float(lines["L, 0.1", "mean |cosine|"]["measured_percent"]) <= 1
    for name in ("poster-curves", "poster-patterns", "poster-attacks-0.1"):
        assert (directory / f"{name}.png").stat().st_size > 1_000
    assert "| F, 0.1 |" in (directory / "mini.md").read_text()


@pytest.mark.slow
def test_claims_rest_on_what_appendices_derive_where_the_data_is_complete(game):
    directory, _ = game
    rows = statements.derived(directory)
    assert len(rows) == 10 and claims.measured(rows) == {}
    numbers = claims.measured([row | {"data": "complete"} for row in rows])
    place = ("poster-curves", "digits", "F, 0.1")
    assert numbers[*place, "last tenth"].images == 500
    assert numbers[*place, "effective rank", "rank"].images is None


@pytest.mark.slow
def test_nearest_references_of_a_latent_space_are_those_that_label_images(tmp_path, monkeypatch):
    small = (("classifier", "mlp"), ("classifier_width", 8))
    rows = [
        Row(f"digits, {label}", "contrastive", (*small, ("contrastive_head", head)))
        for label, head in (("softmax", "softmax"), ("1-NN", "nearest"))
    ]
    table = Table("mini", "Latent vectors", ("digits",), tuple(rows), (Column("clean", "clean"),), appendix="latent_spaces")
    monkeypatch.setitem(TABLES, "mini", table)
    workspace = Workspace(runs=tmp_path / "runs", results=tmp_path, progress=False)
    with undrawn():
        tuple(MakeTables(names=("mini",), request=Request(scale="tiny"), workspace=workspace).run())
    found = {}
    for name in ("mini", "report-latent"):
        with (tmp_path / "tiny" / f"{name}.csv").open() as file:
            found |= {(line["row"], line["column"]): float(line["measured_percent"]) for line in csv.DictReader(file)}
    assert found["digits", "nearest of 5 references, clean"] == pytest.approx(found["digits, 1-NN", "clean"], abs=0.01)
    assert len([column for row, column in found if row == "digits"]) >= 7


@pytest.mark.slow
def test_reconstruction_errors_are_of_the_images_that_the_generator_makes(tmp_path, monkeypatch):
    small = (("classifier", "mlp"), ("classifier_width", 8), ("gan_width", 2), ("gan_latent", 3), ("projection_restarts", 2))
    rows = [Row(f"L = {steps}", "defense_gan", (*small, ("projection_steps", steps))) for steps in (1, 8)]
    rows.insert(0, Row("no defense", "standard", small[:2]))
    table = Table("mini", "By steps", ("digits",), tuple(rows), (Column("clean", "clean"),), appendix="reconstruction_errors")
    monkeypatch.setitem(TABLES, "mini", table)
    workspace = Workspace(runs=tmp_path / "runs", results=tmp_path, progress=False)
    request = Request(scale="tiny", overrides={"steps": 4, "test_images": 20})
    with undrawn():
        tuple(MakeTables(names=("mini",), request=request, workspace=workspace).run())
    (file,) = tmp_path.rglob("mini-reconstruction.csv")
    with file.open() as lines:
        found = {(line["row"], line["column"]): float(line["measured_percent"]) for line in csv.DictReader(lines)}
    assert found.keys() == {(f"L = {steps}", name) for steps in (1, 8) for name in ("clean images", "noise")}
    assert all(found["L = 8", name] < found["L = 1", name] for name in ("clean images", "noise"))
    (generator,) = (tmp_path / "runs").rglob("generator.keras")
    x, spec = data.load("digits", "test", limit=20).images / np.float32(255), experiment("digits", "defense_gan")
    projection = Projection(load_model(generator), steps=8, restarts=2, rate=spec.own.projection_rate)
    assert found["L = 8", "clean images"] == pytest.approx(np.mean((projection(x) - x) ** 2), rel=1e-4)


@pytest.mark.slow
def test_photographed_images_are_drawn_with_the_label_that_the_classifier_gives_each(tmp_path, monkeypatch):
    columns = (Column("clean", "clean"), Column("photos of clean", "photo"), Column("fast", "fgs:epsilon=0.2"))
    rows = (Row("A", "standard", (("classifier", "mlp"), ("classifier_width", 8))),)
    table = Table("mini", "Photographs", ("digits",), rows, columns, appendix="photographed_images", transposed=True)
    monkeypatch.setitem(TABLES, "mini", table)
    workspace = Workspace(runs=tmp_path / "runs", results=tmp_path, progress=False)
    request = Request(scale="tiny", overrides={"steps": 40, "test_images": 20})
    with undrawn():
        tuple(MakeTables(names=("mini",), request=request, workspace=workspace).run())
    assert next(tmp_path.rglob("mini-digits.png")).stat().st_size > 10_000
    images, labels = data.load("digits", "test", limit=8)
    x, model = images / np.float32(255), load_model(next((tmp_path / "runs").rglob("d.keras")))
    drawn = {cell.row: crafted(cell, model, images, labels) for cell in table.cells("tiny")}
    assert drawn["clean"][0] == pytest.approx(x)
    assert 0 < np.abs(drawn["fast"][0] - x).max() <= 0.2 + 1e-6 < np.abs(drawn["photos of clean"][0] - x).max()
    for found, texts in drawn.values():
        assert texts == [str(label) for label in model.predict(found, verbose=0).argmax(1)]
