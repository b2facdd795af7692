"""The command line end to end: what it prints, what it leaves, and its exit codes."""

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from absl import flags as absl_flags

from adv_networks import networks
from adv_networks.experiments import experiment
from adv_networks.training import train
from flags import rules
from flags.groups import GROUPS
from tests.conftest import SMALL, SMALLEST, randomised, written_at

ROOT = Path(__file__).parents[2]
SHARED_DATA = ROOT.parent / "shared" / "data" / "tfds"
CLASSIFIER = "classifier=mlp-classifier_width=8"  # that of SMALLEST in the names of runs
FEW = ("--test_images=60", "--pgd_steps=3")
OWN = ("--model=x.keras", "--input_range=0,1", "--dataset=digits")


def in_a_process(*arguments):
    return subprocess.Popen(
        [sys.executable, "main.py", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_DATA.exists(), reason="the prepared MNIST is not beside this checkout")
def test_method_on_mnist_trains_once_and_then_only_prints(run, tmp_path):
    small = ("--scale=tiny", "--steps=4", "--width=2", "--classifier=mlp", "--validation=0", "--test_images=64", "--noprogress")
    command = ("--dataset=mnist", "--method=advnet", f"--data_dir={SHARED_DATA}", *small)
    code, first, _ = run(*command)
    assert code == 0
    assert re.search(r"advnet \([\w+]+\).* +\d+\.\d\d +\d+\.\d\d", first)
    written = written_at(tmp_path)
    code, second, _ = run(*command)
    assert (code, second) == (0, first) and written_at(tmp_path) == written


@pytest.mark.slow
def test_demo_table_has_standard_and_advnet_and_the_generator(run, tmp_path):
    code, output, _ = run("--table=digits", *SMALLEST)
    assert code == 0
    assert [line.split("  ")[0] for line in output.splitlines()[2:4]] == ["standard (A)", "adversarial network (C)"]
    (file,) = (tmp_path / "results").rglob("digits.csv")
    advnet = f"digits-advnet-tiny-s0-{CLASSIFIER}-generator_width=4-generators=released_mnist-steps=3-validation=0"
    assert (file.parent / f"{advnet}-perturbations.png").exists()
    with file.open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["column"] for row in rows[:4]] == ["No Noise", "FGS", "PGD", "G(C)"]
    assert all(row["measured_percent"] and not row["published_percent"] for row in rows)


@pytest.mark.slow
def test_plan_lists_each_run_once_and_what_is_done(run, tmp_path):
    run("--dataset=digits", "--method=standard", *SMALLEST)
    code, output, _ = run("--table=digits", "--plan", *SMALLEST)
    assert code == 0
    done, to_do, how = output.splitlines()
    assert "--method=standard" in done and done.endswith("# done")
    assert "--method=advnet" in to_do and "# to do, " in to_do
    assert how.startswith("# ") and all((ROOT / script).exists() for script in re.findall(r"examples/\w+\.sh", how))
    command = shlex.split(to_do, comments=True)
    assert command[:2] == ["python", "main.py"]
    assert run(*command[2:])[0] == 0
    assert run("--table=digits", "--plan", *SMALLEST)[1].count("# done") == 2


def test_plan_of_all_shares_the_runs_of_the_tables(run):
    code, output, _ = run("--table=all", "--plan", "--scale=paper")
    assert code == 0
    *lines, further, _ = output.splitlines()
    assert len(lines) == len(set(lines)) == 34
    assert all(re.search(r"--scale=paper .*# to do, .* FLOPs: about .* on two cores, .* GPU-hours$", line) for line in lines)
    assert re.match(r"# \d+ further runs .*--table=protocol --plan and --table=regulariser --plan", further)


def test_plan_of_all_leaves_out_what_the_suite_cannot_attack(run):
    code, output, error = run("--table=all", "--plan", "--scale=paper", "--attack_suite=strong")
    assert (code, error) == (0, "")
    assert "--against=advnet" in output and "--table=regulariser --plan" in output
    assert "--table=protocol" not in output and "--method=generator --scale=paper --seed=1" not in output


