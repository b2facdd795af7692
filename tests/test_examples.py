"""The scripts that run a plan: on a machine, on several that share the run directory, as a Slurm job array."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from adv_networks.attacks.gradient import loss_gradient
from adv_networks.commands.base import Request
from adv_networks.commands.print_plan import PrintPlan, shell_word
from adv_networks.experiments import TABLES, experiments_of
from adv_networks.networks.adaptation import as_any_classifier
from adv_networks.storage.files import locked
from adv_networks.training import Workspace
from examples import fine_tune
from tests.training.helpers import train

ROOT = Path(__file__).resolve().parents[1]
SLURM = ROOT / "examples" / "slurm_array.sh"


def shell(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **options)


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.sh")), ids=lambda script: script.name)
def test_script_is_well_formed(script):
    assert shell("bash", "-n", script).returncode == 0
    assert os.access(script, os.X_OK)


@pytest.mark.slow
def test_resnet_of_the_documentation_is_a_classifier_that_gradients_pass_through():
    model = as_any_classifier(fine_tune.classifier(weights=None, side=32, classes=4))
    images, labels = np.random.default_rng(0).random((2, 32, 32, 3), np.float32), np.array([1, 3])
    assert model.output_shape == (None, 4)
    assert loss_gradient(model, False, tf.constant(images), tf.constant(labels)).numpy().any((1, 2, 3)).all()


@pytest.fixture
def array(tmp_path):
    """Starts job `number` of the array that runs these commands; `scontrol` writes its arguments to a file."""
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/requeued\n')
    (tmp_path / "scontrol").chmod(0o755)

    def start(number, commands, *more):
        (tmp_path / "plan.txt").write_text("".join(f"{command}\n" for command in commands))
        path = f"{tmp_path}:{os.environ['PATH']}"
        variables = dict(os.environ, PATH=path, SLURM_ARRAY_TASK_ID=str(number), SLURM_JOB_ID="77")
        arguments = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables, cwd=ROOT)
        return subprocess.Popen(["bash", SLURM, tmp_path / "plan.txt", *more], **arguments)

    return start


def test_dry_job_prints_its_line(array):
    job = array(2, ["first", "second --with=more  # to do", "third"], "dry")
    assert job.communicate() == ("second --with=more  # to do\n", "")
    assert job.returncode == 0


def test_job_without_a_line_is_wrong_usage(array, tmp_path):
    job = array(4, ["first"])
    assert job.communicate() == ("", f"{tmp_path}/plan.txt: expected a line 4, found none\n")
    assert job.returncode == 2


@pytest.mark.parametrize("code", [0, 1])
def test_job_ends_as_its_run_does(code, array, tmp_path):
    job = array(1, [f"sh -c 'echo ran; exit {code}'  # to do"])
    assert job.communicate()[0] == "ran\n"
    assert job.returncode == code
    assert not (tmp_path / "requeued").exists()


@pytest.mark.parametrize(("code", "queued_again"), [(143, True), (0, False)])
def test_job_out_of_time_lets_its_run_save_and_is_queued_again(code, queued_again, array, tmp_path):
    run = tmp_path / "run.py"
    run.write_text(
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), print('saved', flush=True), sys.exit({code})))\n"
        "print('runs', flush=True)\n"
        "time.sleep(60)\n"
    )
    job = array(1, [f"{sys.executable} {run}  # to do"])
    assert job.stdout.readline() == "runs\n"
    job.send_signal(signal.SIGTERM)
    assert job.communicate()[0] == "saved\n"
    assert job.returncode == code
    assert (tmp_path / "requeued").exists() == queued_again
    if queued_again:
        assert (tmp_path / "requeued").read_text() == "requeue 77\n"


def test_each_job_of_a_plan_has_a_gpu_of_its_own(tmp_path):
    # Each waits until another has begun too, so that jobs one after the other would never end.
    meet = f"touch {tmp_path}/$$; until [ $(ls {tmp_path} | wc -l) -ge 2 ]; do sleep 0.01; done"
    lines = "".join(f"{meet}; echo {number} $CUDA_VISIBLE_DEVICES  # to do\n" for number in range(4)) + "# a comment\n"
    done = shell("examples/run_plan.sh", "2", input=lines, timeout=60)
    assert done.returncode == 0
    jobs = [line.split() for line in done.stdout.splitlines()]
    assert sorted(job for job, _ in jobs) == ["0", "1", "2", "3"]
    assert {gpu for _, gpu in jobs} == {"0", "1"}


HOSTILE = ["a b", "it's", "a\ntouch evil", "$(touch evil)", "`touch evil`", "x  # done", "{}", "\\n", "-n", "\t;\x01", '"']


def test_names_of_every_kind_reach_the_runs_of_a_plan_as_they_are(array, tmp_path):
    words = tmp_path / "words.py"
    # Two jobs write into one pipe: a line stays whole only if it is written at once, which print does not do where Python is
    # told not to buffer.
    words.write_text("import json, os, sys\nos.write(1, json.dumps(sys.argv[1:]).encode() + b'\\n')\n")
    program = f"{shell_word(sys.executable)} {shell_word(str(words))}"
    lines = [f"{program} {shell_word(f'--runs={name}')} --last=1  # to do, 3 s" for name in HOSTILE]
    expected = [[f"--runs={name}", "--last=1"] for name in HOSTILE]
    done = shell(ROOT / "examples" / "run_plan.sh", "2", input="".join(f"{line}\n" for line in lines))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(map(json.loads, done.stdout.splitlines())) == sorted(expected)
    kept = shell("grep", "-v", "-e", "^#", "-e", "  # done$", input="".join(f"{line}\n" for line in lines)).stdout.splitlines()
    assert kept == lines
    for number in (3, 6):
        assert json.loads(array(number, kept).communicate()[0]) == expected[number - 1]
    assert not (ROOT / "evil").exists()


@pytest.mark.long
def test_run_that_another_machine_trains_is_left_to_it(tmp_path):
    workspace = Workspace(runs=tmp_path / "runs", results=tmp_path / "results")

    small = dict(steps=2, generators=("released_mnist",), generator_width=2, validation=0, test_images=16)

    def to_do():
        request = Request(scale="tiny", overrides=small)
        (planned,) = PrintPlan(names=("digits",), request=request, workspace=workspace).run()
        planned = planned.replace("python ", f"{sys.executable} ")
        return "".join(f"{line}\n" for line in planned.splitlines() if "# to do" in line)

    plan = to_do().splitlines(keepends=True)
    workdir = tmp_path / "runs" / "digits-advnet-tiny-s0-generator_width=2-generators=released_mnist-steps=2-validation=0"
    (advnet,) = [spec for spec in experiments_of(TABLES["digits"].cells("tiny", **small)) if spec.method == "advnet"]
    assert ["--method=standard" in plan[0], "--method=advnet" in plan[1], len(plan)] == [True, True, 2]
    with locked(workdir / "lock", wait=False):
        done = shell("examples/run_plan.sh", "2", input="".join(plan))
    assert done.returncode == 123
    assert f"{workdir}: expected to be alone, found another process training there" in done.stderr
    assert to_do() == plan[1]
    train(advnet, workdir)  # as the other machine does
    assert to_do() == ""
