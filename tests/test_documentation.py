"""The examples of README.md and docs/ run: commands at scale tiny, those of many trainings as their plan, and the Python."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adv_networks import networks
from tests.conftest import randomised

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHARED_DATA = ROOT.parent / "shared" / "data" / "tfds"
SMALL = ["--scale=tiny", "--steps=2", "--width=1", "--noprogress"]
# Each of these has a test of its own that runs it, or its parts, to the end; here it is planned.
PLANNED = ("--table=1", "--table=4", "--table=all", "--table=grid", "--table=protocol", "--table=regulariser")

pytestmark = pytest.mark.usefixtures("shallow")


def commands():
    """The commands of the pages' indented blocks, without their comments, once each."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES).replace("\\\n", " ")
    lines = re.findall(r"^ {4}(?:TF_CONFIG='.*?' +)?python main\.py(.*?)(?: \| .*)?$", text, re.MULTILINE)
    return sorted({" ".join(shlex.split(line, comments=True)) for line in lines})


@pytest.fixture(scope="module", autouse=True)
def toolbox():
    """Imported before capsys captures: ART's import closes the log handlers that there are, and absl's its stream."""
    pytest.importorskip("art")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """What the examples name: FOLDER has images in class folders, DIR is the data directory, mine.keras a classifier."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog", "emu"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(30):
            pixels = random.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    randomised(networks.d1((28, 28, 1), 10, 2)).save(tmp_path / "mine.keras")
    return {"FOLDER": str(tmp_path / "images"), "DIR": str(SHARED_DATA), "mine.keras": str(tmp_path / "mine.keras")}


def test_pages_have_the_commands_that_this_file_looks_for():
    found = commands()
    assert len(found) > 15 and "" in found and any("--attack_suite=strong" in command for command in found)


@pytest.mark.parametrize("command", commands())
def test_command_of_the_pages_runs(command, run, places, tmp_path):
    arguments = shlex.split(command)
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
    needs_data = any(name in command for name in ("mnist", "cifar", "DIR"))
    if "--strategy=multi_worker" in command:
        pytest.skip("two processes run this in test_workers.py")
    if "--help" in command or "--verify" in command or command == "--dataset=mnist --method=advnet":
        pytest.skip("absl prints the help and exits; test_verification.py and test_main.py run the others")
    if needs_data and not SHARED_DATA.exists():
        pytest.skip("the prepared data sets are not beside this checkout")
    if "--report" in command:
        shutil.copytree(ROOT / "results", tmp_path / "results")
    small = [] if "--model" in command else SMALL
    small = (
        [] if "--report" in command else [*small, "--test_images=16"] + ([f"--data_dir={SHARED_DATA}"] if needs_data else [])
    )
    small = [option for option in small if not any(option.split("=")[0] == given.split("=")[0] for given in arguments)]
    planned = ["--plan"] if set(arguments) & set(PLANNED) and "--plan" not in arguments else []
    arguments = [argument for argument in arguments if not planned or not argument.startswith(("--epsilons", "--by_class"))]
    code, output, error = run(*arguments, *small, *planned)
    assert (code, error) == (0, ""), error
    assert output.strip()


def test_python_of_the_pages_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = [block for page in PAGES for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)]
    assert blocks
    for block in blocks:
        small = block.replace('experiment("digits", "advnet", ', 'experiment("digits", "advnet", scale="tiny", steps=2, ')
        exec(compile(small.replace("steps=40, restarts=5", "steps=2, restarts=2"), "README.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out.split()[-1]) <= 1