def test_own_classifier_is_attacked_on_its_own_range(run, tmp_path):
    model = randomised(networks.d1((8, 8, 1), 10, 4))
    model.save(tmp_path / "mine.keras")
    mine = (f"--model={tmp_path}/mine.keras", "--input_range=0,1", "--dataset=digits", "--epsilon=0.1")
    code, output, _ = run(*mine, *FEW)
    assert code == 0
    assert re.search(r"checks against false security of this classifier: \d+ of 10 passed", output)
    assert re.search(r"60 test images of digits, ε = 0\.1.*\nNo Noise +\d+\.\d\d\nFGS +\d+\.\d\d\nPGD +\d+\.\d\d", output)


@pytest.mark.slow
def test_run_in_l2_trains_and_evaluates_in_it(run, tmp_path):
    code, output, error = run("--norm=l2", "--epsilon=1.5", *SMALLEST)
    assert code == 0, error
    assert re.search(r"advnet \(C\)( +\d+\.\d\d){4}", output)
    (workdir,) = (tmp_path / "runs").iterdir()
    settings = f"{CLASSIFIER}-epsilon=1.5-generator_width=4-generators=released_mnist-norm=l2-steps=3-validation=0"
    assert workdir.name == f"digits-advnet-tiny-s0-{settings}"
    x = np.random.default_rng(0).random((5, 8, 8, 1), np.float32)
    perturbation = keras.models.load_model(workdir / "g.keras")(x).numpy().reshape(5, -1)
    np.testing.assert_allclose(np.linalg.norm(perturbation, axis=1), 1, rtol=1e-5)
    (records,) = (tmp_path / "results").rglob("records.csv")
    with records.open() as handle:
        settings = {row["attack"]: json.loads(row["attack_settings"]) for row in csv.DictReader(handle)}
    assert {name: value.get("norm") for name, value in settings.items()} == {
        "clean": None, "fgs": "l2", "pgd": "l2", "generator": "l2",
    }  # fmt: skip


def test_plan_of_another_norm_says_its_epsilon_even_if_it_is_the_recipes(run):
    code, output, _ = run("--table=digits", "--plan", "--norm=l2", "--epsilon=0.15", *SMALLEST)
    assert code == 0
    *runs, _ = output.splitlines()
    assert len(runs) == 2 and all("--epsilon=0.15" in line and "--norm=l2" in line for line in runs)


@pytest.mark.slow
def test_plan_passes_on_what_its_runs_are_told(run, tmp_path):
    told = ("--strategy=mirrored", "--checkpoint_seconds=30", "--test_images=16", "--bn_evaluation=batch")
    code, output, error = run("--table=digits", "--plan", *told, *SMALL)
    assert code == 0, error
    *runs, _ = output.splitlines()
    assert len(runs) == 2
    for line in runs:
        command = shlex.split(line, comments=True)
        assert {*told, "--generators=released_mnist"} <= {word.replace("=30.0", "=30") for word in command}
    plain = [word for word in command if not word.startswith("--strategy")]
    assert run(*plain[2:])[0] == 0
    (group,) = (tmp_path / "results").iterdir()
    settings = "bn_evaluation=batch-generator_width=4-generators=released_mnist-steps=3-test_images=16-validation=0"
    assert group.name == f"tiny-{settings}"  # where the table looks for its records
    assert (
        run("--table=digits", "--plan", "--replicas=2", "--runtime=plain", *SMALL)[1].count("--replicas=2 --runtime=plain") == 2
    )


@pytest.mark.slow
def test_run_and_table_print_the_distances_that_further_attacks_needed(run, tmp_path):
    asked = ("--attack=deepfool:steps=5", *SMALLEST, "--steps=60", "--learning_rate=0.05", "--test_images=60")
    code, output, error = run("--method=standard", *asked)
    assert code == 0, error
    (file,) = (tmp_path / "results").rglob("records.csv")
    with file.open() as handle:
        (record,) = (row for row in csv.DictReader(handle) if row["attack"] == "deepfool:steps=5")
    middle, mean, success = (float(record[field]) for field in ("l2_median", "l2_mean", "success_percent"))
    numbers = rf".* {success:.4g} .* {middle:.4g} / {mean:.4g} "
    assert re.search(rf"^What each attack did.*\n.*\nFGS .*\nPGD .*\ndeepfool:steps=5{numbers}", output, re.MULTILINE), output
    code, output, _ = run("--table=digits", "--finished_only", *asked)
    assert code == 0 and re.search(rf"^deepfool:steps=5{numbers}", output, re.MULTILINE), output
    assert "What each attack" not in run("--table=digits", "--finished_only", *asked[1:])[1]


