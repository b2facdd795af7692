"""--list: names, the state of tables and runs, alignment, and that it starts no TensorFlow."""

import json
import subprocess
import sys
from pathlib import Path

from adv_networks import tables
from adv_networks.commands.listing import aligned
from adv_networks.experiments import DATASETS, METHODS, TABLES, experiment
from adv_networks.storage import run_directories
from adv_networks.training.checkpoints import Checkpoints
from tests.tables.test_tables import record_of


def begun(workdir, **further):
    spec = experiment("digits", "standard", steps=40)
    workdir.mkdir(parents=True)
    description = {"experiment": spec.settings(), "provenance": {"commit": "", "training_images": 1200}, **further}
    (workdir / "experiment.json").write_text(json.dumps(description))


def test_state_of_a_run_follows_its_files(tmp_path):
    begun(tmp_path / "begun")
    begun(tmp_path / "saved")
    Checkpoints(tmp_path / "saved" / "checkpoints").save(10)
    Checkpoints(tmp_path / "saved" / "checkpoints").save(30)
    begun(tmp_path / "done", finished=True)
    begun(tmp_path / "cut")
    (tmp_path / "cut" / "experiment.json").write_text("{")
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "lock").touch()
    (tmp_path / "other").mkdir()
    assert {place.name: run_directories.state(place) for place in run_directories.directories(tmp_path)} == {
        "begun": "step 0 of 40", "saved": "step 30 of 40", "done": "finished", "cut": "damaged", "locked": "empty",
    }  # fmt: skip


def test_list_names_everything_and_what_is_measured(run, tmp_path):
    table = TABLES["1"]
    rows = tables.make_table(table, [record_of(cell, 50.0) for cell in table.cells("cpu")[:4]])
    tables.write(table, rows, tmp_path / "results" / "cpu", scale="cpu")
    begun(tmp_path / "runs" / "mine", finished=True)
    (tmp_path / "data" / "mnist" / "3.0.1").mkdir(parents=True)
    (tmp_path / "data" / "mnist" / "3.0.1" / "dataset_info.json").touch()
    code, output, error = run("--list", f"--data_dir={tmp_path}/data")
    assert (code, error) == (0, "")
    first = {line.split()[0]: line for line in output.splitlines() if line.startswith("  ")}
    assert first.keys() >= {*DATASETS, *METHODS, *TABLES, "claims", "all"}
    assert first["mnist"].endswith(f", in {tmp_path}/data") and f"not in {tmp_path}/data" in first["svhn"]
    assert "4 of 27" in first["1"] and first["mine"].endswith("finished")


def test_list_of_results_that_are_not_there_says_which_are(run, tmp_path):
    assert (
        "measured in " + str(tmp_path / "results" / "cpu") + f", which does not exist ({tmp_path}/results has none)"
        in run("--list")[1]
    )
    table = TABLES["1"]
    tables.write(table, tables.make_table(table, [], scale="cpu"), tmp_path / "results" / "cpu", scale="cpu")
    assert "which does not exist" not in run("--list")[1]
    said = run("--list", "--epsilon=0.1")[1]
    assert f"cpu-epsilon=0.1, which does not exist ({tmp_path}/results has cpu)" in said


def test_columns_are_aligned():
    lines = aligned([["a", "bb", "c"], ["aaa", "b", "cc"], ["a"]]).splitlines()
    assert lines == ["  a    bb  c", "  aaa  b   cc", "  a"]


def test_list_starts_no_tensorflow(tmp_path):
    code = (
        f"import sys, flags; from adv_networks import __main__; flags.parse(['main.py', '--list', '--runs={tmp_path}']); "
        "__main__.main(); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip().endswith("none")
