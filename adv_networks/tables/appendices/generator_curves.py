"""The success of generators during their runs, against a frozen D and one that learns, and the similarity of their patterns.

The poster shows both in figures, for four intensities. An epoch is one pass over the training images.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adv_networks.evaluation import gallery
from adv_networks.experiments import Cell, Experiment
from adv_networks.lazy import keras, np
from adv_networks.storage import pictures
from adv_networks.storage.csv_rows import csv_text
from adv_networks.storage.files import write_text
from adv_networks.storage.run_directories import describe
from adv_networks.tables.appendices.base import Made
from adv_networks.tables.networks import source_of
from adv_networks.tables.rows import FIELDS, wilson_interval
from adv_networks.training import VALIDATION_IMAGES, read_metrics

_NAME = "poster-curves"
_PATTERNS, _SHOWN = 256, 8
_WITHIN = 2  # points from the mean of the last tenth
Curve = Sequence[tuple[float, float]]  # of epochs and accuracies in percent


def generator_curves(made: Made) -> str:
    """Writes `poster-curves.csv` and pictures of curves, attacks and patterns; returns the numbers as Markdown."""
    runs = _runs(made.cells)
    if not runs:
        return ""
    curves = {row: {label: _curve(made, spec) for label, spec in own.items()} for row, own in runs.items()}
    panels = {row: {label: list(curve) for label, curve in own.items()} for row, own in curves.items()}
    pictures.curve_panels(made.directory / _NAME, panels, "epoch", "accuracy under G, %")
    found = {row: {label: _patterns(made, spec) for label, spec in own.items()} for row, own in runs.items()}
    lines = [
        _line(made, row, label, runs[row][label], *number)
        for row, own in runs.items()
        for label in own
        for number in _numbers(curves[row][label], found[row][label])
    ]
    write_text(made.directory / f"{_NAME}.csv", csv_text(FIELDS, lines))
    shown = {
        f"{row}, {label}": (0.5 + own[:_SHOWN] / (2 * np.abs(own).max()), [""] * _SHOWN)
        for row, patterns in found.items()
        for label, own in patterns.items()
    }
    pictures.image_rows(made.directory / "poster-patterns", shown)
    for label in dict.fromkeys(label for own in runs.values() for label in own):
        _draw_attacks(made, label, {row: own[label] for row, own in runs.items() if label in own})
    return _markdown(lines)


def _runs(cells: Iterable[Cell]) -> dict[str, dict[str, Experiment]]:
    """The runs of generators that attack the D they were trained against, by row and column."""
    runs: dict[str, dict[str, Experiment]] = {}
    for cell in cells:
        if cell.attack.access == "generator" and cell.is_white_box:
            runs.setdefault(cell.row, {})[cell.column.removeprefix("G ")] = source_of(cell)[0]
    return runs


def _curve(made: Made, spec: Experiment) -> Curve:
    """The validation accuracy under the generator during a run."""
    workdir = made.networks.workspace.of(spec)
    images = (describe(workdir) or {})["provenance"]["training_images"]
    return [
        (line["step"] * spec.batch_size / images, 100 * line["validation_generator"])
        for line in read_metrics(workdir)
        if line["validation_generator"] is not None
    ]


def _patterns(made: Made, spec: Experiment) -> np.ndarray:
    """The perturbations of a run's generator on held-out images, [images, height, width, channels]."""
    images = _held_out(made, spec, _PATTERNS) / np.float32(255)
    generator: keras.Model = made.networks.of(spec, "g.keras")
    return spec.epsilon * generator.predict(images, verbose=0)


def _held_out(made: Made, spec: Experiment, count: int) -> np.ndarray:
    parts = made.networks.workspace.training_and_validation(spec)
    return parts[1 if spec.validation else 0].first(count).images


