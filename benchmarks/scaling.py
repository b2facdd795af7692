"""How the time of a step grows: what is varied, and the picture of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

# Of a step of advnet on CIFAR10, one at a time from batch size 64, width 8 and one replica: setting and values.
VARIED = {
    "batch size": ("batch_size", (16, 32, 64, 128, 256, 512)),
    "width of G": ("generator_width", (8, 16, 32, 64)),
    "replicas": ("replicas", (1, 2, 4)),
}


def draw(file: Path, seconds: Mapping[str, Sequence[float]]) -> None:
    """Writes a panel per quantity of `VARIED`, both axes logarithmic, a dotted line showing what is proportional to it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(9, 3), layout="constrained")
    for axis, (what, (_, values)) in zip(figure.subplots(1, len(VARIED), sharey=True), VARIED.items(), strict=True):
        measured = seconds[what]
        axis.loglog(values, measured, marker="o", color="#0072b2", label="measured")
        axis.loglog(values, [measured[0] * value / values[0] for value in values], ":", color="black", label="proportional")
        axis.set_xticks(values, map(str, values))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel(what)
        axis.label_outer()
    figure.axes[0].set_ylabel("seconds a step")
    figure.axes[0].legend(fontsize=8)
    FigureCanvasAgg(figure)
    figure.savefig(file, dpi=110)
