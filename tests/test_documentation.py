"""The examples of README.md and docs/ run: commands at scale tiny, and the Python.

Those of many trainings run as their plan with the other tests, and to their end by `make examples`.
"""

import csv
import dataclasses
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adv_networks import networks
from adv_networks.experiments import ATTACKS, METHODS, SETTINGS, TABLES, experiments_of
from docs import draw_method, hooks
from tests.conftest import randomised
from tests.training.helpers import undrawn

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHARED_DATA = ROOT.parent / "shared" / "data" / "tfds"
NOT_OF_A_PLAN = ("--epsilons", "--by_class", "--finished_only", "--attack=")
# --table=all by itself takes longer than these do together.
BY_THE_SECOND_PROCESS = "--table=(1|2|3|4|grid|digits|protocol|regulariser)"
SMALL = ["--scale=tiny", "--steps=2", "--noprogress"]
# Of a single run, where the command does not say which networks it trains.
LEAST = ["--classifier=mlp", "--classifier_width=8", "--generators=released_mnist", "--width=4", "--validation=0"]

pytestmark = pytest.mark.usefixtures("shallow")


def commands():
    """The commands of the pages' indented blocks and of their lines, without comments, sizes and data directory, once each."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES).replace("\\\n", " ")
    lines = re.findall(r"^ {4}(?:TF_CONFIG='.*?' +)?python main\.py(.*?)(?: \| .*)?$", text, re.MULTILINE)
    lines += re.findall(r"`python main\.py( -[^`]*)`", text)
    commands = (" ".join(shlex.split(line, comments=True)) for line in lines)
    return sorted({re.sub(r" --(data_dir|steps|test_images|results)=\S+", "", command) for command in commands})


def takes_many_trainings(command):
    return "--table=" in command and not any(word in command for word in ("--plan", "--table=claims", "--verify"))


@pytest.fixture(scope="module", autouse=True)
def toolbox():
    """Imported before capsys captures: ART's import closes the log handlers that there are, and absl's its stream."""
    pytest.importorskip("art")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """What the examples name: FOLDER has images in class folders, mine.keras is a classifier."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog", "emu"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(30):
            pixels = random.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    randomised(networks.d1((28, 28, 1), 10, 2)).save(tmp_path / "mine.keras")
    return {"FOLDER": str(tmp_path / "images"), "mine.keras": str(tmp_path / "mine.keras")}


def small(command, places):
    """The command's arguments with the places' names replaced, at the least size; skips it where its data is missing."""
    if "--model" in command:
        sizes = ["--test_images=16", "--noprogress"]
    else:
        sizes = [] if "--report" in command else [*SMALL, "--test_images=16"]
        if "--scale=paper" in command:
            sizes.remove("--scale=tiny")
        if not any(word in command for word in ("--table", "--report", "--list")):
            sizes += ["--validation=0"] if "--classifier" in command else LEAST
    if "=tfds:" in command:
        pytest.skip("the data set is not beside this checkout")
    if "mnist" in command or (takes_many_trainings(command) and "digits" not in command and "FOLDER" not in command):
        if not SHARED_DATA.exists():
            pytest.skip("the prepared data sets are not beside this checkout")
        sizes.append(f"--data_dir={SHARED_DATA}")
    given = shlex.split(command)
    for name, place in places.items():
        given = [argument.replace(name, place) for argument in given]
    return [*given, *sizes]


def test_readme_is_short_and_has_what_a_reader_looks_for():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 100
    assert "@inproceedings" in text and "openreview.net" in text and "method-dark.svg" in text
    bullets = [line for line in text.partition("## Where to go")[2].splitlines() if line.startswith("- ")]
    assert len(bullets) == 5 and all("](" in line for line in bullets)


