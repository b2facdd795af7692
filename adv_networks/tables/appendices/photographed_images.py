"""The first test images, adversarial images of them, and simulated photographs of both, with the classifier's labels."""

from __future__ import annotations

from adv_networks.attacks import craft_all, predict
from adv_networks.attacks.base import checked_attack
from adv_networks.experiments import Cell
from adv_networks.lazy import keras, np
from adv_networks.storage import pictures
from adv_networks.tables import layout
from adv_networks.tables.appendices.base import Made

_SHOWN = 8


def photographed_images(made: Made) -> str:
    """Draws a picture for each data set, with a row for each white-box column of the table; returns a description."""
    files = []
    for dataset in dict.fromkeys(cell.dataset for cell in made.cells):
        # The columns of other measures have the same attacks.
        cells = {
            cell.row if made.table.transposed else cell.column: cell
            for cell in made.cells
            if cell.dataset == dataset and cell.source is None
        }
        images, labels = made.networks.workspace.images(dataset, "test", _SHOWN)
        with made.networks.workspace.evaluating():
            rows = {label: crafted(cell, made.networks.of(cell.target), images, labels) for label, cell in cells.items()}
        stem = f"{layout.stem(made.table)}-{dataset}"
        pictures.image_rows(made.directory / stem, rows)
        files.append(f"`{stem}.png`")
    return f"{' and '.join(files)}: the first {_SHOWN} test images under each attack, and the class that each is taken for."


def crafted(cell: Cell, classifier: keras.Model, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The images that an attack makes, and the number of the class that each is taken for."""
    images = craft_all(checked_attack(cell.attack), classifier, images, labels)
    return images, [str(label) for label in np.argmax(predict(classifier, images), 1)]
