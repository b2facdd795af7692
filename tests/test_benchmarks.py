"""The benchmark goes on where a process ends early or hangs, loads no large library itself, and keeps older lines."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from adv_networks.errors import UsageError
from benchmarks import comparison, machine, run, scaling, side_by_side
from benchmarks.comparison import Options
from benchmarks.parts import attacks, start, steps
from benchmarks.processes import Failed, Task, computed
from benchmarks.results_file import write_lines

MODULE = "tests.test_benchmarks"
EVERY_LIBRARY = {"torch", "foolbox", "art", "torchattacks"}


def lasting():
    """A contender that does nothing."""
    return lambda: None


def crashing(after):
    """One that is killed in the call of that number."""
    calls = iter(range(1, 10**9))
    return lambda: os.kill(os.getpid(), signal.SIGSEGV) if next(calls) == after else None


def raising():
    """One that cannot be made."""
    raise UsageError("not installed")


def hanging():
    """One that does not end."""
    return lambda: time.sleep(600)


def setting(name):
    """The value of an environment variable."""
    return os.environ.get(name)


def task(function, **arguments):
    return Task(MODULE, function, arguments)


@pytest.fixture
def contenders():
    return {
        "ours": task("lasting"),
        "crashes at first": task("crashing", after=1),
        "crashes later": task("crashing", after=5),
        "raises": task("raising"),
        "other": task("lasting"),
    }


def read(file):
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_contenders_that_end_early_leave_the_others_alone(contenders):
    seconds, failures = side_by_side.seconds_per_call(contenders, rounds=4, least=0)
    assert {name: len(times) for name, times in seconds.items()} == {"ours": 4, "other": 4}
    assert failures == {
        "crashes at first": "ended by SIGSEGV",
        "crashes later": "ended by SIGSEGV",
        "raises": "ended with exit code 1",
    }


def test_contender_that_hangs_is_given_up():
    times = side_by_side.seconds_per_call({"ours": task("hanging")}, rounds=2, least=0, timeout=2)
    assert times == ({}, {"ours": "no answer within 2 s"})


def test_environment_is_the_contenders_alone():
    before = dict(os.environ)
    own = Task(MODULE, "setting", dict(name="MALLOC_ARENA_MAX"), {"MALLOC_ARENA_MAX": "1"})
    assert computed(own) == "1"
    assert computed(task("setting", name="MALLOC_ARENA_MAX")) is None
    assert os.environ == before


def test_lines_of_other_machines_stay_and_failures_are_said(contenders, tmp_path):
    results = tmp_path / "results.csv"
    # As older versions wrote them, without the newer columns.
    known = dict(part="steps", case="a step", contender="ours", value="9", unit="seconds")
    write_lines(results, [known | dict(machine="another"), known | dict(machine=machine.machine())])
    parts = {"steps": lambda options: comparison.compared("steps", "a step", contenders, options)}
    assert run.main(["--only=steps", "--rounds=1"], results, parts) == 0
    lines = read(results)
    assert lines[0] == dict.fromkeys(run.FIELDS, "") | known | dict(machine="another")
    found = {line["contender"]: line for line in lines[1:]}
    assert len(lines) == 1 + len(found) == 1 + len(contenders)
    assert {line["machine"] for line in found.values()} == {machine.machine()}
    assert (found["ours"]["ratio_to_ours"], found["ours"]["rounds"]) == ("1.0", "1")
    assert found["ours"]["commit"] == machine.commit()
    assert time.strptime(found["ours"]["date"], "%Y-%m-%d")
    assert float(found["other"]["value"]) >= 0
    assert (found["raises"]["value"], found["raises"]["note"]) == ("failed", "ended with exit code 1")


def test_one_round_has_a_ratio_and_more_have_quartiles():
    assert side_by_side.quartiles([3.0], [2.0]) == [1.5, 1.5, 1.5]
    assert side_by_side.quartiles([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5) == [2.0, 3.0, 4.0]


def test_floor_that_fails_is_a_note_beside_the_time():
    least = comparison.floors({"a step": dict(dataset="unknown", method="pgd", batch=1)})["a step"]
    assert least == comparison.Floor(None, "no floor: ended with exit code 1")
    times = side_by_side.Times({"ours": [2.0, 2.0]}, {})
    (line,) = comparison.lines_of("steps", "a step", ["ours"], times, least)
    assert (line["value"], line["note"], line.get("efficiency")) == (2.0, "no floor: ended with exit code 1", None)


def test_efficiency_is_the_floor_divided_by_our_time():
    times = side_by_side.Times({"ours": [2.0, 4.0, 3.0], "other": [6.0, 6.0, 6.0]}, {})
    ours, other = comparison.lines_of("steps", "a step", ["ours", "other"], times, comparison.Floor(1.5))
    assert (ours["value"], ours["floor_seconds"], ours["efficiency"], ours["rounds"]) == (3.0, 1.5, 0.5, 3)
    assert (other["ratio_to_ours"], other["quartiles"]) == (2.0, "1.75 to 2.5")
    assert "efficiency" not in other


def test_commands_that_fail_or_hang_are_said():
    with pytest.raises(Failed, match=r"^ended with exit code 3$"):
        start.seconds_of_code("raise SystemExit(3)")
    with pytest.raises(Failed, match=r"^no answer within 0\.2 s$"):
        start.seconds_of_code("import time; time.sleep(60)", timeout=0.2)
    with pytest.raises(Failed, match=r"^ended with exit code 2$"):
        start.seconds_to_first_step("no-such-data-set")
    with pytest.raises(Failed, match=r"^no answer within 0\.2 s$"):
        start.seconds_to_first_step("mnist", timeout=0.2)

    def failing():
        raise Failed("ended with exit code 3")

    assert start.in_turns({"ours": lambda: 1.0, "fails": failing}, 2) == (
        {"ours": [1.0, 1.0]},
        {"fails": "ended with exit code 3"},
    )
    line = comparison.measured(dict(case="a number"), failing)
    assert line == dict(case="a number", value="failed", note="ended with exit code 3")


def test_picture_leaves_out_what_failed(tmp_path):
    seconds = {what: {value: float(value) for value in values} for what, (_, values) in scaling.VARIED.items()}
    del seconds["batch size"][16]
    seconds["replicas"] = {}
    scaling.draw(tmp_path / "scaling.png", seconds)
    assert (tmp_path / "scaling.png").stat().st_size > 0


def test_quick_run_has_only_its_parts_and_contenders(tmp_path):
    ran = []

    def noted(name, options):
        ran.append((name, options.quick, options.rounds_of(15)))
        yield dict(part=name, case=name, contender="ours", value=1, unit="seconds")

    parts = {name: lambda options, name=name: noted(name, options) for name in run.PARTS}
    run.main(["--quick"], tmp_path / "results.csv", parts)
    assert ran == [("steps", True, 3), ("attacks", True, 3)]
    of_steps = [steps.step_contenders(*case, EVERY_LIBRARY) for case in steps.CASES]
    of_attacks = [attacks.attack_contenders(name, EVERY_LIBRARY) for name in ("pgd", "fgs")]
    for all_of_them in (*of_steps, *of_attacks):
        chosen = Options(quick=True).chosen(all_of_them)
        assert set(chosen) == {"ours"} | comparison.QUICK & set(all_of_them)
        assert len(chosen) >= 3
        assert Options().chosen(all_of_them) == all_of_them
    named = {name for own in (*of_steps, *of_attacks) for name in own}
    assert named > comparison.QUICK


def test_check_finds_what_is_slower_than_plain(tmp_path, capsys):
    def part(options):
        ratios = {"slower": [0.96], "as fast": [0.98], "faster": [1.5]}
        for case, seconds in ratios.items():
            times = side_by_side.Times({"ours": [1.0], "ours, plain": seconds, "PyTorch": [0.5]}, {})
            yield from comparison.lines_of("steps", case, ["ours", "ours, plain", "PyTorch"], times)
        failed = side_by_side.Times({"ours": [1.0]}, {"ours, plain": "ended by SIGSEGV"})
        yield from comparison.lines_of("steps", "failed", ["ours", "ours, plain"], failed)

    assert run.main(["--only=steps"], tmp_path / "results.csv", {"steps": part}) == 0
    capsys.readouterr()
    assert run.main(["--only=steps", "--check"], tmp_path / "results.csv", {"steps": part}) == 1
    *_, last = capsys.readouterr().out.splitlines()
    assert last == "slower: ours, plain takes 0.96 of ours' time, expected at least 0.97"
    assert len(comparison.slower_than_plain(part(Options()))) == 1


def test_machine_tells_processors_of_one_name_apart(monkeypatch):
    text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n"
    assert machine.generation(text) == ["family 25", "model 17"]
    assert machine.generation("Features : fp asimd\n") == []
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("LD_PRELOAD", "libnone.so")
    assert {"MALLOC_ARENA_MAX=1", "LD_PRELOAD=libnone.so"} <= set(machine.machine().split(", "))


def test_commit_says_whether_the_checkout_has_changes(tmp_path):
    def git(*words):
        own = ("-c", "user.name=A", "-c", "user.email=a@b.c")
        return subprocess.run(["git", *own, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    assert machine.commit(tmp_path) == ""
    git("init", "--quiet")
    (tmp_path / "benchmarks").mkdir()
    for name in ("code.py", "benchmarks/results.csv"):
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "--quiet", "--message=First")
    (tmp_path / "benchmarks" / "results.csv").write_text("2")
    assert machine.commit(tmp_path) == git("rev-parse", "--short", "HEAD")
    (tmp_path / "code.py").write_text("2")
    assert machine.commit(tmp_path) == git("rev-parse", "--short", "HEAD") + "+"


# What happens in the benchmark's own process is looked at from outside, because the tests load TensorFlow themselves.
ALONE = """
import json, os, pathlib, sys
before = dict(os.environ)
from benchmarks import run
from benchmarks.comparison import Options

