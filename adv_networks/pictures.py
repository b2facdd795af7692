"""Pictures for people, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from adv_networks.files import write_whole


def perturbations(file: Path, images: np.ndarray, perturbed: np.ndarray, limit: float) -> None:
    """Draws original / perturbation / perturbed, one column an image; the perturbation on a diverging scale.

    Args:
        file: PNG to write.
        images: [N, H, W, C] in [0,1].
        perturbed: the same, perturbed.
        limit: the perturbation's colour scale goes from minus this to this.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.1 * len(images) + 1, 3.6), layout="constrained")
    axes = figure.subplots(3, len(images), squeeze=False)
    rows = {
        "original": (images, dict(cmap="gray", vmin=0, vmax=1)),
        f"perturbation\n±{limit:.3g}": (
            (perturbed - images).mean(axis=-1, keepdims=True),
            dict(cmap="RdBu_r", vmin=-limit, vmax=limit),
        ),
        "perturbed": (perturbed, dict(cmap="gray", vmin=0, vmax=1)),
    }
    for row, (label, (pictures, style)) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel(label)
        for axis, picture in zip(row, pictures, strict=True):
            axis.imshow(picture.squeeze(), **style)
            axis.set(xticks=[], yticks=[])
    FigureCanvasAgg(figure)
    write_whole(file, lambda temporary: figure.savefig(temporary, dpi=110))


def curves(file: Path, series: Mapping[str, Sequence[tuple[float, float | None]]], x_label: str, y_label: str) -> None:
    """Draws curves on a logarithmic scale, colour-blind safe and told apart in print by their dashes.

    Args:
        file: PNG to write.
        series: by name in the legend, points (x, y); those without a y are left out.
        x_label: what x is.
        y_label: what y is.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    dashes = ("-", "--", ":", "-.")
    for number, (name, points) in enumerate(series.items()):
        x, y = zip(*((x, y) for x, y in points if y is not None), strict=True)
        colour = colormaps["viridis"](0.9 * number / max(1, len(series) - 1))
        axis.plot(x, y, dashes[number % len(dashes)], color=colour, label=name, linewidth=1)
    axis.set(xlabel=x_label, ylabel=y_label, yscale="log")
    axis.legend(fontsize=7)
    FigureCanvasAgg(figure)
    write_whole(file, lambda temporary: figure.savefig(temporary, dpi=110))