def test_own_classifier_is_attacked_in_another_norm(run, tmp_path):
    randomised(networks.d1((8, 8, 1), 10, 4)).save(tmp_path / "mine.keras")
    own = (f"--model={tmp_path}/mine.keras", "--input_range=0,1", "--dataset=digits")
    code, output, _ = run(*own, "--norm=l1", "--epsilon=20", *FEW)
    assert code == 0
    assert re.search(r"60 test images of digits, ε = 20 in l1; accuracy", output)
    code, output, error = run(*own, "--norm=l1")
    assert (code, output, error.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=imagenet"], r"--dataset=imagenet.*digits\|mnist\|svhn"),
        (["--method=magic"], "--method=magic"),
        (["--nonsense=1"], "nonsense"),
        (["--epsilon=0"], r"epsilon=0.*must be above 0"),
        (["--epsilon=1/0"], r"epsilon=1/0.*no divisor of 0"),
        (["--epsilon=1.5"], r"epsilon: expected a value above 0 and of at most 1, received 1\.5"),
        (["--norm=l3"], r"--norm=l3.*linf\|l2\|l1"),
        (["--norm=l2"], "epsilon: expected a value with norm l2 .*, received none"),
        (["--norm=l2", "--epsilon=9"], "epsilon: expected a value above 0 and of at most 8, received 9"),
        (["--norm=l1", "--epsilon=1", "--method=ensemble"], "norm: expected linf for method ensemble, received l1"),
        (["--norm=l2", "--epsilon=1", "--table=4"], "norm: expected linf for method ensemble, received l2"),
        (["--epsilon=x"], "--epsilon=x"),
        (["--regulariser_sign=2"], "must be one of 1, -1"),
        (["--learning_rate_drops=0.5,2"], "learning_rate_drops.*at most 1"),
        (["--learning_rate_drops=x"], "learning_rate_drops: expected values of type float"),
        (["--encoder_widths=1,2"], "encoder_widths: expected 3 values"),
        (["--epsilon=nan"], "epsilon"),
        (["--steps=99999999999999999999"], "steps: expected"),
        (["--checkpoint_seconds=-1"], "checkpoint_seconds=-1.*must be at least 0"),
        (["--checkpoint_seconds=nan"], "must be at least 0"),
        (["--table=1", "--method=pgd"], "--model, --table and --method exclude one another"),
        (["--table=6", "--width=8"], "generator_width: expected no override with table 6, whose rows set it, received 8"),
        (["--table=all", "--plan", "--generators=g1,g2"], "generators: expected no override with table 5, .*, received g1_g2"),
        (["--table=protocol", "--protocol=released", "--plan"], "protocol: expected paper with table protocol"),
        (["--table=all", "--dataset=digits"], "not one of the table's data sets"),
        (["--table=claims", "--dataset=mnist"], "not one of the table's data sets"),
        (["--model=x.keras", "--input_range=0,inf", "--dataset=digits"], "LOW < HIGH"),
        (["--plan"], "--plan and --finished_only need a --table"),
        (["--finished_only"], "--plan and --finished_only need a --table"),
        (["--table=claims", "--plan"], "need a --table other than claims"),
        (["--dataset="], "--dataset=: must be one of"),
        ([f"--dataset={'x' * 300}"], "must be one of"),
        (["--workdir="], "--workdir=: must not be empty"),
        (["--list", "--learning_rate_drops=x"], "learning_rate_drops: expected values of type float"),
        (["--attack_suite=strong", "--norm=l2", "--epsilon=1"], "norm: expected linf for attack restarted_pgd, received l2"),
        (["--attack_suite=strong", "--table=1", "--protocol=released", "--plan"], "bn_evaluation: expected moving for attack"),
        (["--table=1", "--epsilons=0.1", "--attack_suite=strong"], "excludes --seeds, --plan and --attack_suite"),
        (["--verify", "--steps=3"], "--verify: expected no --steps, received it"),
        (["--verify", "--protocol=released"], "--verify: expected no --protocol"),
        (["--verify", "--attack_suite=strong"], "--verify: expected no --attack_suite"),
        (["--list", "--dataset=mnist"], "--list: expected no --dataset"),
        (["--list", "--seed=1"], "--list: expected no --seed"),
        (["--report", "--attack_suite=strong"], "--report: expected no --attack_suite"),
        (["--report", "--attack=foolbox:LinfPGD"], "--report: expected no --attack"),
        (["--table=claims", "--attack_suite=strong"], "--table=claims: expected no --attack_suite"),
        ([*OWN, "--seed=1"], "--model: expected no --seed"),
        ([*OWN, "--attack=worst"], "attack: expected one that is crafted on the classifier, received worst"),
        ([*OWN, "--attack=generator"], r"received generator \(--method=generator trains one\)"),
        ([*OWN, "--steps=3"], "--model: expected no --steps"),
        ([*OWN, "--learning_rate=0.1"], "--model: expected no --learning_rate"),
        ([*OWN, "--generators=g1"], "--model: expected no --generators"),
        ([*OWN, "--checkpoint_seconds=3"], "--model: expected no --checkpoint_seconds"),
        ([*OWN, "--method=generator", "--against=pgd"], "--model --method=generator: expected no --against"),
        ([*OWN, "--finished_only"], "--plan and --finished_only need a --table"),
        (["--table=1", "--seeds=0,0"], "different whole numbers"),
        (["--table=1", "--seeds=0,x"], "different whole numbers"),
        (["--seeds=0,1"], "needs a --table"),
        (["--table=1", "--epsilons=0.2,0.1"], "ascending numbers above 0"),
        (["--table=all", "--epsilons=0.1"], "needs a single --table other than"),
        (["--by_class"], "--by_class needs a single --table other than"),
        (["--table=1", "--by_class", "--attack_suite=strong"], "excludes --seeds, --epsilons, --plan and --attack_suite"),
        (["--table=1", "--seeds=0,1", "--seed=2"], "excludes --seed"),
        (["--list", "--table=1"], "--list: expected no --table"),
        (["--list", "--verify"], "--list: expected no --verify"),
        (["--table=grid"], "needs --dataset"),
        (["--attack_suite=weak"], r"--attack_suite=weak.*paper\|strong"),
        (["--attack_suite=strong", "--workdir=x"], "--workdir is for one run"),
        (["--attack_suite=strong", "--table=5"], "attack_suite: expected classifiers to attack with strong, received table 5"),
        (["--model=x.keras", "--dataset=digits"], "--input_range=LOW,HIGH"),
        (["--model=x.keras", "--input_range=1,0", "--dataset=digits"], "LOW < HIGH"),
        (["--table=1", "--dataset=digits"], "not one of the table's data sets"),
        (["--table=1", "--workdir=x"], "--table: expected no --workdir"),
        (["stray"], "expected flags only, received stray"),
        (["--dataset=tfds:"], "dataset: expected tfds:NAME or tfds:NAME/CONFIG, received tfds:"),
        (["--dataset=tests", "--resize="], "--resize=HEIGHT,WIDTH"),
        (["--attack="], "must not be empty"),
        (["--from="], "must not be empty"),
        (["--save_adversarial="], "must not be empty"),
        (["--classifier=vgg"], r"--classifier=vgg: must be one of d1, d2, .* a \.keras file or module:function"),
        (["--method=distillation", "--temperature=0"], r"--temperature=0\.0: must be above 0"),
        (["--method=contrastive", "--contrastive_margin=0"], r"--contrastive_margin=0\.0: must be above 0"),
        (["--method=defense_gan", "--projection_steps=0"], "--projection_steps=0: 0 is not a positive integer"),
        (["--method=defense_gan", "--projection_restarts=0"], "--projection_restarts=0: 0 is not a positive integer"),
        (["--attack=r_fgs:alpha=-0.1"], r"attack r_fgs: alpha: expected a value of at least 0 .*, received -0\.1"),
        (["--attack=r_fgs:alpha=0.3:epsilon=0.2"], r"alpha: expected a value of at least 0 and below ε 0\.2, received 0\.3"),
        (["--attack=cw_l2:kappa=-1"], r"attack cw_l2: kappa: expected a value of at least 0 .*, received -1\.0"),
        (["--attack=cw_l0:kappa=inf"], "attack cw_l0: kappa: expected a value of at least 0 .*, received inf"),
        (["--attack=cw_linf:c=0"], r"attack cw_linf: c: expected a value above 0 .*, received 0\.0"),
        (["--attack=evading_cw:c=-1"], r"attack evading_cw: c: expected a value .*, received -1\.0"),
        (["--attack=one_pixel:population=3"], "attack one_pixel: population: expected a value of at least 4 .*, received 3"),
        (["--attack=photo:quality=0:attack=fgs"], "attack photo: quality: expected a value of at least 1 .*, received 0"),
        (["--attack=photo:quality=101:attack=fgs"], "quality: expected a value of at least 1 and of at most 100, received 101"),
        (["--weight_l1=-1"], r"--weight_l1=-1: -1\.0 is not a non-negative number"),
        (["--weight_decay=-1"], r"--weight_decay=-1: -1\.0 is not a non-negative number"),
        (["--method=defense_gan", "--gan_penalty=-1"], r"--gan_penalty=-1: -1\.0 is not a non-negative number"),
        (["--dropout=1"], r"--dropout=1\.0: must be below 1"),
        (["--input_dropout=-0.1"], r"--input_dropout=-0\.1: -0\.1 is not a non-negative number"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, message, run):
    code, output, error = run(*arguments)
    assert (code, output, error.count("\n")) == (2, "", 1)
    assert re.search(message, error)


def test_every_flag_is_read_by_a_command_or_goes_with_all():
    own = {name for group in GROUPS for name in group.entries}
    assert set().union(*rules.READ_BY.values()) <= own
    assert own - set().union(*rules.READ_BY.values()) == {
        "data_dir", "download", "runs", "results", "progress", "figures",
    }  # fmt: skip


def test_bad_files_and_directories_are_one_line_and_exit_code_1(run, tmp_path):
    (tmp_path / "file").write_text("")
    networks.released_mnist_generator((8, 8, 1), 4).save(tmp_path / "g.keras")
    assert run(*SMALLEST, "--method=standard", f"--workdir={tmp_path}/run")[0] == 0
    (records,) = (tmp_path / "results").rglob("records.csv")
    damaged = records.read_text().replace("key,", "kee,")
    for arguments, message in (
        (["--dataset=mnist", f"--data_dir={tmp_path}", *SMALLEST], "expected it prepared in"),
        (["--model=g.keras", "--input_range=0,1", "--dataset=digits"], r"expected a \.keras file, found none"),
        ([f"--model={tmp_path}/g.keras", "--input_range=0,1", "--dataset=digits"], "expected a classifier of digits"),
        ([*SMALLEST, "--method=pgd", f"--workdir={tmp_path}/run"], "expected a run with method = pgd, found standard"),
        ([*SMALLEST, f"--workdir={tmp_path}/file/run"], "expected a place to write to, found: Not a directory"),
        ([*SMALLEST, f"--workdir={tmp_path}/{'x' * 300}"], "found: File name too long"),
        ([*SMALLEST, "--runs=/proc/runs"], "expected a place to write to, found"),
        ([*SMALLEST, "--method=standard", f"--workdir={tmp_path}/run"], r"records\.csv: expected the header"),
    ):
        if "records" in message:
            records.write_text(damaged)
        code, output, error = run(*arguments)
        assert (code, output, error.count("\n")) == (1, "", 1), error
        assert re.search(message, error)
    assert records.read_text() == damaged


@pytest.mark.slow
@pytest.mark.parametrize(("method", "file"), [("magnet", "autoencoder_1.keras"), ("defense_gan", "generator.keras")])
def test_damaged_network_of_a_defence_is_one_line_and_exit_code_1(method, file, run, tmp_path):
    """A missing one is saved again from the run's checkpoint; without a checkpoint the run is trained again."""
    settings = dict(steps=1, classifier="mlp", classifier_width=8, validation=10)
    spec = experiment("digits", method, scale="tiny", **settings)
    for own in (spec.behind(), spec):
        train(own, tmp_path / "runs" / own.name, progress=False)
    network = tmp_path / "runs" / spec.name / file
    network.write_bytes(network.read_bytes()[:500])
    asked = [f"--{name}={value}" for name, value in settings.items()]
    code, output, error = run(f"--method={method}", "--scale=tiny", "--noprogress", *asked)
    assert (code, output, error.count("\n")) == (1, "", 1), error
    assert re.search(rf"{file}: expected the file that its run saved, .*, found another", error)
    assert network.stat().st_size == 500


def test_every_flag_is_in_one_group_with_an_example_of_it():
    defined = {
        flag.name
        for module, own in absl_flags.FLAGS.flags_by_module_dict().items()
        if module.startswith("flags")
        for flag in own
    }
    grouped = [name for group in GROUPS for name in group.entries]
    assert sorted(grouped) == sorted(defined - {"width", "from"})  # other names of generator_width and from_run
    for group in GROUPS:
        for name, (example, brief) in group.entries.items():
            assert re.match(rf"--(no)?{name}(=|$)", example) and brief and "\n" not in brief
            flag = absl_flags.FLAGS[name]
            if "=" in example:
                flag.parser.parse(example.partition("=")[2])


def test_help_is_short_and_the_full_one_has_everything(run):
    code, output, error = run("--help")
    assert (code, error) == (0, "") and len(output.splitlines()) <= 60 and max(map(len, output.splitlines())) <= 128
    for group in GROUPS[:-1]:
        assert group.title in output and all(f"  {example} " in output for example, _ in group.entries.values())
    code, full, error = run("--helpfull")
    assert (code, error) == (0, "") and "Exit codes" in full
    assert all(f"  {example}\n" in full for group in GROUPS for example, _ in group.entries.values())
    assert "[default of the recipes: 64]" in full and "number" in full


@pytest.mark.parametrize("command", [["main.py"], ["-m", "adv_networks"]])
def test_program_is_the_same_however_it_is_called(command):
    done = subprocess.run([sys.executable, *command, "stray"], cwd=ROOT, capture_output=True, text=True)
    name = "main.py" if "main.py" in command else "adv-networks"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{name}: expected flags only, received stray (--help lists the flags)\n"


@pytest.mark.slow
def test_missing_data_set_is_the_only_line_of_the_process(tmp_path):
    process = in_a_process("--dataset=mnist", f"--data_dir={tmp_path}", f"--runs={tmp_path}/runs")
    output, error = process.communicate()
    assert (process.returncode, output, error.count("\n")) == (1, "", 1)
    assert error.startswith("main.py: data set mnist: expected it prepared in")


@pytest.mark.slow
def test_interrupted_process_saves_and_the_same_command_goes_on(run, tmp_path):
    small = ("--method=standard", "--scale=tiny", "--steps=400", "--classifier_width=4", "--validation=0", "--test_images=16",
             "--noprogress")  # fmt: skip
    command = (f"--runs={tmp_path}/runs", f"--results={tmp_path}/results", *small)
    process = in_a_process(*command)
    while not any("\n40," in file.read_text() for file in tmp_path.rglob("metrics.csv")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    step = int(re.search(r"stopped at step (\d+) of 400; the same command continues from there", error).group(1))
    assert 40 <= step < 400
    assert "Traceback" not in error
    code, output, error = run(*command)
    assert code == 0, error
    assert "standard (A)" in output
    (file,) = tmp_path.rglob("metrics.csv")
    steps = [int(line.split(",")[0]) for line in file.read_text().splitlines()[1:]]
    assert steps == sorted(set(steps)) and steps[-1] == 400


@pytest.mark.long
def test_libraries_speak_when_asked(tmp_path):
    process = in_a_process("--dataset=mnist", f"--data_dir={tmp_path}", f"--runs={tmp_path}/runs", "--verbosity=0")
    _, error = process.communicate()
    assert "main.py: data set mnist" in error and error.count("\n") > 1


# The options of each list of standard input, in one process: exit code, output, error, and which large libraries are loaded.
IN_ONE_PROCESS = """
import contextlib, io, json, sys
import flags
from absl.testing import flagsaver
from adv_networks import __main__ as program

found = []
for options in json.load(sys.stdin):
    output, error = io.StringIO(), io.StringIO()
    with flagsaver.flagsaver(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
        flags.parse(["main.py", *options])
        code = program.main()
    found.append((code, output.getvalue(), error.getvalue(), sorted({"numpy", "tensorflow"} & set(sys.modules))))
json.dump(found, sys.stdout)
"""


def test_wrong_values_are_refused_before_numpy_and_tensorflow_are_loaded():
    messages = {
        ("--epsilon=8",): r"epsilon: expected a value above 0 and of at most 1, received 8\.0 .*8/255",
        ("--table=6", "--generator_width=8"): "generator_width: expected no override with table 6",
        ("--attack=pdg",): "attack: expected pgd, received pdg",
        ("--attack=pgd:steps=0",): "attack pgd: steps: expected a value of at least 1",
        ("--attack=apgd_ce:norm=l2:epsilon=1",): "norm: expected linf for attack apgd_ce, received l2",
        ("--table=digits", "--attack_suite=strong", "--norm=l2", "--epsilon=1"): "norm: expected linf for attack",
    }
    command, asked = [sys.executable, "-c", IN_ONE_PROCESS], json.dumps(list(messages))
    done = subprocess.run(command, input=asked, cwd=ROOT, capture_output=True, text=True, check=True)
    for message, (code, output, error, loaded) in zip(messages.values(), json.loads(done.stdout), strict=True):
        assert (code, output, error.count("\n"), loaded) == (2, "", 1, []), error
        assert re.search(message, error)


@pytest.mark.slow
def test_running_out_of_memory_is_one_line(run):
    # Its second kernel would have 162 TB, which no process can address.
    code, output, error = run("--method=standard", "--classifier_width=900000", *SMALLEST[:2])
    assert (code, output) == (1, "")
    assert error == "main.py: expected enough memory, ran out of it (a smaller --batch_size or width needs less)\n"


def test_epsilon_is_a_fraction_too_and_data_sets_go_by_any_case(run):
    assert "--epsilon=0.03137" in run("--dataset=MNIST", "--table=grid", "--plan", "--epsilon=8/255")[1]


@pytest.mark.parametrize("asked", ["--list", "--helpfull"])
def test_output_that_is_not_utf_8_is_escaped(asked):
    command = [sys.executable, "main.py", asked]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"") and rb"\u03b5" in done.stdout


@pytest.mark.parametrize("asked", ["--list", "--helpfull"])
def test_output_that_nobody_reads_ends_without_a_word(asked):
    command = f"{shlex.quote(sys.executable)} main.py {asked} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 128 + signal.SIGPIPE) and done.stderr == ""


HOSTILE = ["a b", "it's", "a\nb", "$(touch evil)", "`touch evil`\n", "x # done", "\\n", "\t;\x01", "caf\udce9", '"', "{}"]


@pytest.mark.parametrize("name", HOSTILE)
def test_plan_survives_any_path(name, run, tmp_path):
    runs = tmp_path / "odd" / f"-{name}"
    code, output, error = run("--table=digits", "--plan", f"--runs={runs}", *SMALLEST)
    assert code == 0, error
    commands = [line for line in output.removesuffix("\n").split("\n") if not line.startswith("#")]
    assert len(commands) == 2 and all(line.startswith("python main.py ") for line in commands)
    shown = f"python() {{ printf '%s\\0' \"$@\"; }}; {commands[0]}"
    done = subprocess.run(["bash", "-c", shown], capture_output=True, cwd=tmp_path)
    assert os.fsencode(f"--runs={runs}") in done.stdout.split(b"\0") and not (tmp_path / "evil").exists()
