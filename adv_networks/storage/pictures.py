"""Pictures, as PNG and for tables also in another format. Texts are drawn as they are, never as formulas."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from adv_networks.errors import printable
from adv_networks.lazy import np
from adv_networks.storage.files import write_whole
from adv_networks.storage.names import shortened

# The formats of tables' figures, besides the PNG that pages show.
FORMATS = ("pdf", "png", "svg")
_format = contextvars.ContextVar("format", default="pdf")

_LONGEST_LINE = 80
_DASHES, _MARKERS = ("-", "--", ":", "-."), "os^Dv<>"
# With more points than this, a running mean is drawn over the points themselves.
_MOST_RAW_POINTS = 40


@contextlib.contextmanager
def written_as(kind: str) -> Iterator[None]:
    """Inside, figures of tables are written in this format, one of `FORMATS`, besides PNG.

    Examples:
        >>> from adv_networks.storage import pictures
        >>> with pictures.written_as("svg"):
        ...     pass  # what draws
    """
    token = _format.set(kind)
    try:
        yield
    finally:
        _format.reset(token)


@contextlib.contextmanager
def _plain_text() -> Iterator[None]:
    """Inside, figures have this project's style, and Matplotlib takes no text for a formula, when figures are made or drawn."""
    from matplotlib import rc_context

    with resources.as_file(resources.files("adv_networks") / "storage" / "figures.mplstyle") as style, rc_context(fname=style):
        yield


def _shown(text: str) -> str:
    """A text of one or more lines, made printable and short enough to draw."""
    return "\n".join(shortened(printable(line), _LONGEST_LINE) for line in text.split("\n"))


@_plain_text()
def perturbations(images: np.ndarray, perturbed: Mapping[str, np.ndarray], limit: float, above: Sequence[Sequence[str]]) -> Any:
    """A figure of the original images and, for each attack, the perturbations, on a diverging scale, and the perturbed images.

    Args:
        images: [N, H, W, C] in [0,1], one column each.
        perturbed: the perturbed images, by the names of the attacks.
        limit: the colour scale of the perturbations goes from -limit to limit.
        above: texts above the images, and then above the perturbed images of each attack.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grey, diverging = dict(cmap="gray", vmin=0, vmax=1), dict(cmap="RdBu_r", vmin=-limit, vmax=limit)
    titles = iter(above)
    rows = [("original", images, grey, next(titles))]
    for name, own in perturbed.items():
        change = (own - images).mean(axis=-1, keepdims=True)
        rows.append((f"{name}\n±{limit:.3g}", change, diverging, [""] * len(images)))
        rows.append(("perturbed", np.clip(own, 0, 1), grey, next(titles)))
    figure = Figure(figsize=(1.1 * len(images) + 1, 1.4 * len(rows)), layout="constrained")
    left = 1.1 * images.shape[2] * np.arange(len(images))
    axes = figure.subplots(len(rows), 1)  # One axis for each row: an axis for each image takes three times as long to draw.
    for axis, (label, pictures, style, texts) in zip(axes, rows, strict=True):
        _draw_row(axis, pictures, texts, left, **style)
        axis.set_facecolor("lightgray")
        axis.set_ylabel(_shown(label), fontsize=8)
    FigureCanvasAgg(figure)
    return figure


def _draw_row(axis: Any, images: np.ndarray, texts: Sequence[str], left: np.ndarray, **style: Any) -> None:
    """Draws images side by side on one axis, with a text above each image.

    Args:
        axis: the Matplotlib axis.
        images: [N, H, W, C].
        texts: one for each image, or fewer.
        left: the left edges of the images, in pixels. There may be more edges than images; the axis has room for all.
        **style: arguments of `imshow`.
    """
    height, width = images.shape[1:3]
    for start, image in zip(left, images, strict=False):
        axis.imshow(image.squeeze(), extent=(start, start + width, 0, height), **style)
    axis.set(xlim=(0, left[-1] + width), ylim=(0, height), yticks=[])
    axis.set_xticks(left[: len(texts)] + width / 2, map(_shown, texts), fontsize=7)
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)  # Its lines would cross the images.


@_plain_text()
def image_rows(stem: Path, rows: Mapping[str, tuple[np.ndarray, Sequence[str]]]) -> None:
    """Draws rows of images with a text above each image.

    Args:
        stem: the file without its suffix: PNG and the chosen format (`written_as`) are written.
        rows: images [N, H, W, C] in [0,1] and N texts, by the label of the row.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = max(len(images) for images, _ in rows.values())
    figure = Figure(figsize=(1.1 * count + 1, 1.4 * len(rows)), layout="constrained")
    for axis, (label, (images, texts)) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows.items(), strict=True):
        left = 1.1 * images.shape[2] * np.arange(count)
        _draw_row(axis, np.clip(images, 0, 1), texts, left, cmap="gray", vmin=0, vmax=1)
        axis.set_ylabel(_shown(textwrap.fill(label, 18)), fontsize=7)
    FigureCanvasAgg(figure)
    save_for_print(figure, stem)


@_plain_text()
def save(figure: Any, file: Path) -> None:
    """Writes a figure as PNG."""
    write_whole(file, lambda temporary: figure.savefig(temporary, dpi=110))


