"""A table whose columns are ε, as curves: the CIFAR10 report's figure."""

from __future__ import annotations

from adv_networks.storage import pictures
from adv_networks.tables import layout
from adv_networks.tables.appendices.base import Made


def panels_by_epsilon(made: Made) -> str:
    """Draws a panel for each metric, with a curve for each row; returns a description."""
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in made.rows:
        if row["measured_percent"] is not None:
            points = panels.setdefault(row["metric"], {}).setdefault(row["row"], [])
            points.append((float(row["column"]), row["measured_percent"]))
    if not panels:
        return ""
    stem = f"{layout.stem(made.table)}-epsilon"
    pictures.curve_panels(made.directory / stem, panels, "ε", "%")
    return f"`{stem}.png`: the same as curves."