def anchors(page):
    """What the headings of a page can be linked to by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


LINKING = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for link in links:
        if not re.match(r"https?:|mailto:", link):
            place, _, anchor = link.partition("#")
            target = (page.parent / place).resolve() if place else page
            assert target.exists(), f"{link}: nothing is there"
            assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def test_pictures_of_the_method_are_those_of_the_script():
    for name, colours in draw_method.THEMES.items():
        committed = (ROOT / "docs" / "pictures" / f"method-{name}.svg").read_text(encoding="utf-8")
        assert draw_method.draw(colours) == committed, "expected the picture as `make picture` draws it"


def test_site_has_every_page_once_and_its_own_links():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r": ([\w-]+\.md)$", text, re.MULTILINE)
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} | set(hooks.PAGES.values()) | {"api.md"}
    assert sorted(listed) == sorted(pages)
    assert hooks.rewritten("[a](docs/runs.md#many-runs) [b](results/cpu/report.html) [c](https://x)", "README.md") == (
        "[a](runs.md#many-runs) [b](files/results/cpu/report.html) [c](https://x)"
    )
    assert hooks.rewritten("[a](../README.md#a-result) [b](../benchmarks) [c](tables.md) [d](#x)", "docs/results.md") == (
        "[a](index.md#a-result) [b](benchmarks.md) [c](tables.md) [d](#x)"
    )
    for source in [*hooks.PAGES, *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]:
        assert all((ROOT / target).is_file() for target in hooks.linked(source)), source
    assert all(f"`{name}`" in hooks.attacks() for name in ATTACKS) and all(f"`{name}`" in hooks.defences() for name in METHODS)
    assert all(re.search(rf"`--(no)?{name}[=`]", hooks.flags()) for name in SETTINGS)


@pytest.mark.long
def test_demo_has_the_order_of_the_page_and_about_its_numbers(run):
    """Another processor trains other networks: A is within some points, C within more, and the order is the same."""
    page = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
    code, output, error = run("--table=digits", "--steps=250", "--noprogress")
    assert (code, error) == (0, "")

    def numbers(text):
        lines = re.findall(r"^((?:standard|adversarial) [\w ]*\([AC]\)) +([\d. ]+)$", text, re.MULTILINE)
        return {label: list(map(float, own.split())) for label, own in lines[:2]}

    expected, found = numbers(page), numbers(output)
    assert found.keys() == expected.keys() == {"standard (A)", "adversarial network (C)"}
    a, c = found.values()
    assert min(a[0], c[0]) > 93, "expected both to label clean images"
    assert all(of_c > of_a + 10 for of_a, of_c in zip(a[1:], c[1:], strict=True)), "expected C above A under every attack"
    for label, allowed in (("standard (A)", 10), ("adversarial network (C)", 20)):
        assert all(abs(now - then) < allowed for now, then in zip(found[label], expected[label], strict=True)), label


def test_pages_have_the_commands_that_this_file_looks_for():
    found = commands()
    assert len(found) > 20 and "" in found and any("--attack_suite=strong" in command for command in found)
    assert "--table=3" in found, "expected the commands within lines too"


@pytest.mark.parametrize(
    "command",
    [
        command if takes_many_trainings(command) or "--plan" in command else pytest.param(command, marks=pytest.mark.long)
        for command in commands()
    ],
)
def test_command_of_the_pages_runs(command, run, places, tmp_path):
    if "--strategy=multi_worker" in command:
        pytest.skip("two processes run this in test_workers.py")
    if "--help" in command or "--verify" in command or command == "--dataset=mnist --method=advnet":
        pytest.skip("absl prints the help and exits; test_verification.py and test_main.py run the others")
    arguments = small(command, places)
    if "--report" in command:
        # To draw all of them takes half a minute.
        for name in ("records.csv", "table1.csv", "claims.csv", "checks.csv"):
            (tmp_path / "results" / "cpu").mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "results" / "cpu" / name, tmp_path / "results" / "cpu")
    if takes_many_trainings(command):
        arguments = [argument for argument in arguments if not argument.startswith(NOT_OF_A_PLAN)] + ["--plan"]
    code, output, error = run(*arguments)
    assert (code, error) == (0, ""), error
    assert output.strip()


@pytest.fixture
def few_rows(monkeypatch):
    """Tables of the first and the last of their rows, on the first of their data sets: what more take is time alone."""
    for name, table in TABLES.items():
        rows = table.rows[:1] + table.rows[1:][-1:]
        monkeypatch.setitem(TABLES, name, dataclasses.replace(table, rows=rows, datasets=table.datasets[:1]))


@pytest.fixture(scope="session")
def shared_runs(tmp_path_factory):
    """Of one process: those of the tables that `--table=all` makes run in one, and train each run once."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=pytest.mark.xdist_group(str(bool(re.search(BY_THE_SECOND_PROCESS, command)))))
        for command in commands()
        if takes_many_trainings(command)
    ],
)
def test_command_of_many_trainings_runs_to_its_end(command, run, places, shared_runs, few_rows):
    code, output, error = run(*small(command, places), f"--runs={shared_runs}")
    assert (code, error) == (0, ""), error
    assert output.strip()


def test_table_of_the_regulariser_has_the_numbers_of_its_results():
    results = ROOT / "results" / "cpu-steps=1500"
    with (results / "regulariser.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["dataset"] == "mnist"]
    measured = {(line["row"], line["column"]): line["measured_percent"] for line in lines}
    norms = ("g_gradient_norm_first_tenth", "g_gradient_norm_last_tenth")
    with (results / "regulariser-training.csv").open() as file:
        expected = [
            [f"{float(measured[line['row'], column]):.2f}" for column in ("No Noise", "FGS", "PGD", "G")]
            + [f"{float(line[norm]):.2f}" for norm in norms]
            + [f"{float(line['seconds_per_step']):.3f}"]
            for line in csv.DictReader(file)
        ]
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| C with .*\n.*\n((?:\| .*\n)+)", page, re.MULTILINE)
    assert [re.findall(r"[\d.]+(?= \|)", line.split("|", 2)[2]) for line in table.splitlines()] == expected


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_clean_removes_what_the_makefile_made_and_leaves_other_runs(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    demo = {spec.name for spec in experiments_of(TABLES["digits"].cells("cpu", steps=250))}
    made = [".venv", "adv_networks/__pycache__", "runs/demo-results", *(f"runs/{name}" for name in demo)]
    kept = ["adv_networks", "runs/mnist-advnet-cpu-s0", "results/cpu"]
    for place in (*made, *kept):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "file").write_text("")
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert not any((tmp_path / place).exists() for place in made)
    assert all((tmp_path / place / "file").exists() for place in kept)


@pytest.mark.long
def test_python_of_the_pages_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pages = [page for page in PAGES if page.name != "extending.md"]  # whose code tests/test_extending.py puts in its place
    ran, game = 0, 'experiment("digits", "advnet", '
    smaller = f'{game}scale="tiny", steps=2, generators=("released_mnist",), generator_width=2, validation=0, '
    for page in pages:
        own = {}  # A page's blocks go on from one another.
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            small = block.replace("validation=0", "").replace(game, smaller)
            small = small.replace("steps=40, restarts=5", "steps=2, restarts=2").replace("epochs=20", "epochs=1")
            small = small.replace('("digits", "train")', '("digits", "train", limit=264)')
            with undrawn():
                exec(compile(small, page.name, "exec"), own)
            ran += 1
    assert ran > 5
    assert 0 <= float(capsys.readouterr().out.split()[-1]) <= 1