def part(options):
    from benchmarks.comparison import floors
    from benchmarks.parts.attacks import attack_contenders
    from benchmarks.nearest import contenders
    {work}
    yield dict(part="steps", case="none", contender="ours", value=1, unit="seconds")

if __name__ == "__main__":
    run.main(["--only=steps"], pathlib.Path(sys.argv[1]), dict(steps=part))
    loaded = [name for name in ("tensorflow", "keras", "torch") if name in sys.modules]
    print(json.dumps([loaded, {{key: value for key, value in os.environ.items() if before.get(key) != value}}]))
"""


def loaded_alone(work, tmp_path):
    """Which large libraries a run has loaded in its own process, and which environment variables it has changed."""
    script = tmp_path / "alone.py"
    script.write_text(ALONE.format(work=work))
    root = Path(run.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, script, tmp_path / "results.csv"],
        cwd=root,
        env={key: value for key, value in os.environ.items() if not key.startswith("TF_")} | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_run_itself_loads_no_large_library(tmp_path):
    work = "contenders({'foolbox', 'art'}); floors({'a step': dict(dataset='unknown', method='pgd', batch=1)})"
    assert loaded_alone(work, tmp_path) == [[], {}]


@pytest.mark.slow
def test_floor_and_roofline_load_libraries_only_in_their_own_processes(tmp_path):
    work = "; ".join(
        (
            "line = next(run.PARTS['roofline'](Options()))",
            "assert (line['case'], line['value']) == ('mnist advnet k=8 on H100', 0.0066)",
            "least = floors({'a step': dict(dataset='mnist', method='standard', batch=2)})['a step']",
            "assert least.seconds > 0",
        )
    )
    assert loaded_alone(work, tmp_path) == [[], {}]


@pytest.mark.slow
def test_operations_of_a_step_are_all_counted():
    from benchmarks.operations import operations_of

    def counted(*step):
        kinds = Counter()
        for operation, count in operations_of(*step, batch=2).items():
            kinds[operation.kind] += count
        return kinds

    # D1 has two convolutions and a product, each with ReLU and pooling but the last; the image needs no gradient.
    standard = {"forward": 3, "gradient by input": 2, "gradient by kernel": 3, "ReLU": 2, "pooling": 2}
    assert counted("mnist", "standard") == standard
    # Each of the ten steps to the adversarial images needs the gradient by the image, and none by the kernels.
    crafting = {"forward": 30, "gradient by input": 30, "ReLU": 20, "pooling": 20}
    assert counted("mnist", "pgd") == Counter(standard) + Counter(crafting)
    # D2 has 22 convolutions, each with BN, and ReLU after the first and twice a block.
    d2 = {"forward": 23, "gradient by input": 22, "gradient by kernel": 23, "BN": 22, "ReLU": 19, "pooling": 1}
    assert counted("cifar10", "standard") == d2


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 2])
def test_operations_alone_compute_every_gradient(parts):
    from benchmarks.operations import BN, POOLING, RELU, Operation
    from benchmarks.operations_tensorflow import call_of

    images = (4, 6, 6, 8)
    for kind, outputs, window, weights in (
        (BN, images, 0, 2),
        (RELU, images, 0, 0),
        (POOLING, (4, 3, 3, 8), 2, 0),
        (POOLING, (4, 8), 0, 0),
    ):
        forward, gradients = call_of(Operation(kind, images, outputs, stride=window, backward=True), parts)()
        assert [tuple(part.shape) for part in forward] == [(4 // parts, *outputs[1:])] * parts
        assert [tuple(part.shape) for part in gradients[:parts]] == [(4 // parts, *images[1:])] * parts
        assert [tuple(own.shape) for own in gradients[parts:]] == [(8,)] * weights
    by_kernel = call_of(Operation("gradient by kernel", images, (4, 6, 6, 5), (3, 3, 8, 5)), parts)()
    assert tuple(by_kernel.shape) == (3, 3, 8, 5)


def test_allocators_are_set_in_the_environment():
    found = steps.allocators()
    assert found["1 arena"] == {"MALLOC_ARENA_MAX": "1"}
    assert set(found["larger thresholds"]) == {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"}
    own = steps.own_step("mnist", "standard", found["2 arenas"])
    assert own.environment == {"MALLOC_ARENA_MAX": "2"}
    assert own.arguments == dict(dataset="mnist", method="standard")
