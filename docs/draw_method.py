"""Draws docs/pictures/method-light.svg and method-dark.svg: D, G, the loss that they share, and the two updates (Eq. 4, 5).

Run it by `make picture`.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

PICTURES = Path(__file__).resolve().parent / "pictures"
WIDTH, HEIGHT = 860, 290


class Colours(NamedTuple):
    """What the picture is drawn in; blue is D's and orange G's, told apart by everybody."""

    ink: str
    faint: str
    d: str
    g: str
    d_fill: str
    g_fill: str


THEMES = {
    "light": Colours("#1f2328", "#8c959f", "#0550ae", "#953800", "#ddf4ff", "#fff1e5"),
    "dark": Colours("#e6edf3", "#7d8590", "#79c0ff", "#ffa657", "#10243e", "#3a2410"),
}


def draw(colours: Colours) -> str:
    """The picture as SVG, on a transparent ground."""
    parts = [
        *_box(20, 100, 90, 50, colours.faint, "none", ["image x"], colours.ink),
        *_arrow([(110, 125), (170, 125)], colours.ink),
        *_box(170, 100, 120, 50, colours.g, colours.g_fill, ["generator G"], colours.ink),
        *_arrow([(290, 125), (348, 125)], colours.ink),
        _text(319, 116, "· ε", colours.ink),
        f'<circle cx="360" cy="125" r="12" fill="none" stroke="{colours.ink}"/>',
        _text(360, 130, "+", colours.ink, size=16),
        *_arrow([(65, 100), (65, 40), (360, 40), (360, 113)], colours.ink),
        *_arrow([(372, 125), (470, 125)], colours.ink),
        _text(421, 116, "x + ε G(x)", colours.ink),
        *_arrow([(360, 40), (530, 40), (530, 75)], colours.ink),
        _text(445, 31, "x", colours.ink),
        *_box(470, 75, 120, 75, colours.d, colours.d_fill, ["classifier D"], colours.ink),
        *_arrow([(590, 112), (640, 112)], colours.ink),
        *_box(640, 75, 200, 75, colours.faint, "none", ["F(θ, φ) =", "ℓ(D(x), y) + λ ℓ(D(x + ε G(x)), y)"], colours.ink),
        *_arrow([(690, 150), (690, 205), (405, 205)], colours.d),
        *_arrow([(790, 150), (790, 264), (310, 264)], colours.g),
        _text(20, 209, "D descends once:  θ ← θ − η ∇θ [ F + γ/2 ‖∇φ F‖² ]", colours.d, anchor="start", size=15),
        _text(680, 197, "Eq. 5", colours.d, anchor="end"),
        _text(20, 269, "G ascends five times:  φ ← φ + η ∇φ F", colours.g, anchor="start", size=15),
        _text(780, 256, "Eq. 4", colours.g, anchor="end"),
    ]
    title = "The generator G perturbs an image by at most ε; G ascends on the classifier D's loss, D descends on it"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="13" role="img"><title>{escape(title)}</title>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _text(x: int, y: int, text: str, colour: str, *, anchor: str = "middle", size: int = 13) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'


def _box(x: int, y: int, width: int, height: int, stroke: str, fill: str, lines: list[str], ink: str) -> list[str]:
    """A rectangle with lines of text in its middle."""
    first = y + height // 2 + 5 - 9 * (len(lines) - 1)
    shape = (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'
    )
    return [shape, *(_text(x + width // 2, first + 18 * number, line, ink, size=12) for number, line in enumerate(lines))]


def _arrow(points: list[tuple[int, int]], colour: str) -> list[str]:
    """A line through points, with a head at its end."""
    (x0, y0), (x1, y1) = points[-2:]
    dx, dy = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0)
    head = " ".join(f"{x1 - 8 * dx + 4 * side * dy},{y1 - 8 * dy + 4 * side * dx}" for side in (-1, 1))
    path = " ".join(f"{x},{y}" for x, y in points)
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3"/>',
        f'<polygon points="{x1},{y1} {head}" fill="{colour}"/>',
    ]


if __name__ == "__main__":
    for name, colours in THEMES.items():
        (PICTURES / f"method-{name}.svg").write_text(draw(colours), encoding="utf-8")
