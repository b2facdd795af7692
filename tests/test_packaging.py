"""The wheel is whole and works away from the checkout; what the project says of its versions and targets agrees."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import adv_networks

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = [version for version in map("3.{}".format, range(8, 21)) if version in SpecifierSet(PROJECT["requires-python"])]

# What the wheel has: the library, and the command line that `adv-networks` needs.
PACKAGES = ("adv_networks", "flags")
# Run by the environment that has the wheel.
AWAY = """
import json, sys
from importlib import resources
import keras, numpy as np
import adv_networks
from adv_networks import attacks, evaluation

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
x = np.random.default_rng(0).random((40, 8, 8, 1), np.float32)
y = np.argmax(model(x), 1)
adversarial = np.asarray(attacks.pgd(model, x, y, 0.3))
json.dump({
    "file": adv_networks.__file__,
    "version": adv_networks.__version__,
    "published": len((resources.files(adv_networks) / "published" / "tables.csv").read_text(encoding="utf-8").splitlines()),
    "farthest": float(np.max(np.abs(adversarial - x))),
    "clean": evaluation.accuracy(model, x, y),
    "attacked": evaluation.accuracy(model, adversarial, y),
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, as building leaves files behind."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", source, "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", built)
    (file,) = built.glob("*.whl")
    return file


def pip(*arguments):
    done = subprocess.run([sys.executable, "-m", "pip", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_wheel_has_every_file_of_the_library_and_nothing_else(wheel):
    files = [file for name in PACKAGES for file in (ROOT / name).rglob("*") if file.is_file()]
    expected = {file.relative_to(ROOT).as_posix() for file in files if "__pycache__" not in file.parts}
    assert {"adv_networks/py.typed", "adv_networks/published/tables.csv"} < expected
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == expected


def test_wheel_says_what_it_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    assert metadata["Version"] == adv_networks.__version__
    assert SpecifierSet(metadata["Requires-Python"]) == SpecifierSet(PROJECT["requires-python"])
    needed = {Requirement(text).name.lower() for text in metadata.get_all("Requires-Dist") if "extra" not in text}
    assert {"tensorflow", "keras", "numpy"} < needed and not {"pytest", "foolbox", "mypy"} & needed
    assert set(metadata.get_all("Provides-Extra")) == {"attacks", "browser", "check", "dev", "docs", "notebook", "test"}


@pytest.mark.slow
def test_wheel_attacks_and_evaluates_a_model_away_from_the_checkout(wheel, tmp_path):
    venv.create(tmp_path / "environment")
    own = Path(sysconfig.get_path("purelib", "venv", {"base": str(tmp_path / "environment")}))
    # The libraries are this environment's; its own .pth files, one of which may lead to a checkout, are not read from there.
    (own / "libraries.pth").write_text("".join(f"{sysconfig.get_path(kind)}\n" for kind in ("purelib", "platlib")))
    pip("install", wheel, "--no-deps", "--no-index", "--target", own)
    python = tmp_path / "environment" / "bin" / "python"
    # The program is there by its name and as a module, and knows what the library declares.
    script = own / "bin" / "adv-networks"
    assert script.exists()
    helped = subprocess.run([python, "-I", "-m", "adv_networks", "--list"], cwd=tmp_path, capture_output=True, text=True)
    assert helped.returncode == 0 and "advnet" in helped.stdout, helped.stderr
    done = subprocess.run([python, "-I", "-c", AWAY], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["file"]) == own / "adv_networks" / "__init__.py"
    assert found["version"] == adv_networks.__version__
    assert found["published"] == 207  # a header and the 206 published accuracies
    assert 0.29 < found["farthest"] <= 0.3 + 1e-6
    assert found["clean"] == 1 and found["attacked"] < 0.5


def interpreter(version):
    """A Python of that version that runs, None if there is none: on the path, or one that pyenv keeps."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for found in (sys.executable, shutil.which(f"python{version}"), *sorted(kept.glob(f"{version}.*/bin/python"))):
        asked = found and subprocess.run([found, "-V"], capture_output=True, text=True).stdout
        if asked and asked.startswith(f"Python {version}."):
            return found
    return None


@pytest.mark.parametrize(
    "version",
    [
        version if version == "{}.{}".format(*sys.version_info) else pytest.param(version, marks=pytest.mark.slow)
        for version in PYTHONS
    ],
)
def test_code_compiles_without_a_warning_under_every_python_that_is_stated(version, tmp_path):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    names = (*PACKAGES, "main.py", "tests", "benchmarks", "docs")
    places = [ROOT / name for name in names if (ROOT / name).exists()]
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    command = [python, "-W", "error", "-m", "compileall", "-q", *places]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.rglob("*.pyc"))


def pins(version):
    """The lines of constraints.txt that hold for a version of Python on Linux, as requirements by their names."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    environment = {"python_version": version, "python_full_version": f"{version}.0", "sys_platform": "linux"}
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    found = [pin for pin in found if pin.marker is None or pin.marker.evaluate(environment)]
    by_name = {pin.name.replace("_", "-").lower(): pin for pin in found}
    assert len(by_name) == len(found)
    return by_name


@pytest.mark.parametrize("version", PYTHONS)
def test_constraints_have_an_exact_version_of_every_requirement(version):
    by_name = pins(version)
    assert all(re.fullmatch(r"==[^*]+", str(pin.specifier)) for pin in by_name.values())
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]:
        requirement = Requirement(text)
        if requirement.name != PROJECT["name"]:
            pin = str(by_name[requirement.name.replace("_", "-").lower()].specifier)
            assert pin.removeprefix("==") in requirement.specifier, f"{text} allows no {pin}"


def test_pythons_that_are_stated_agree():
    classifiers = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if ":: Python :: 3." in text]
    assert classifiers == PYTHONS == ["3.11", "3.12", "3.13"]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (tested,) = re.findall(r"python: \[(.*)\]", workflow)
    assert json.loads(f"[{tested}]") == PYTHONS


def test_version_is_that_of_the_changelog_and_of_the_citation():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?{re.escape(adv_networks.__version__)}\b", changelog, re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"^version: {re.escape(adv_networks.__version__)}$", citation, re.MULTILINE)


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_targets_that_are_named_anywhere_exist_and_help_lists_them():
    listed = subprocess.run(["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^  make ([a-z-]+)\t\w", listed, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(phony.split()) == targets
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / ".ci" / "run", ROOT / ".github" / "workflows" / "ci.yml"]
    for page in pages:
        named = re.findall(r"(?:`|^ {4}|run: |^)make ([a-z]+(?:-[a-z]+)*)\b", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(named) <= targets, page


def test_each_test_is_run_by_one_target_and_by_ci():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    chosen = re.findall(r"^\t\$\(VENV\)/bin/python -m pytest .*?-m (?:'([^']+)'|(\w+))", makefile, re.MULTILINE)
    assert len(chosen) == 3
    for slow, long in itertools.product([False, True], repeat=2):
        expressions = [quoted or word for quoted, word in chosen]
        runs = sum(bool(eval(expression, dict(slow=slow, long=long))) for expression in expressions)
        assert runs == 1, f"expected one target for tests with slow = {slow} and long = {long}, found {runs}"
    assert re.search(r"^test-all: test\b", makefile, re.MULTILINE)
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "make test-all" in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert re.search(r"run: make test-all\b", workflow) and re.search(r"run: make examples\b", workflow)


@pytest.mark.parametrize("there", [[], ["absl", "numpy"]], ids=["nothing", "no TensorFlow"])
def test_main_without_its_environment_is_one_line_that_says_what_makes_one(there, tmp_path):
    for package in there:
        (tmp_path / package).mkdir()
    # -S leaves out the installed packages.
    done = subprocess.run(
        [sys.executable, "-S", "main.py", "--list"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert done.stderr.startswith("main.py: expected ") and "tensorflow" in done.stderr and "`make demo`" in done.stderr
    assert ("numpy" in done.stderr) == (not there)
