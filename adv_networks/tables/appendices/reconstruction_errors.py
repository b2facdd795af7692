"""How well Defense-GAN reconstructs clean images, and how badly images of noise, by the steps of its descent."""

from __future__ import annotations

from collections.abc import Iterator

from adv_networks.defences.defense_gan import GENERATOR, nearest
from adv_networks.experiments import METHODS, Experiment
from adv_networks.lazy import np
from adv_networks.tables.appendices import derived
from adv_networks.tables.appendices.base import Made
from adv_networks.tables.appendices.derived import Number


def reconstruction_errors(made: Made) -> str:
    """Writes `<table>-reconstruction.csv`; returns its numbers as Markdown."""
    runs = {(cell.dataset, cell.row): cell.target for cell in made.cells if METHODS[cell.target.method].stands_in_front}
    found = [(row, spec, list(_numbers(made, spec))) for (_, row), spec in runs.items()]
    return "\n\n".join(
        [
            "## Reconstructions",
            "The mean over pixels of (G(z*) - x)², for the table's clean images x, and for as many images of uniform noise.",
            derived.write(made, f"{made.table.name}-reconstruction", found),
        ]
    )


def _numbers(made: Made, spec: Experiment) -> Iterator[Number]:
    clean = made.networks.workspace.images(spec.dataset, "test", spec.test_images).images / np.float32(255)
    noise = np.random.default_rng(0).random(clean.shape, np.float32)
    generator, own = made.networks.of(spec, GENERATOR), spec.own
    options = dict(steps=own.projection_steps, restarts=own.projection_restarts, rate=own.projection_rate)
    for name, x in {"clean images": clean, "noise": noise}.items():
        with made.networks.workspace.evaluating():
            found = np.concatenate(list(nearest(generator, x, **options)))
        yield Number(name, "squared error", float(np.mean((found - x) ** 2)), len(x))
