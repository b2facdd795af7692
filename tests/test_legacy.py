"""What the library wrote before it was rebuilt stays valid: runs, records of every kind of attack, a sweep, a strong table."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from adv_networks import evaluation, training
from adv_networks.experiments import experiment
from adv_networks.storage.records import Outcome, read, record_key
from tests.conftest import written_at

LEGACY = Path(__file__).parent / "legacy"
SMALL = ("--scale=tiny", "--steps=3", "--generators=released_mnist", "--width=2", "--classifier_width=2", "--validation=0",
         "--test_images=16", "--noprogress")  # fmt: skip
FOREIGN = "--attack=foolbox:LinfPGD:steps=2,art:DeepFool:max_iter=2:norm=l2:epsilon=1.5"


@pytest.fixture(scope="module", autouse=True)
def toolbox():
    """Imported before capsys captures: ART's import closes the log handlers that there are, and absl's its stream."""
    pytest.importorskip("art")


@pytest.fixture
def old(tmp_path):
    """Copies of the old runs and results, where the command line looks for them."""
    shutil.copytree(LEGACY / "trained", tmp_path / "runs")
    shutil.copytree(LEGACY / "results", tmp_path / "results")
    return tmp_path


def records():
    return {file: read(file) for file in sorted((LEGACY / "results").rglob("records.csv"))}


def test_records_of_every_attack_have_the_keys_that_their_fields_give():
    fields = ("target", "source", "target_hash", "source_hash", "images_hash", "attack_settings", "bn_evaluation")
    found = [record for own in records().values() for record in own]
    kinds = {json.loads(record.attack_settings)["kind"] for record in found}
    assert kinds == {"clean", "fgs", "pgd", "generator", "restarted_pgd", "apgd", "fab", "square", "worst", "foreign"}
    for record in found:
        assert record_key(**{field: getattr(record, field) for field in fields}) == record.key


def test_attacks_of_today_have_the_settings_of_the_records():
    spec = experiment("digits", "standard", scale="tiny")
    composed = 0
    for record in (record for own in records().values() for record in own):
        text = record.attack
        if record.epsilon not in (0, spec.epsilon):  # of the sweep, or of a ball of its own
            norm = json.loads(record.attack_settings).get("norm", "linf")
            text += f":epsilon={record.epsilon}:norm={norm}"
        attack = spec.attack(text)
        if attack.composed:
            composed += 1
            continue
        assert attack.settings() == record.attack_settings
    assert composed == 4


@pytest.mark.parametrize(
    "options",
    [("--attack_suite=strong",), (FOREIGN,), ("--epsilons=0.1,0.2",), ()],
    ids=["strong", "foreign", "sweep", "paper"],
)
def test_tables_are_made_of_old_records_and_runs_without_evaluating_anything(options, old, run):
    (group,) = (old / "results").iterdir()
    before, networks = {file: file.read_bytes() for file in group.rglob("*.csv")}, written_at(old / "runs")
    code, _, error = run("--table=digits", *options, *SMALL)
    assert code == 0, error
    after = {file: file.read_bytes() for file in before}
    assert {file.name for file in before if before[file] != after[file]} == set()
    assert written_at(old / "runs") == networks


def test_old_run_is_finished_loads_and_has_the_hashes_that_it_says(old):
    for workdir in sorted((old / "runs").iterdir()):
        said = json.loads((workdir / "experiment.json").read_text(encoding="utf-8"))
        overrides = dict(map(tuple, said["experiment"]["overrides"]))
        spec = experiment("digits", said["experiment"]["method"], scale="tiny", **overrides)
        assert spec.name == workdir.name
        assert training.is_finished(spec, workdir)
        for name, hashes in said["hashes"].items():
            assert training.known_weights_hash(workdir, name) == hashes["weights"]
            assert evaluation.weights_hash(evaluation.load_model(workdir / name)) == hashes["weights"]


def test_old_outcomes_count_what_the_records_say():
    (file,) = (LEGACY / "results").rglob("outcomes.csv")
    right = {outcome.key: int(outcome.array().sum()) for outcome in read(file, Outcome)}
    assert right == {record.key: record.correct for record in read(file.with_name("records.csv"))}


def test_old_sweep_has_a_line_for_each_cell_and_epsilon():
    (file,) = (LEGACY / "results").rglob("digits-epsilon.csv")
    with file.open(newline="", encoding="utf-8") as handle:
        lines = list(csv.DictReader(handle))
    assert {line["epsilon"] for line in lines} == {"0.0", "0.1", "0.2"}
