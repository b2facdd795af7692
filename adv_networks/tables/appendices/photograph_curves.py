"""The destruction rate of each transformation of a photograph alone, as curves over its strength."""

from __future__ import annotations

from adv_networks.storage import pictures
from adv_networks.tables import layout
from adv_networks.tables.appendices.base import Made


def photograph_curves(made: Made) -> str:
    """Draws a picture for each data set, with a panel for each transformation and a curve for each attack.

    Returns a description.
    """
    files = []
    for dataset in dict.fromkeys(row["dataset"] for row in made.rows):
        panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
        strengths: dict[str, list[str]] = {}
        for row in made.rows:
            attack, _, transformation = row["row"].rpartition(", ")
            name, _, strength = transformation.partition(" ")
            if row["dataset"] == dataset and row["measured_percent"] is not None:
                order = strengths.setdefault(name, [])
                if strength not in order:
                    order.append(strength)
                panels.setdefault(name, {}).setdefault(attack, []).append((order.index(strength) + 1, row["measured_percent"]))
        if panels:
            titled = {f"{name} {', '.join(strengths[name])}": series for name, series in panels.items()}
            stem = f"{layout.stem(made.table)}-{dataset}"
            pictures.curve_panels(
                made.directory / stem, titled, "strength, from the first to the last", "destruction rate in %"
            )
            files.append(f"`{stem}.png`")
    return f"{' and '.join(files)}: the same as curves, a panel for each transformation." if files else ""
