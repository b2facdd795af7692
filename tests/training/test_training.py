"""Runs on the embedded digits: what they leave, how they stop and go on, what they refuse."""

import contextlib
import json
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from adv_networks import data, defences, evaluation, runtime, training
from adv_networks.errors import UsageError, UserError
from adv_networks.evaluation import gallery
from adv_networks.experiments import METHODS, experiment
from adv_networks.storage.files import locked
from benchmarks.kill import outcome
from tests.conftest import randomised
from tests.training.helpers import changed, metrics, stopped, tiny, train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A directory where runs find the one that they need, once it is trained."""
    return tmp_path_factory.mktemp("runs")


# It validates twice, on its way and at its end.
ADVNET = tiny("advnet", steps=12, classifier="d1")


@pytest.fixture(scope="module")
def advnet_run(runs):
    return train(ADVNET, runs / "advnet", drawn=True)


def test_run_leaves_its_files(advnet_run):
    d, g = (keras.models.load_model(advnet_run / file) for file in ("d.keras", "g.keras"))
    assert (d.name, g.name) == ("d1", "released_mnist")
    description = json.loads((advnet_run / "experiment.json").read_text())
    assert description["finished"] is True
    assert description["experiment"]["generator_width"] == 4
    assert {"commit", "versions", "machine", "training_images", "validation_images"} <= set(description["provenance"])
    assert runtime.choices() in description["provenance"]["machine"]
    assert (advnet_run / "perturbations.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_of_other_norms_are_scaled_by_the_largest_pixel():
    for norm in ("linf", "l1"):
        spec = tiny("advnet", norm=norm, epsilon=0.9)
        players, shown = defences.make_players(spec), data.load("digits", "test").first(8)
        made = gallery.make(players.d, shown, {"G": (spec.attack("generator"), players.g)})
        found = np.abs(made.perturbed["G"] - made.images).max()
        assert made.limit == (0.9 if norm == "linf" else pytest.approx(found))
        assert found <= made.limit


def test_metrics_have_a_line_per_logged_step_and_validation_accuracies(advnet_run):
    lines = metrics(advnet_run)
    assert [int(line["step"]) for line in lines] == list(range(1, 13))
    assert [int(line["step"]) for line in lines if line["validation_pgd"] != ""] == [10, 12]
    last = lines[-1]
    assert all(0 <= float(last[f"validation_{name}"]) <= 1 for name in ("clean", "fgs", "pgd", "generator"))
    assert all(np.isfinite(float(last[name])) for name in ("d_loss", "d_loss_adversarial", "g_loss", "regulariser_norm"))


@pytest.fixture(scope="module")
def tensorboard(advnet_run):
    """Asks a real TensorBoard that shows the run: a path to what it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={advnet_run.parent}", f"--port={port}", "--host=127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:

        def ask(path, **parameters):
            where = f"http://127.0.0.1:{port}/data/{path}" + ("?" + urllib.parse.urlencode(parameters) if parameters else "")
            with urllib.request.urlopen(where) as answer:
                return answer.read()

        def is_ready():
            with contextlib.suppress(OSError):
                return bool(json.loads(ask("runs")))

        try:
            while not is_ready():
                assert process.poll() is None
                time.sleep(0.1)
            yield ask
        finally:
            process.terminate()


@pytest.mark.slow
def test_tensorboard_shows_the_scalars_of_the_metrics_in_groups(tensorboard, advnet_run):
    runs = json.loads(tensorboard("plugin/scalars/tags"))
    tags = runs[advnet_run.name]
    assert {f"loss/g_loss_{number}" for number in range(1, 6)} < tags.keys()
    assert {
        "speed/steps_per_second", "rate/learning_rate", "rate/generator_learning_rate", "regulariser/regulariser_norm",
        "gradient/g_gradient_norm", "validation/clean", "validation/generator", "accuracy/d_accuracy",
    } < tags.keys()  # fmt: skip
    assert all("/" in tag and not tag.startswith("other/") for tag in tags)
    shown = json.loads(tensorboard("plugin/scalars/scalars", run=advnet_run.name, tag="loss/d_loss"))
    logged = [(int(line["step"]), float(line["d_loss"])) for line in metrics(advnet_run)]
    assert [step for _, step, _ in shown] == [step for step, _ in logged]
    np.testing.assert_allclose([value for *_, value in shown], [value for _, value in logged], rtol=1e-6)


