"""What the runs of a table logged during training, and the time per step of each run, measured side by side."""

from __future__ import annotations

import csv
import io
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adv_networks.defences import make_players
from adv_networks.errors import UserError
from adv_networks.experiments import DATASETS, METHODS, Cell, Experiment
from adv_networks.lazy import keras, np
from adv_networks.storage import pictures
from adv_networks.storage.csv_rows import merge_rows
from adv_networks.training.logs import read_metrics

FIELDS = (
    "dataset", "row", "run", "steps", "g_gradient_norm_first_tenth", "g_gradient_norm_middle", "g_gradient_norm_last_tenth",
    "regulariser_norm_last_tenth", "seconds_per_step",
)  # fmt: skip
AGREEMENT_FIELDS = (
    "dataset", "row", "run", "step", "regulariser_cosine", "regulariser_relative_difference", "regulariser_exact_norm",
)  # fmt: skip
_TIMED_ROUNDS, _WARM_UP_ROUNDS = 7, 2


def write(name: str, cells: Sequence[Cell], directory: Path, place: Callable[[Experiment], Path]) -> str:
    """Writes `<name>-training.csv`, `<name>-agreement.csv` and pictures of the gradient norms; returns them as Markdown.

    Lines of other data sets in earlier files are kept, and so are step times of the same runs.

    Args:
        name: name of the table's files.
        cells: cells whose targets are trained.
        directory: directory for the files.
        place: returns the directory of an experiment's run.

    Raises:
        UserError: a run's metrics, or an earlier file, are missing or damaged.
    """
    training_file, agreement_file = (directory / f"{name}-{part}.csv" for part in ("training", "agreement"))
    seconds = {line["run"]: line["seconds_per_step"] for line in _read(training_file, FIELDS)}
    training: list[dict[str, Any]] = []
    agreement: list[dict[str, Any]] = []
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        runs = {cell.row: cell.target.trained() for cell in cells if cell.dataset == dataset}
        metrics = {row: read_metrics(place(spec)) for row, spec in runs.items()}
        if not {spec.name for spec in runs.values()} <= seconds.keys():
            seconds |= seconds_per_step(list(runs.values()))
        training += [_summary(dataset, row, spec, metrics[row], seconds[spec.name]) for row, spec in runs.items()]
        agreement += [
            dict(dataset=dataset, row=row, run=spec.name, **{field: line[field] for field in AGREEMENT_FIELDS[3:]})
            for row, spec in runs.items()
            for line in metrics[row]
            if line["regulariser_cosine"] is not None
        ]
        norms = {row: [(line["step"], line["g_gradient_norm"]) for line in lines] for row, lines in metrics.items()}
        pictures.curves(directory / f"{name}-{dataset}.png", norms, "iteration", "‖∇φ F‖ of G's last step")
    datasets = {cell.dataset for cell in cells}
    merge_rows(training_file, FIELDS, training, datasets)
    merge_rows(agreement_file, AGREEMENT_FIELDS, agreement, datasets)
    return _markdown(_read(training_file, FIELDS), _read(agreement_file, AGREEMENT_FIELDS))


def _read(file: Path, fields: Sequence[str]) -> list[dict[str, Any]]:
    """The lines of a file of `write`, with measured numbers as floats; none if there is no file."""
    if not file.exists():
        return []
    try:
        lines = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")), strict=True))
        texts = ("dataset", "row", "run", "steps", "step")
        return [{name: line[name] if name in texts else float(line[name]) for name in fields if line[name]} for line in lines]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise UserError(f"{file}: expected a table of runs, found: {error} (remove it to make it again)") from None


def seconds_per_step(specs: Sequence[Experiment]) -> dict[str, float]:
    """The median seconds per training step of each run, by name, on random images. The runs take turns."""
    rng = np.random.default_rng(0)
    players = [make_players(spec) for spec in specs]
    times: dict[str, list[float]] = {spec.name: [] for spec in specs}
    for _ in range(_WARM_UP_ROUNDS + _TIMED_ROUNDS):
        for spec, own in zip(specs, players, strict=True):
            x = rng.random((spec.batch_size, *DATASETS[spec.dataset].image_shape), np.float32)
            y = rng.integers(0, DATASETS[spec.dataset].classes, spec.batch_size)
            # D is updated in the last step of its period, so a turn is one period.
            started = time.perf_counter()
            for step in range(spec.discriminator_period):
                scalars = METHODS[spec.method].step(own, x, y, spec, (spec.seed, step))
            float(scalars["g_loss"])
            times[spec.name].append((time.perf_counter() - started) / spec.discriminator_period)
    keras.backend.clear_session()
    return {name: statistics.median(own[_WARM_UP_ROUNDS:]) for name, own in times.items()}


def _summary(dataset: str, row: str, spec: Experiment, metrics: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    def mean(name: str, start: float, end: float) -> float | None:
        values = [line[name] for line in metrics if start < line["step"] / spec.steps <= end and line[name] is not None]
        return float(f"{statistics.fmean(values):.4g}") if values else None

    return dict(
        dataset=dataset,
        row=row,
        run=spec.name,
        steps=spec.steps,
        g_gradient_norm_first_tenth=mean("g_gradient_norm", 0, 0.1),
        g_gradient_norm_middle=mean("g_gradient_norm", 0.45, 0.55),
        g_gradient_norm_last_tenth=mean("g_gradient_norm", 0.9, 1),
        regulariser_norm_last_tenth=mean("regulariser_norm", 0.9, 1),
        seconds_per_step=float(f"{seconds:.3g}"),
    )


def _markdown(training: Sequence[dict[str, Any]], agreement: Sequence[dict[str, Any]]) -> str:
    first = ("dataset", "row", *FIELDS[4:])
    parts = [
        "## Along the runs",
        "Means of ‖∇φ F‖ at the last of G's steps, over the first tenth of the iterations, the tenth in the middle and the "
        "last; mean of γ‖∇²F v‖ over the last tenth; seconds per training step, the runs taking turns on a machine that may "
        "have had other work: only their ratios count.",
        _rows(first, training),
    ]
    if agreement:
        parts += [
            "## The finite difference beside the exact product",
            "On a minibatch of the run, in float32, with h as the run has it: cosine of the two products, "
            "‖fd − exact‖ / ‖exact‖, and γ‖exact‖.",
            _rows(("dataset", *AGREEMENT_FIELDS[3:]), agreement),
        ]
    return "\n\n".join(parts)


def _rows(fields: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    def text(value: Any) -> str:
        return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    lines = [fields, ["---"] * len(fields), *([text(row.get(field)) for field in fields] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
