"""--demo: what the package ships is what is committed, and shows what the paper is about."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adv_networks.commands import demo
from adv_networks.experiments import experiment

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "cpu"


def test_networks_are_the_committed_ones():
    for name in demo.NETWORKS:
        file = f"{experiment('mnist', name, scale='cpu').name}.keras"
        assert (ROOT / "adv_networks" / "sample" / file).read_bytes() == (RESULTS / "weights" / file).read_bytes()


@pytest.mark.slow
def test_demo_prints_what_the_table_leads_one_to_expect_and_draws_it(run, tmp_path):
    code, output, error = run("--demo")
    assert (code, error) == (0, "")
    found = {line[2]: [float(number) for number in re.findall(r"([\d.]+)%", line)] for line in output.splitlines()[2:5]}
    with (RESULTS / "table1.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["dataset"] == "mnist"]
    table = {(line["row"], line["column"]): float(line["measured_percent"]) for line in lines}
    images = len(demo.test_images().images)
    for row, name in (("standard (A)", "A"), ("adversarial PGD (B)", "B"), ("adversarial network (C)", "C")):
        for number, column in enumerate(("No Noise", "FGS", "PGD")):
            expected = table[row, column]
            # Four standard errors of so few images, and at least a single one.
            allowed = 100 * max(2 / images, 4 * np.sqrt(expected / 100 * (1 - expected / 100) / images))
            assert abs(found[name][number] - expected) <= allowed, f"{row} {column}"
    pgd = {name: own[2] for name, own in found.items()}
    assert pgd["A"] < 2 < pgd["C"] < pgd["B"]
    assert output.splitlines()[-1].startswith(f"{tmp_path}/runs/demo.png: eight of the images")
    with Image.open(tmp_path / "runs" / "demo.png") as picture:
        assert picture.width > 800 and picture.height > 800