@pytest.mark.slow
def test_tensorboard_has_a_layout_whose_frames_have_curves(tensorboard, advnet_run):
    layout = json.loads(tensorboard("plugin/custom_scalars/layout"))
    charts = {chart["title"]: chart["multiline"]["tag"] for category in layout["category"] for chart in category["chart"]}
    assert charts.keys() == {
        "D", "G, step by step", "on validation images", "on the minibatch", "norms", "regulariser", "learning rates",
    }  # fmt: skip
    tags = json.loads(tensorboard("plugin/scalars/tags"))[advnet_run.name]
    for title, patterns in charts.items():
        assert all(any(re.fullmatch(pattern, tag) for tag in tags) for pattern in patterns), title


@pytest.mark.slow
def test_tensorboard_shows_pictures_settings_and_graph(tensorboard, advnet_run):
    tags = json.loads(tensorboard("plugin/images/tags"))[advnet_run.name]
    assert "perturbations" in tags
    asked = dict(run=advnet_run.name, tag="perturbations", sample=0)
    ((image, *_),) = [json.loads(tensorboard("plugin/images/images", **asked))]
    assert tensorboard(f"plugin/images/individualImage?{image['query']}").startswith(b"\x89PNG")
    runs = json.loads(tensorboard("plugin/graphs/info"))
    assert any(tag["op_graph"] for run in runs.values() for tag in run["tags"].values())
    assert json.loads(tensorboard("plugins_listing"))["hparams"]["enabled"]


