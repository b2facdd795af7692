"""Runs on the embedded digits: what they leave, how they stop and go on, what they refuse."""

import csv
import json
import os
import shutil
import signal
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adv_networks import data, evaluation, training
from adv_networks.errors import Interrupted, UserError
from adv_networks.experiments import METHODS, experiment
from adv_networks.files import locked


def tiny(method, **overrides):
    return experiment("digits", method, scale="tiny", **{"steps": 6, "generator_width": 4, **overrides})


def train(spec, workdir, **options):
    return training.train(spec, workdir, progress=False, **options)


def metrics(workdir):
    with (workdir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def advnet_run(tmp_path_factory):
    return train(tiny("advnet"), tmp_path_factory.mktemp("runs") / "advnet")


def test_run_leaves_its_files(advnet_run):
    d, g = (keras.models.load_model(advnet_run / file) for file in ("d.keras", "g.keras"))
    assert (d.name, g.name) == ("d1", "g1")
    description = json.loads((advnet_run / "experiment.json").read_text())
    assert description["finished"] is True
    assert description["experiment"]["generator_width"] == 4
    assert {"commit", "versions", "machine", "training_images", "validation_images"} <= set(description["provenance"])
    assert (advnet_run / "perturbations.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_of_other_norms_are_scaled_by_the_largest_pixel():
    for norm in ("linf", "l1"):
        spec = tiny("advnet", norm=norm, epsilon=0.9)
        players, shown = training.make_players(spec), training.data.load("digits", "test").first(8)
        x, perturbed, largest = training._perturbed(spec, players, shown)
        found = np.abs(perturbed - x).max()
        assert largest == (0.9 if norm == "linf" else pytest.approx(found))
        assert found <= largest


def test_metrics_have_a_line_per_logged_step_and_validation_accuracies(advnet_run):
    lines = metrics(advnet_run)
    assert [int(line["step"]) for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["validation_pgd"] != "" for line in lines] == [False] * 5 + [True]
    last = lines[-1]
    assert all(0 <= float(last[f"validation_{name}"]) <= 1 for name in ("clean", "fgs", "pgd", "generator"))
    assert all(np.isfinite(float(last[name])) for name in ("d_loss", "d_loss_adversarial", "g_loss", "regulariser_norm"))


def test_tensorboard_reads_scalars_and_images(advnet_run):
    events = EventAccumulator(str(advnet_run / "events"), size_guidance={"tensors": 0}).Reload()
    assert {"d_loss", "g_loss", "validation_pgd", "steps_per_second", "original", "perturbation", "perturbed"} <= set(
        events.Tags()["tensors"]
    )
    logged = [tf.make_ndarray(event.tensor_proto).item() for event in events.Tensors("d_loss")]
    np.testing.assert_allclose(logged, [float(line["d_loss"]) for line in metrics(advnet_run)], rtol=1e-6)


def test_run_knows_the_hashes_of_its_files_until_they_change(advnet_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(advnet_run, copy)
    for name in ("d.keras", "g.keras"):
        model = evaluation.load_model(copy / name)
        assert training.known_weights_hash(copy, name) == evaluation.weights_hash(model)
        model.save(copy / name)
        assert training.known_weights_hash(copy, name) is None
    assert training.known_weights_hash(tmp_path, "d.keras") is None


def test_finished_run_is_left_as_it_is(advnet_run):
    before = {file: file.stat().st_mtime_ns for file in advnet_run.rglob("*") if file.is_file()}
    train(tiny("advnet"), advnet_run)
    assert {file: file.stat().st_mtime_ns for file in advnet_run.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("method", METHODS)
def test_stopped_run_goes_on_and_ends_like_an_uninterrupted_one(method, tmp_path, monkeypatch):
    spec = tiny(method, steps=8)
    whole = train(spec, tmp_path / "whole" / spec.name)
    stopped = tmp_path / "stopped" / spec.name
    step, calls = training.STEPS[method], []

    def terminated_at_the_fourth(*arguments):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments)

    with monkeypatch.context() as patched, pytest.raises(Interrupted, match="stopped at step 4 of 8") as stop:
        patched.setitem(training.STEPS, method, terminated_at_the_fourth)
        train(spec, stopped)
    assert stop.value.signal_number == signal.SIGTERM
    assert not list(stopped.glob("*.keras"))
    train(spec, stopped)
    assert [line["step"] for line in metrics(stopped)] == [line["step"] for line in metrics(whole)]
    names = {file.name for file in whole.glob("*.keras")}
    assert names == set(["d.keras"] * METHODS[method].trains_classifier + ["g.keras"] * METHODS[method].trains_generator)
    for name in names:
        weights, expected = (evaluation.load_model(run / name).get_weights() for run in (stopped, whole))
        for weight, other in zip(weights, expected, strict=True):
            np.testing.assert_allclose(weight, other, atol=2e-5)


def test_generator_is_trained_against_the_classifier_of_the_run_it_needs_which_stays_as_it_is(tmp_path):
    spec = tiny("generator", steps=80, learning_rate=0.1, generator_learning_rate=0.1)
    workdir = train(spec, tmp_path / "generator")
    assert not (workdir / "d.keras").exists()
    a = evaluation.load_classifier(tmp_path / spec.needs().name)
    g = evaluation.load_model(workdir / "g.keras")
    saved = tf.train.load_checkpoint(tf.train.latest_checkpoint(workdir / "checkpoints"))
    kept = [saved.get_tensor(f"state/{number}/.ATTRIBUTES/VARIABLE_VALUE") for number in range(len(a.weights))]
    expected = [*a.trainable_variables, *a.non_trainable_variables]
    assert sorted(map(np.sum, kept)) == sorted(np.sum(value.numpy()) for value in expected)
    images = data.load("digits", "test")
    attack = spec.attack("generator")
    assert evaluation.accuracy(a, *images, attack=attack, source=g) < evaluation.accuracy(a, *images)
    assert [line["validation_clean"] + line["d_loss"] for line in metrics(workdir)] == [""] * len(metrics(workdir))


def test_several_generators_and_static_examples_train_together_and_are_all_kept(tmp_path):
    spec = tiny("advnet+ensemble", generators=("released_mnist", "g3"))
    workdir = train(spec, tmp_path / "several")
    assert [evaluation.load_model(workdir / name).name for name in ("g.keras", "g-2.keras")] == ["released_mnist", "g3"]
    (workdir / "g-2.keras").unlink()
    train(spec, workdir)
    assert (workdir / "g-2.keras").exists()


def test_lines_after_the_checkpoint_are_dropped_on_resume(tmp_path, advnet_run):
    file = tmp_path / "metrics.csv"
    text = (advnet_run / "metrics.csv").read_text()
    file.write_text(text + "7,0.1")
    training._Metrics(file, 4)
    assert file.read_text().splitlines() == text.splitlines()[:5]


def test_directory_of_other_settings_is_refused(advnet_run):
    with pytest.raises(UserError, match=r"expected a run with epsilon = 0\.05, found 0\.\d+ \(--workdir"):
        train(tiny("advnet", epsilon=0.05), advnet_run)


@pytest.mark.parametrize(
    "text", ['{"experiment": ', "[]", '{"experiment": 3, "provenance": {}}', '{"experiment": {}, "provenance": {}}']
)
def test_damaged_description_is_refused(text, tmp_path):
    (tmp_path / "experiment.json").write_text(text)
    with pytest.raises(UserError, match=r"experiment\.json: expected a run's description, found"):
        train(tiny("standard"), tmp_path)


def test_run_of_before_a_setting_existed_has_its_default(advnet_run, tmp_path):
    description = json.loads((advnet_run / "experiment.json").read_text())
    del description["experiment"]["clip_perturbed"], description["experiment"]["encoder_widths"]
    workdir = tmp_path / "run"
    shutil.copytree(advnet_run, workdir)
    (workdir / "experiment.json").write_text(json.dumps(description))
    assert training.is_finished(tiny("advnet"), workdir)
    with pytest.raises(UserError, match="expected a run with clip_perturbed = True, found False"):
        training.is_finished(tiny("advnet", clip_perturbed=True), workdir)


@pytest.mark.parametrize("lost", ["d.keras", "g.keras", "perturbations.png"])
def test_finished_run_makes_a_lost_file_again_from_its_checkpoint(lost, advnet_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(advnet_run, workdir)
    (workdir / lost).unlink()
    train(tiny("advnet"), workdir)
    weights, expected = (evaluation.load_model(run / "d.keras").get_weights() for run in (workdir, advnet_run))
    for weight, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(weight, other)
    assert (workdir / lost).exists()


@pytest.mark.parametrize("damage", ["list", "data cut", "index cut", "data gone"])
def test_damaged_checkpoint_is_one_line_and_nothing_is_lost(damage, advnet_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(advnet_run, workdir)
    (workdir / "d.keras").unlink()
    data_file, index = (workdir / "checkpoints" / f"ckpt-6.{part}" for part in ("data-00000-of-00001", "index"))
    if damage == "list":
        (workdir / "checkpoints" / "checkpoint").write_text("nonsense")
    elif damage == "data gone":
        data_file.unlink()
    else:
        file = data_file if damage == "data cut" else index
        file.write_bytes(file.read_bytes()[:50])
    before = (workdir / "metrics.csv").read_bytes(), sorted(workdir.rglob("ckpt*"))
    with pytest.raises(UserError, match=r"checkpoints.*expected a whole checkpoint, found"):
        train(tiny("advnet"), workdir)
    assert ((workdir / "metrics.csv").read_bytes(), sorted(workdir.rglob("ckpt*"))) == before


@pytest.mark.parametrize("name", ["events", "checkpoints"])
def test_file_in_the_place_of_a_directory_is_one_line(name, tmp_path):
    (tmp_path / name).write_text("")
    with pytest.raises(UserError, match="expected a place to write to, found"):
        train(tiny("standard"), tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00binary"])
def test_damaged_metrics_start_anew(content, tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_bytes(content)
    training._Metrics(file, 4)
    assert file.read_text().splitlines() == [",".join(training._Metrics.FIELDS)]


def test_directory_in_use_is_refused(tmp_path):
    with locked(tmp_path / "lock", wait=False), pytest.raises(UserError, match="found another process training there"):
        train(tiny("standard"), tmp_path)


def test_unwritable_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for workdir in (tmp_path / "file" / "run", "/proc/run"):
        with pytest.raises(UserError, match="expected a place to write to, found"):
            train(tiny("standard"), workdir)


def test_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    spec, step, calls = tiny("standard"), training.STEPS["standard"], []

    def poisoned_at_the_fourth(players, x, y, *rest):
        calls.append(1)
        return step(players, x * np.nan if len(calls) == 4 else x, y, *rest)

    monkeypatch.setitem(training.STEPS, "standard", poisoned_at_the_fourth)
    with pytest.raises(UserError, match=r"step 4: expected a finite d_\w+, found nan"):
        train(spec, tmp_path, checkpoint_seconds=0)
    assert tf.train.latest_checkpoint(tmp_path / "checkpoints").endswith("ckpt-3")


def test_ensemble_reuses_its_static_examples(tmp_path, monkeypatch):
    spec = tiny("ensemble")
    train(spec, tmp_path / spec.name)
    (file,) = (tmp_path / spec.needs().name).glob("static_examples-*.npy")
    monkeypatch.setattr(evaluation, "static_examples", None)
    train(spec, tmp_path / "another")
    for damage in (b"", b"text", file.read_bytes()[:-100]):
        file.write_bytes(damage)
        with pytest.raises(UserError, match=r"static_examples-\w+\.npy: expected static examples, found"):
            train(spec, tmp_path / "third")
    np.save(file, np.zeros((3, 5, 8, 8, 1), np.int8))
    with pytest.raises(UserError, match=r"found \(3, 5, 8, 8, 1\)"):
        train(spec, tmp_path / "third")


def test_training_in_another_thread_needs_no_signals(tmp_path):
    thread = threading.Thread(target=train, args=(tiny("standard", steps=2), tmp_path))
    thread.start()
    thread.join()
    assert (tmp_path / "d.keras").exists()


def test_batches_of_every_method_train_on_the_held_in_images_only(tmp_path, monkeypatch):
    seen = []
    batches = training.data.batches
    monkeypatch.setattr(
        training.data,
        "batches",
        lambda images, *rest, **options: (seen.append(len(images)), batches(images, *rest, **options))[1],
    )
    for validation, expected in ((100, 924), (0, 1024)):
        spec = tiny("standard", validation=validation, steps=1)
        train(spec, tmp_path / spec.name)
        assert seen.pop() == expected
