"""The curves of a report: accuracies during training, and by ε."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from adv_networks.errors import UserError
from adv_networks.storage import pictures, run_directories
from adv_networks.storage.csv_rows import read_rows, write_rows
from adv_networks.storage.records import Record
from adv_networks.tables.explorer import Curve
from adv_networks.training.logs import read_metrics

FILE = "learning.csv"
_FIELDS = ("run", "dataset", "attack", "step", "percent")
_ATTACKS = {"clean": "accuracy on clean validation images, %", "pgd": "accuracy on validation images under PGD, %"}


def learning(group: Path, records: Sequence[Record], runs_directory: Path) -> dict[str, tuple[str, Curve]]:
    """Validation accuracies during the runs of the records, from the runs themselves or from `learning.csv`, which keeps them.

    Writes this file, and a picture for each data set and attack.

    Returns:
        The data set and the curves of each picture, by the picture's name.

    Raises:
        UserError: a file is damaged.
    """
    file = group / FILE
    of_runs = {record.target: record.dataset for record in records}
    here = {name: own for name, own in of_runs.items() if run_directories.describe(runs_directory / name) is not None}
    kept = [line for line in read_rows(file) if line["run"] in of_runs.keys() - here.keys()] if file.exists() else []
    new = [line for name, dataset in here.items() for line in _of_run(name, dataset, runs_directory / name)]
    lines = [*kept, *new]
    if new:
        write_rows(file, _FIELDS, lines)
    found = {}
    for dataset in dict.fromkeys(line["dataset"] for line in lines):
        for attack, title in _ATTACKS.items():
            own = [line for line in lines if (line["dataset"], line["attack"]) == (dataset, attack)]
            if own:
                curve = Curve("iteration", title, _series(own, file))
                found[f"learning-{dataset}-{attack}"] = dataset, curve
                pictures.curves(group / f"learning-{dataset}-{attack}.png", curve.series, curve.x, curve.y, y_scale="linear")
    return found


def _of_run(name: str, dataset: str, workdir: Path) -> list[dict[str, str]]:
    return [
        {
            "run": name, "dataset": dataset, "attack": attack, "step": str(line["step"]),
            "percent": f"{100 * line[f'validation_{attack}']:.2f}",
        }
        for line in read_metrics(workdir)
        for attack in _ATTACKS
        if line[f"validation_{attack}"] is not None
    ]  # fmt: skip


def _series(lines: Sequence[Mapping[str, str]], file: Path) -> dict[str, list[tuple[float, float]]]:
    series: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        try:
            series.setdefault(line["run"], []).append((int(line["step"]), float(line["percent"])))
        except ValueError:
            raise UserError(f"{file}: expected a step and a percentage, found {line['step']}, {line['percent']}") from None
    return series


def by_epsilon(lines: Sequence[Mapping[str, str]]) -> list[Curve]:
    """The lines of a table by ε, for one data set: one chart for each row, with a curve for each column."""
    frames = []
    for row in dict.fromkeys(line["row"] for line in lines):
        own = [line for line in lines if line["row"] == row]
        series = {
            column: sorted(
                (float(line["epsilon"]), float(line["measured_percent"]))
                for line in own
                if line["column"] in (column, "No Noise") and line["measured_percent"]
            )
            for column in dict.fromkeys(line["column"] for line in own if line["column"] != "No Noise")
        }
        frames.append(Curve("ε", f"accuracy of {row}, %", {name: points for name, points in series.items() if len(points) > 1}))
    return frames