def test_run_knows_the_hashes_of_its_files(advnet_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(advnet_run, copy)
    for name in ("d.keras", "g.keras"):
        model = evaluation.load_model(copy / name)
        assert training.known_weights_hash(copy, name) == evaluation.weights_hash(model)
    assert training.known_weights_hash(tmp_path, "d.keras") is None


@pytest.mark.parametrize("of", ["directory", "file", "hash"])
def test_network_of_another_run_in_place_of_its_own_is_refused(of, advnet_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(advnet_run, copy)
    randomised(evaluation.load_model(copy / "d.keras")).save(copy / "d.keras")
    refused = r"d\.keras: expected the file that its run saved, hash [0-9a-f]{16} in experiment\.json, found another, hash"
    with pytest.raises(UserError, match=refused) as error:
        if of == "directory":
            evaluation.load_classifier(copy)
        elif of == "file":
            evaluation.load_model(copy / "d.keras")
        else:
            training.known_weights_hash(copy, "d.keras")
    assert "\n" not in str(error.value)


def test_false_hash_of_weights_in_a_description_is_refused(advnet_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(advnet_run, copy)
    description = json.loads((copy / "experiment.json").read_text())
    description["hashes"]["d.keras"]["weights"] = "0123456789abcdef"
    (copy / "experiment.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"d\.keras: expected weights of hash 0123456789abcdef, .* found"):
        evaluation.load_classifier(copy)


def test_finished_run_is_left_as_it_is(advnet_run):
    before = {file: file.stat().st_mtime_ns for file in advnet_run.rglob("*") if file.is_file()}
    train(ADVNET, advnet_run)
    assert {file: file.stat().st_mtime_ns for file in advnet_run.rglob("*") if file.is_file()} == before


@pytest.fixture
def hang_ups_act():
    """As where nobody has called the tests by nohup, which ignores them."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


# Those that are long resume as advnet and magnet do, with more networks.
MARKS = {"standard": ()} | dict.fromkeys(
    ("advnet_several", "advnet+ensemble", "magnet_grey", "reconstructed"), pytest.mark.long
)


@pytest.mark.parametrize("method", [pytest.param(one, marks=MARKS.get(one, pytest.mark.slow)) for one in METHODS])
def test_stopped_run_goes_on_and_ends_like_an_uninterrupted_one(method, runs, request, hang_ups_act):
    if method == "advnet":
        spec, whole = ADVNET, request.getfixturevalue("advnet_run")
    else:
        # MagNet takes its thresholds from validation images.
        spec = tiny(method, steps=4, validation=64 if method == "magnet" else 0, **OF_METHOD.get(method, {}))
        # Most methods draw what advnet draws, whose run has its pictures.
        drawn = type(METHODS[method]).pictures is not defences.Defence.pictures
        whole = train(spec, train_apart(spec, runs, "whole"), drawn=drawn)
    again, seen = train_apart(spec, runs, "stopped"), []
    # One as its terminal is closed, and the others as a scheduler ends them.
    stopped(spec, again, 2, number=signal.SIGHUP if method == "standard" else signal.SIGTERM)
    assert not list(again.glob("*.keras"))
    with changed(method, before=lambda players, *rest: seen.append(players)):
        train(spec, again)
    if method in ("standard", "advnet"):
        assert {graph.experimental_get_tracing_count() for graph in seen[0].graphs.values()} == {1}
    kinds = (".keras", ".png", ".npy")
    assert {file.name for file in whole.iterdir() if file.suffix in kinds} == set(METHODS[method].files(spec))
    assert outcome(again) == outcome(whole)


# With convolutions and dropout where these are; elsewhere with the least networks.
OF_METHOD = {
    "standard": dict(classifier="d1"),
    "pgd": dict(classifier="d1"),
    "noise": dict(classifier="d1"),
    "advnet_several": dict(classifiers=("mlp", "mlp")),
    "magnet_grey": dict(autoencoder_width=1),
    "defense_gan": dict(gan_width=2, gan_latent=3, critic_steps=2),
    "reconstructed": dict(gan_width=2, gan_latent=3, critic_steps=2),
}


def train_apart(spec, runs, name):
    """The directory of a run beside those that it needs, which are trained once, and beside no other run of its method."""
    place = runs / f"{spec.method}-{name}"
    place.mkdir()
    for needed in spec.needs().values():
        (place / needed.name).symlink_to(train(needed, runs / "needed" / needed.name))
    return place / "run"


@pytest.mark.slow
def test_generator_is_trained_against_the_classifier_of_the_run_it_needs_which_stays_as_it_is(tmp_path):
    spec = tiny("generator", classifier="d1", classifier_width=32, steps=80, learning_rate=0.1, generator_learning_rate=0.1)
    workdir = train(spec, tmp_path / "generator")
    assert not (workdir / "d.keras").exists()
    a = evaluation.load_classifier(tmp_path / spec.needs()["classifier"].name)
    g = evaluation.load_model(workdir / "g.keras")
    saved = tf.train.load_checkpoint(tf.train.latest_checkpoint(workdir / "checkpoints"))
    kept = [saved.get_tensor(f"state/{number}/.ATTRIBUTES/VARIABLE_VALUE") for number in range(len(a.weights))]
    expected = [*a.trainable_variables, *a.non_trainable_variables]
    assert sorted(map(np.sum, kept)) == sorted(np.sum(value.numpy()) for value in expected)
    images = data.load("digits", "test")
    attack = spec.attack("generator")
    assert evaluation.accuracy(a, *images, attack=attack, source=g) < evaluation.accuracy(a, *images)
    assert [line["validation_clean"] + line["d_loss"] for line in metrics(workdir)] == [""] * len(metrics(workdir))


@pytest.mark.slow
def test_several_generators_and_static_examples_train_together_and_are_all_kept(tmp_path, shallow):
    spec = tiny("advnet+ensemble", generators=("released_mnist", "g3"), validation=0, steps=2)
    workdir = train(spec, tmp_path / "several")
    assert [evaluation.load_model(workdir / name).name for name in ("g.keras", "g-2.keras")] == ["released_mnist", "g3"]
    (workdir / "g-2.keras").unlink()
    train(spec, workdir)
    assert (workdir / "g-2.keras").exists()


def test_directory_of_other_settings_is_refused(advnet_run):
    with pytest.raises(UserError, match=r"expected a run with epsilon = 0\.05, found 0\.\d+ \(--workdir"):
        train(tiny("advnet", steps=12, classifier="d1", epsilon=0.05), advnet_run)


def described(workdir, *, change=lambda provenance: None, **other):
    """The run's provenance, changed where asked, as other parts of its description."""
    file = workdir / "experiment.json"
    description = json.loads(file.read_text()) | other
    change(description["provenance"])
    file.write_text(json.dumps(description))
    return description["provenance"]


@pytest.mark.parametrize("finished", [True, False])
def test_run_on_other_images_is_neither_resumed_nor_reused(finished, tmp_path):
    spec = tiny("standard", train_images=0, steps=3)
    train(spec, tmp_path) if finished else stopped(spec, tmp_path, 2)
    whole = described(tmp_path)
    described(tmp_path, change=lambda provenance: provenance.update(training_images=500))
    before = (tmp_path / "experiment.json").read_bytes()
    other = r"expected training_images = 500, as when its run was started, received 1437 \(.*--workdir or --runs\)$"
    with pytest.raises(UserError, match=other):
        train(spec, tmp_path)
    assert (tmp_path / "experiment.json").read_bytes() == before
    described(tmp_path, change=lambda provenance: provenance.update(whole, training_images_hash="of others"))
    with pytest.raises(
        UserError, match="expected training_images_hash = of others, .* received " + whole["training_images_hash"]
    ):
        train(spec, tmp_path)
    described(tmp_path, change=lambda provenance: provenance.pop("training_images_hash"))
    train(spec, tmp_path)


def test_finished_run_is_reused_where_its_images_are_not_to_be_had(tmp_path):
    spec = experiment("mnist", "standard", scale="tiny")
    description = {"experiment": spec.settings(), "provenance": {"commit": "", "training_images": 9}, "finished": True}
    for name in METHODS["standard"].files(spec):
        (tmp_path / name).write_text("")
    (tmp_path / "experiment.json").write_text(json.dumps(description))
    assert train(spec, tmp_path, data_dir=tmp_path) == tmp_path
    (tmp_path / "d.keras").unlink()
    with pytest.raises(UserError, match="data set mnist: expected it prepared in"):
        train(spec, tmp_path, data_dir=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["generator", "ensemble"])
def test_run_is_not_resumed_upon_another_classifier_than_it_was_begun_with(method, tmp_path):
    spec, workdir = tiny(method, steps=3, validation=0), tmp_path / "run"
    stopped(spec, workdir, 2)
    needed = tmp_path / spec.needs()["classifier"].name / "d.keras"
    weights = evaluation.weights_hash(evaluation.load_model(needed))
    assert described(workdir)["classifier_weights"] == weights
    before, whole = needed.read_bytes(), (workdir / "experiment.json").read_bytes()
    about_needed = needed.with_name("experiment.json").read_text()
    randomised(evaluation.load_model(needed)).save(needed)
    with pytest.raises(UserError, match=r"d\.keras: expected the file that its run saved"):
        train(spec, workdir)
    described(needed.parent, hashes={})
    with pytest.raises(UserError, match=f"expected classifier_weights = {weights}, as when its run was started, received"):
        train(spec, workdir)
    assert (workdir / "experiment.json").read_bytes() == whole
    needed.write_bytes(before)
    needed.with_name("experiment.json").write_text(about_needed)
    described(workdir, change=lambda provenance: provenance.pop("classifier_weights"))
    train(spec, workdir)
    assert described(workdir)["classifier_weights"] == weights


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
    assert training.is_finished(ADVNET, workdir)
    with pytest.raises(UserError, match="expected a run with clip_perturbed = True, found False"):
        training.is_finished(tiny("advnet", steps=12, classifier="d1", clip_perturbed=True), workdir)


def test_finished_run_makes_lost_files_again_from_its_checkpoint(advnet_run, tmp_path):
    workdir, lost = tmp_path / "run", ("d.keras", "g.keras", "perturbations.png")
    shutil.copytree(advnet_run, workdir)
    for name in lost:
        (workdir / name).unlink()
    train(ADVNET, workdir)
    weights, expected = (evaluation.load_model(run / "d.keras").get_weights() for run in (workdir, advnet_run))
    for weight, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(weight, other)
    assert all((workdir / name).exists() for name in lost)


def test_damaged_checkpoints_are_one_line_and_nothing_is_lost(advnet_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(advnet_run, workdir)
    (workdir / "d.keras").unlink()
    index = workdir / "checkpoints" / "ckpt-12.index"
    index.write_bytes(index.read_bytes()[:50])
    before = {file: file.read_bytes() for file in workdir.rglob("*") if file.name != "experiment.json" and file.is_file()}
    with pytest.raises(UserError, match=r"checkpoints/ckpt-12: expected a whole checkpoint, found"):
        train(ADVNET, workdir)
    assert {file: content for file, content in before.items() if file.read_bytes() == content} == before


def test_file_in_the_place_of_a_directory_is_one_line(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(UserError, match="expected a place to write to, found"):
        train(tiny("standard"), tmp_path)


def test_directory_in_use_is_refused(tmp_path):
    with locked(tmp_path / "lock", wait=False), pytest.raises(UserError, match="found another process training there"):
        train(tiny("standard"), tmp_path)


def test_directory_in_use_is_waited_for_on_request(tmp_path, caplog):
    """As by tables. The other process ends without having finished the run: the one that waited trains it."""
    workspace, spec = training.Workspace(runs=tmp_path, progress=False), tiny("standard")
    with contextlib.ExitStack() as other:
        other.enter_context(locked(workspace.of(spec) / "lock", wait=False))
        waiting = threading.Thread(target=workspace.train, args=([spec],), kwargs=dict(wait=True))
        waiting.start()
        while "waiting for another process" not in caplog.text:
            assert waiting.is_alive()
            time.sleep(0.01)
        assert not workspace.is_finished(spec)
    waiting.join()
    assert workspace.is_finished(spec)


def test_unwritable_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for workdir in (tmp_path / "file" / "run", "/proc/run"):
        with pytest.raises(UserError, match="expected a place to write to, found"):
            train(tiny("standard"), workdir)


def test_nan_in_a_batch_names_its_step_and_keeps_the_last_checkpoint(tmp_path):
    spec = tiny("standard", steps=1000)

    def poisoned(players, x, y, spec, seed):
        bad = tf.one_hot(0, len(x), on_value=np.nan)[:, None, None, None]
        return (x + bad if seed[1] + 1 == 13 else x), y

    nan = r"standard\S* step 13: expected a finite d_\w+, found nan \(the last checkpoint is kept\)"
    with changed("standard", before=poisoned), pytest.raises(UserError, match=nan):
        train(spec, tmp_path, checkpoint_seconds=0)
    assert tf.train.latest_checkpoint(tmp_path / "checkpoints").endswith("ckpt-12")
    assert [int(line["step"]) for line in metrics(tmp_path)] == [10]


def test_diverging_run_names_the_step_and_the_term(tmp_path):
    with pytest.raises(UserError, match=r"step \d: expected a finite d_\w+, found (inf|nan) "):
        train(tiny("standard", learning_rate=1e9, steps=500), tmp_path)


@pytest.mark.slow
def test_full_disk_stops_the_run_which_goes_on_once_there_is_room(tmp_path, mounted):
    spec = tiny("standard", classifier="d1", classifier_width=32)
    whole = train(spec, tmp_path / "whole")
    place = mounted("-t", "tmpfs", "-o", "size=1300k", "tmpfs")
    with pytest.raises(UserError, match=r"writing \S+: expected a place to write to, found: .*[Nn]o space left on device"):
        train(spec, place / "run", checkpoint_seconds=0)
    assert tf.train.latest_checkpoint(place / "run" / "checkpoints").endswith("ckpt-2")
    subprocess.run(["mount", "-o", "remount,size=16m", place], check=True)
    assert outcome(train(spec, place / "run")) == outcome(whole)


def test_read_only_disk_is_one_line(advnet_run, mounted):
    place = mounted("--bind", advnet_run, remount="bind,ro")
    train(ADVNET, place)
    for spec, workdir in ((ADVNET, place / "new"), (tiny("standard"), place / "other")):
        with pytest.raises(UserError, match=r"locking \S+: expected a place to write to, found: Read-only file system"):
            train(spec, workdir)


def test_run_that_goes_on_names_all_that_trained_it_and_leaves_nothing_of_killed_writers(tmp_path, advnet_run):
    workdir = tmp_path / "run"
    shutil.copytree(advnet_run, workdir)
    # A process of this machine that is no more.
    writer = f"writing-{re.sub(r'[^0-9A-Za-z]', '', platform.node())[:40]}-999999999-12ab"
    for name in (f".d.{writer}.keras", f".metrics.{writer}.csv", f".events.out.tfevents.{writer}.v2"):
        (workdir / name).write_text("half")
    (workdir / "checkpoints" / "ckpt-9_temp").mkdir()
    begun = described(workdir, change=lambda provenance: provenance.update(commit="another", versions="python 4, keras 9"))
    for _ in range(2):
        (workdir / "d.keras").unlink()
        train(ADVNET, workdir)
    now = described(advnet_run)
    assert described(workdir) == begun | {
        "commit": f"another+{now['commit']}",
        "versions": f"python 4, keras 9; {now['versions']}",
    }
    assert not list(workdir.rglob("*writing*")) and not list(workdir.rglob("*_temp"))
    assert outcome(workdir) == outcome(advnet_run)


@pytest.mark.long
def test_memory_does_not_grow_with_the_steps(tmp_path):
    resident = {}

    def watch(players, x, y, spec, seed):
        if seed[1] in (200, 599):
            resident[seed[1]] = int(Path("/proc/self/statm").read_text().split()[1])

    with changed("standard", before=watch):
        train(
            tiny("standard", classifier="d1", steps=600, validation=100, classifier_width=4), tmp_path, checkpoint_seconds=0.2
        )
    assert resident[599] < 1.02 * resident[200]


@pytest.mark.slow
def test_ensemble_reuses_its_static_examples(tmp_path):
    spec = tiny("ensemble", steps=2)
    train(spec, tmp_path / spec.name)
    (file,) = (tmp_path / spec.needs()["classifier"].name).glob("static_examples-*.npy")
    before = file.stat().st_mtime_ns
    train(spec, tmp_path / "another")
    assert file.stat().st_mtime_ns == before
    whole = file.read_bytes()
    for damage in (b"", b"text", whole[:-100], whole[:-1] + bytes([whole[-1] ^ 1])):
        file.write_bytes(damage)
        with pytest.raises(UserError, match=r"static_examples-\w+\.npy: expected static examples .*found"):
            train(spec, tmp_path / "third")
    file.with_name(f"{file.name}.sha256").unlink()  # As beside a file of before there were hashes.
    np.save(file, np.zeros((3, 5, 8, 8, 1), np.int8))
    with pytest.raises(UserError, match=r"found int8 \(3, 5, 8, 8, 1\)"):
        train(spec, tmp_path / "third")


def test_training_in_another_thread_needs_no_signals(tmp_path):
    thread = threading.Thread(target=train, args=(tiny("standard", steps=2), tmp_path))
    thread.start()
    thread.join()
    assert (tmp_path / "d.keras").exists()


def test_batches_have_the_held_in_images_only(tmp_path):
    whole, _ = data.load("digits", "train")
    rows = []
    for held_out in (100, 0):
        spec = tiny("standard", validation=held_out, steps=40)
        training_images, _ = data.training_and_validation(spec)
        batches = METHODS["standard"].batches(spec, {}, training_images, 0).take(16)
        seen = {image.tobytes() for x, _ in batches for image in np.round(255 * x.numpy()).astype(np.uint8)}
        rows.append({number for number, image in enumerate(whole) if image.tobytes() in seen})
    assert min(rows[0]) >= 100 > min(rows[1])
    assert max(rows[1]) < 1024


def test_classifier_for_a_method_that_needs_none_is_refused(advnet_run, tmp_path):
    classifier = evaluation.load_classifier(advnet_run)
    with pytest.raises(UsageError, match="classifier: expected none with method standard, which needs none, received one"):
        train(tiny("standard"), tmp_path, classifier=classifier)
    with pytest.raises(UsageError, match="classifier: expected none with method ensemble, whose examples a run keeps"):
        train(tiny("ensemble"), tmp_path, classifier=classifier)
    assert not (tmp_path / "experiment.json").exists()