@_plain_text()
def pixels(figure: Any) -> np.ndarray:
    """A figure as one image, uint8 [height, width, 3]."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


@_plain_text()
def heat_maps(stem: Path, rows: Sequence[str], columns: Sequence[str], values: Mapping[str, Sequence[Sequence]]) -> None:
    """Draws tables of percentages above one another, white for 0 and dark blue for 100, with the numbers in them.

    Args:
        stem: the file without its suffix: PNG and the chosen format (`written_as`) are written.
        rows: the tables' rows.
        columns: the tables' columns.
        values: by title, a number or None for each row and column.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = (3.2 + 0.8 * len(columns), (0.9 + 0.35 * len(rows)) * len(values))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(values), 1, squeeze=False)[:, 0]
    for axis, (title, own) in zip(axes, values.items(), strict=True):
        shown = np.array([[np.nan if value is None else value for value in row] for row in own])
        drawn = axis.imshow(shown, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        axis.set_title(_shown(title))
        axis.set_xticks(range(len(columns)), map(_shown, columns))
        axis.set_yticks(range(len(rows)), map(_shown, rows))
        axis.grid(visible=False)
        for (row, column), value in np.ndenumerate(shown):
            text = "–" if np.isnan(value) else f"{value:.1f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if value > 50 else "black")
    figure.colorbar(drawn, ax=axes.tolist(), label="accuracy in %", shrink=min(1, 1.6 / len(values)))
    FigureCanvasAgg(figure)
    save_for_print(figure, stem)


@_plain_text()
def curve_panels(
    stem: Path,
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    x_label: str,
    y_label: str,
    *,
    marked: tuple[str, float] | None = None,
) -> None:
    """Draws panels side by side with the same curves in each. The colours suit colour-blind readers; dashes and markers differ.

    Args:
        stem: the file without its suffix: PNG and the chosen format (`written_as`) are written.
        panels: points (x, y), by title of the panel and name in the legend.
        x_label: label of the x axis.
        y_label: label of the y axis, which goes from 0 to 100.
        marked: an x that all panels mark: its label and its value.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide = min(4, len(panels))
    high = -(-len(panels) // wide)
    figure = Figure(figsize=(2.6 * wide + 0.5, 2.4 * high + 0.5), layout="constrained")
    axes = figure.subplots(high, wide, squeeze=False, sharex=True, sharey=True).flat
    for (title, series), axis in zip(panels.items(), axes, strict=False):
        for number, (name, points) in enumerate(series.items()):
            style = dict(marker=_MARKERS[number % 7], linestyle=_DASHES[number % 4])
            axis.plot(*zip(*points, strict=True), label=_shown(name), **style)
        if marked:
            axis.axvline(marked[1], label=_shown(marked[0]), color="gray", linewidth=0.8)
        axis.set_title(_shown(title))
        axis.set(ylim=(0, 100), xlabel=x_label, ylabel=y_label)
        axis.label_outer()
    for axis in axes:
        axis.set_axis_off()
    handles = {label: line for axis in figure.axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    FigureCanvasAgg(figure)
    save_for_print(figure, stem)


@_plain_text()
def scatter(panels: Mapping[str, np.ndarray], labels: np.ndarray, names: Sequence[str]) -> Any:
    """A figure of panels side by side with the same points in each, on the same axes, coloured by class.

    Args:
        panels: by title, points [N, 2].
        labels: integers [N].
        names: names of the classes, for the legend.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(panels) + 1, 4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for axis, (title, points) in zip(axes, panels.items(), strict=True):
        for label in np.unique(labels).tolist():
            colour = colormaps["tab10" if len(names) <= 10 else "turbo"](label / max(1, len(names) - 1))
            axis.scatter(*points[labels == label].T, s=8, color=colour, label=_shown(names[label]))
        axis.set_title(_shown(title), fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right", fontsize=7)
    FigureCanvasAgg(figure)
    return figure


@_plain_text()
def save_for_print(figure: Any, stem: Path) -> None:
    """Writes a figure as PNG and in the chosen format (`written_as`); `stem` is the file without its suffix."""
    # Without a date, the same picture gives the same file.
    without_date: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    for kind in dict.fromkeys(("png", _format.get())):
        write = functools.partial(figure.savefig, metadata=without_date.get(kind, {}))
        write_whole(stem.with_name(f"{stem.name}.{kind}"), write)


@_plain_text()
def curves(
    file: Path,
    series: Mapping[str, Sequence[tuple[float, float | None]]],
    x_label: str,
    y_label: str,
    *,
    y_scale: str = "log",
) -> None:
    """Draws curves. The colours suit colour-blind readers, and dashes differ.

    If there are many points, they are drawn as a faint line, with a running mean over a tenth of the curve above it.

    Args:
        file: PNG to write; the chosen format (`written_as`) is written beside it.
        series: points (x, y), by name in the legend; those without a y are left out.
        x_label: label of the x axis.
        y_label: label of the y axis.
        y_scale: "log" or "linear".
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for number, (name, points) in enumerate(series.items()):
        x, y = zip(*((x, y) for x, y in points if y is not None), strict=True)
        style = {"color": f"C{number % 7}", "linestyle": _DASHES[(number // 7 + number) % 4]}
        if len(y) > _MOST_RAW_POINTS:
            axis.plot(x, y, alpha=0.25, linewidth=0.7, color=style["color"])
            y = _smooth(y)
        axis.plot(x, y, label=_shown(name), **style)
    axis.set(xlabel=x_label, ylabel=y_label, yscale=y_scale)
    axis.legend()
    FigureCanvasAgg(figure)
    save_for_print(figure, file.with_suffix(""))


def _smooth(values: Sequence[float]) -> np.ndarray:
    """Running means: each value is averaged with those before it, over a tenth of the curve."""
    length = max(2, len(values) // 10)
    sums = np.cumsum(np.concatenate([[0.0], values]))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(0, last - length)
    return (sums[last] - sums[first]) / (last - first)