def _numbers(curve: Curve, patterns: np.ndarray) -> Iterable[tuple[str, str, float]]:
    """The numbers computed from a curve and patterns: the column, the metric and the value of each."""
    accuracies = [accuracy for _, accuracy in curve]
    tenth = max(1, len(curve) // 10)
    yield "epochs to convergence", "epochs", epochs_to_convergence(curve)
    yield "least after the first tenth", "accuracy", min(accuracies[tenth:] or accuracies)
    yield "last tenth", "accuracy", statistics.fmean(accuracies[-tenth:])
    yield "effective rank", "rank", effective_rank(patterns)
    yield "mean |cosine|", "cosine", mean_cosine(patterns)


def epochs_to_convergence(curve: Curve) -> float:
    """The epoch from which on the accuracy stays within two points of its mean over the last tenth of the curve."""
    last = statistics.fmean(accuracy for _, accuracy in curve[-max(1, len(curve) // 10) :])
    first = len(curve) - 1
    while first > 0 and abs(curve[first - 1][1] - last) <= _WITHIN:
        first -= 1
    return curve[first][0]


def effective_rank(patterns: np.ndarray) -> float:
    """The exponential of the entropy of the flattened patterns' singular values, normalised to sum to 1.

    It is 1 if all patterns are multiples of one, and at most the number of patterns.
    """
    sizes = np.linalg.svd(patterns.reshape(len(patterns), -1).astype(np.float64), compute_uv=False)
    shares = sizes[sizes > 0] / sizes.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def mean_cosine(patterns: np.ndarray) -> float:
    """The mean |cosine| between two patterns: 1 if all are multiples of one, 0 if all are orthogonal."""
    flat = patterns.reshape(len(patterns), -1).astype(np.float64)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    cosines = np.abs(flat @ flat.T)
    return float((cosines.sum() - np.trace(cosines)) / (len(flat) * (len(flat) - 1)))


def _line(made: Made, row: str, label: str, spec: Experiment, column: str, metric: str, value: float) -> dict[str, Any]:
    """A number as a line of a table's CSV file, so that claims can depend on it."""
    images = VALIDATION_IMAGES if metric == "accuracy" else _PATTERNS
    low, high = wilson_interval(value, images) if metric == "accuracy" else (None, None)
    known = dict(table=_NAME, dataset=spec.dataset, row=f"{row}, {label}", column=column, metric=metric, images=images)
    rounded = {
        name: None if number is None else round(number, 4)
        for name, number in {"measured_percent": value, "interval_low": low, "interval_high": high}.items()
    }
    return dict.fromkeys(FIELDS) | known | rounded | dict(run=spec.name, steps=spec.steps, seeds=str(spec.seed), data=made.data)


def _draw_attacks(made: Made, label: str, runs: Mapping[str, Experiment]) -> None:
    """Draws a few images under FGS and each run's generator at one intensity, with the predictions of D before the game."""
    attacked = next(cell for cell in made.cells if cell.column == f"FastGrad {label}")
    classifier = made.networks.of(attacked.target)
    attacks = {"FastGrad": (attacked.attack, classifier)}
    attacks |= {f"G, {row}": (spec.attack("generator"), made.networks.of(spec, "g.keras")) for row, spec in runs.items()}
    spec = attacked.target
    parts = made.networks.workspace.training_and_validation(spec)
    shown = parts[1 if spec.validation else 0].first(_SHOWN)
    with made.networks.workspace.evaluating():
        drawn = gallery.draw(gallery.make(classifier, shown, attacks), spec.dataset)
    pictures.save_for_print(drawn, made.directory / f"poster-attacks-{label}")


def _markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(line["column"] for line in lines))
    found = {(line["row"], line["column"]): line["measured_percent"] for line in lines}
    head = ["G against D", *columns]
    body = [[row, *(f"{found[row, column]:.4g}" for column in columns)] for row in dict.fromkeys(row for row, _ in found)]
    rows = "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] + ["---:"] * len(columns), *body))
    return "\n\n".join(
        [
            "## Along the runs",
            f"Accuracy in % on {VALIDATION_IMAGES} images held out, under the G of that time (`{_NAME}.png`); G has converged "
            f"from the epoch on from which it stays within {_WITHIN} points of the mean of the last tenth. Of what G adds to "
            f"{_PATTERNS} such images (`poster-patterns.png`): exp of the entropy of the singular values, and the mean "
            "|cosine| of two.",
            rows,
        ]
    )
