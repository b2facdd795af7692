"""docs/extending.md as it is written: its attack and its defence in a copy of the library, by one file and one line each."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the library with both, and a test of the attack; runs a command there."""
    place = tmp_path_factory.mktemp("extended")
    for name in ("adv_networks", "flags"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "main.py", place)
    attack, attack_line, test, defence, defence_line = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for package, name, text, line in (
        ("attacks", "sign_noise", attack, attack_line),
        ("defences", "noise_training", defence, defence_line),
    ):
        assert f"`adv_networks/{package}/{name}.py`" in PAGE
        (place / "adv_networks" / package / f"{name}.py").write_text(text, encoding="utf-8")
        with (place / "adv_networks" / package / "__init__.py").open("a", encoding="utf-8") as file:
            file.write(line)
    imports = "import keras\nimport numpy as np\nfrom adv_networks import attacks\n\n\n"
    (place / "test_sign_noise.py").write_text(imports + test, encoding="utf-8")

    def run(*command):
        done = subprocess.run([sys.executable, *command], cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.place = place
    return run


@pytest.mark.slow
def test_they_are_listed_and_have_flags(extended):
    listed = extended("main.py", "--list")
    assert re.search(r"^  sign_noise +.*share=1\.0", listed, re.MULTILINE)
    assert re.search(r"^  noise_training +N +training on images with Gaussian noise$", listed, re.MULTILINE)
    helped = extended("main.py", "--helpfull")
    assert "--training_noise" in helped and "noise_training" in helped


@pytest.mark.slow
def test_they_are_trained_attacked_tabled_and_recorded(extended):
    small = ("--scale=tiny", "--steps=3", "--validation=0", "--noprogress", "--training_noise=0.2")
    printed = extended("main.py", "--method=noise_training", "--attack=sign_noise:share=0.5", *small)
    assert "noise_training (N)" in printed and "sign_noise:share=0.5 (linf ≤ 0.15)" in printed
    assert (extended.place / "runs" / "digits-noise_training-tiny-s0-steps=3-training_noise=0.2-validation=0").is_dir()
    (file,) = (extended.place / "results").rglob("records.csv")
    with file.open(newline="", encoding="utf-8") as handle:
        records = {line["attack"]: line for line in csv.DictReader(handle)}
    found = json.loads(records["sign_noise:share=0.5"]["attack_settings"])
    assert found == {"kind": "sign_noise", "epsilon": 0.15, "seed": 0, "share": 0.5}


@pytest.mark.slow
def test_the_attacks_own_test_passes(extended):
    assert "1 passed" in extended("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_sign_noise.py")
