"""How far a run is, as people see it: a bar that fits a terminal, a line every tenth elsewhere."""

import dataclasses
import io
import logging
import re
import sys

import pytest

from adv_networks.experiments import DATASETS
from adv_networks.training.progress import Progress
from tests.training.helpers import tiny, train

LOSSES = {"d_loss": 0.012345, "g_loss": -2.3456, "learning_rate": 0.1}
ACCURACIES = {"validation_clean": 0.9812, "validation_pgd": 0.3184, "validation_fgs": 0.5}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def written(stream, columns, monkeypatch, steps=200_000, step=199_990):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "30")
    with Progress("mnist-advnet-cpu-s0", steps=steps, step=step, shown=True) as bar:
        first = stream.getvalue()
        bar.tell(LOSSES, ACCURACIES)
        for _ in range(steps - step):
            bar.advance()
    return first, stream.getvalue()


@pytest.mark.parametrize("columns", [60, 80, 110, 200])
def test_bar_is_there_at_once_and_fits(columns, monkeypatch):
    first, whole = written(Terminal(), columns, monkeypatch)
    assert "199990/200000" in first
    shown = [line.rstrip() for line in re.split("[\r\n]", whole) if line.strip()]
    assert max(map(len, shown)) <= columns
    assert re.match("[█▏▎▍▌▋▊▉# ]{8,} 200000/200000 +", shown[-1])
    parts = ["D 0.0123", "G -2.35", "clean 98.1", "pgd 31.8", "fgs 50.0"]
    assert [part in shown[-1] for part in parts] == [part in parts[: {60: 2, 80: 4}.get(columns, 5)] for part in parts]


def test_where_there_is_no_terminal_every_tenth_is_a_line(monkeypatch):
    first, whole = written(io.StringIO(), 80, monkeypatch, steps=3_000, step=0)
    lines = whole.splitlines()
    assert first == "" and len(lines) == 10
    assert lines[0].startswith("mnist-advnet-cpu-s0: step 300 of 3000, ")
    assert lines[-1].startswith("mnist-advnet-cpu-s0: step 3000 of 3000, ")
    assert lines[-1].endswith("steps/s, 00:00 left, D 0.0123, G -2.35, clean 98.1, pgd 31.8, fgs 50.0")


@pytest.mark.slow
def test_run_on_a_part_of_its_images_says_so_before_the_first_step(tmp_path, caplog, monkeypatch):
    with caplog.at_level(logging.WARNING, "adv_networks"):
        train(tiny("standard", steps=1, train_images=64), tmp_path / "asked")
    assert not caplog.records
    spec = tiny("standard", steps=1, train_images=0)
    monkeypatch.setitem(DATASETS, "digits", dataclasses.replace(DATASETS["digits"], train_images=5_000))
    with caplog.at_level(logging.WARNING, "adv_networks"):
        train(spec, tmp_path / "short")
    (said,) = caplog.messages
    assert "training on 1,797 of the 5,000 training images of digits, since the others are missing" in said
