"""How much gradient each classifier of a table gives to attacks; a distilled network gives almost none."""

from __future__ import annotations

from collections.abc import Iterator

from adv_networks.evaluation.gradients import gradient_report
from adv_networks.experiments import Experiment
from adv_networks.tables.appendices import derived
from adv_networks.tables.appendices.base import Made
from adv_networks.tables.appendices.derived import SHARE, Number


def vanishing_gradients(made: Made) -> str:
    """Writes `<table>-gradients.csv`; returns its numbers as Markdown."""
    runs = {cell.row: cell.target for cell in made.cells}
    found = [(row, spec, list(_numbers(made, spec))) for row, spec in runs.items()]
    return "\n\n".join(
        [
            "## Gradients at test time",
            "The gradient of the cross-entropy with respect to the table's images: on how many of them it is zero, the "
            "median of its l2 norm, and the median gap between the two largest logits.",
            derived.write(made, f"{made.table.name}-gradients", found),
        ]
    )


def _numbers(made: Made, spec: Experiment) -> Iterator[Number]:
    tested = made.networks.workspace.images(spec.dataset, "test", spec.test_images)
    with made.networks.workspace.evaluating():
        report = gradient_report(made.networks.of(spec), *tested)
    count = len(tested.images)
    yield Number("zero gradients", SHARE, report.zero_percent, count)
    yield Number("median norm", "norm", report.median_norm, count)
    yield Number("median gap of the two largest logits", "gap", report.median_gap, count)
