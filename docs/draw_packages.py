"""Draws docs/pictures/packages.svg: the packages and their imports, as the code has them. Run it by `make picture`.

A row is a level of `tests/structure.py`; an arrow goes from a package to one that it imports. Arrows that follow from others
are left out, and so are imports that break the order, which the tests report.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from tests.structure import LEVELS, Code, part_of

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "packages.svg"

BOX_WIDTH, BOX_HEIGHT, ROW_HEIGHT, LANE, GAP, MARGIN = 130, 34, 72, 14, 20, 24

# A box is the name of a package; a pair of packages is the place where the arrow between them passes a row.
Place = str | tuple[str, str]


def imports_between_packages(code: Code) -> dict[str, set[str]]:
    """For every package, from the top to the bottom, those of lower levels that it imports."""
    level = {part: number for number, parts in enumerate(LEVELS) for part in parts}
    found = {module.part for module in code.modules} & level.keys()
    below: dict[str, set[str]] = {part: set() for part in sorted(found, key=lambda part: (-level[part], part))}
    for module in code.modules:
        if module.part in below:
            targets = {part_of(target) for _, target, _ in code.imports(module)} & below.keys()
            below[module.part] |= {part for part in targets if level[part] < level[module.part]}
    return below


def without_what_follows(below: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The pairs of packages that no chain of other imports connects."""
    reached: dict[str, set[str]] = {}
    for part in reversed(below):
        reached[part] = below[part].union(*(reached[other] for other in below[part]))
    return [
        (part, other)
        for part, others in below.items()
        for other in sorted(others)
        if not any(other in reached[between] for between in others)
    ]


def arrange(parts: Iterable[str], arrows: Sequence[tuple[str, str]]) -> dict[tuple[int, Place], float]:
    """The centre of every place by its row, counted from the top, such that connected places are near each other."""
    row_of = {part: len(LEVELS) - 1 - number for number, level in enumerate(LEVELS) for part in level}
    used = sorted({row_of[part] for part in parts})
    row_of = {part: used.index(row_of[part]) for part in parts}
    rows: list[list[Place]] = [[part for part in parts if row_of[part] == row] for row in range(len(used))]
    links: dict[tuple[int, Place], list[tuple[int, Place]]] = {}
    for arrow in arrows:
        chain: list[tuple[int, Place]] = [(row, arrow) for row in range(row_of[arrow[0]] + 1, row_of[arrow[1]])]
        for row, place in chain:
            rows[row].append(place)
        for one, other in itertools.pairwise([(row_of[arrow[0]], arrow[0]), *chain, (row_of[arrow[1]], arrow[1])]):
            links.setdefault(one, []).append(other)
            links.setdefault(other, []).append(one)
    centres = {(number, place): float(index) * BOX_WIDTH for number, row in enumerate(rows) for index, place in enumerate(row)}
    for turn in range(300):  # First into an order, which then stays, and then to where the arrows are straight.
        for number in range(len(rows)) if turn % 2 == 0 else reversed(range(len(rows))):
            wished = {}
            for place in rows[number]:
                near = [centres[other] for other in links.get((number, place), ())]
                wished[place] = fmean(near or centres.values())
            if turn < 24:
                rows[number].sort(key=lambda place, wished=wished: (wished[place], str(place)))
            _spread(number, rows[number], wished, centres)
    return centres


def _spread(number: int, row: Sequence[Place], wished: Mapping[Place, float], centres: dict[tuple[int, Place], float]) -> None:
    """Puts the places of a row, which are in order, as near to where they wish to be as their widths allow.

    Measured from where they would be side by side, the centres must not fall from left to right: places whose wishes do fall
    share the mean of these (isotonic regression).
    """
    offsets, offset = [], 0.0
    for place in row:
        half = (BOX_WIDTH if isinstance(place, str) else LANE) / 2
        offsets.append(offset + half)
        offset += 2 * half + GAP
    blocks: list[list[float]] = []
    for place, offset in zip(row, offsets, strict=True):
        blocks.append([wished[place] - offset])
        while len(blocks) > 1 and fmean(blocks[-2]) > fmean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    shifts = (fmean(block) for block in blocks for _ in block)
    for place, offset, shift in zip(row, offsets, shifts, strict=True):
        centres[number, place] = offset + shift


def draw(code: Code) -> str:
    """The picture as the text of an SVG file."""
    below = imports_between_packages(code)
    arrows = without_what_follows(below)
    centres = arrange(below, arrows)
    left = min(centres.values()) - BOX_WIDTH / 2 - MARGIN
    width = max(centres.values()) + BOX_WIDTH / 2 + MARGIN - left
    rows = {place: row for row, place in centres}
    height = (max(row for row, _ in centres) + 1) * ROW_HEIGHT - ROW_HEIGHT + BOX_HEIGHT + 2 * MARGIN

    def at(row: int, place: Place) -> tuple[int, int]:
        return round(centres[row, place] - left), MARGIN + row * ROW_HEIGHT

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{round(width)}" height="{height}" '
        f'viewBox="0 0 {round(width)} {height}" font-family="Helvetica, Arial, sans-serif" font-size="14">',
        "<title>The packages and what they import</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#5a6b7b"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for arrow in arrows:
        x, y = at(rows[arrow[0]], arrow[0])
        y += BOX_HEIGHT
        path = f"M{x} {y}"
        for row in range(rows[arrow[0]] + 1, rows[arrow[1]] + 1):
            last = row == rows[arrow[1]]
            to_x, to_y = at(row, arrow[1] if last else arrow)
            middle = (y + to_y) // 2
            path += f"C{x} {middle} {to_x} {middle} {to_x} {to_y}"
            x, y = to_x, to_y
            if not last:
                y += BOX_HEIGHT
                path += f"V{y}"
        lines.append(f'<path d="{path}" fill="none" stroke="#5a6b7b" stroke-width="1.2" marker-end="url(#head)"/>')
    for part in below:
        x, y = at(rows[part], part)
        box = f'x="{x - BOX_WIDTH // 2}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}"'
        lines.append(f'<rect {box} rx="6" fill="#e8f0f8" stroke="#5a6b7b"/>')
        lines.append(f'<text x="{x}" y="{y + 22}" text-anchor="middle" fill="#14212e">{_label(part)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _label(part: str) -> str:
    return "main.py" if part == "main" else part


if __name__ == "__main__":
    PICTURE.write_text(draw(Code.read(ROOT)), encoding="utf-8")
