"""How the time of a step grows: the quantities that are varied, and the picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# The setting and the values of each quantity. A step of advnet on CIFAR10 has batch size 64, width 8 and one replica, except
# for the one quantity that is varied.
VARIED = {
    "batch size": ("batch_size", (16, 32, 64, 128, 256, 512)),
    "width of G": ("generator_width", (8, 16, 32, 64)),
    "replicas": ("replicas", (1, 2, 4)),
}


def draw(file: Path, seconds: Mapping[str, Mapping[int, float]]) -> None:
    """Draws a panel for each quantity of `VARIED`, with logarithmic axes and a dotted line for proportional growth.

    Args:
        file: the picture.
        seconds: by quantity and value; values that are missing are left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(9, 3), layout="constrained")
    for axis, (what, (_, values)) in zip(figure.subplots(1, len(VARIED), sharey=True), VARIED.items(), strict=True):
        measured = seconds[what]
        axis.loglog([*measured], [*measured.values()], marker="o", color="#0072b2", label="measured")
        if measured:
            first, least = next(iter(measured.items()))
            proportional = [least * value / first for value in values]
            axis.loglog(values, proportional, ":", color="black", label="proportional")
        axis.set_xticks(values, map(str, values))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel(what)
        axis.label_outer()
    figure.axes[0].set_ylabel("seconds a step")
    figure.axes[0].legend(fontsize=8)
    FigureCanvasAgg(figure)
    figure.savefig(file, dpi=110)
