"""One digit under FGS at growing ε, with the predictions of each classifier of a table: the red and blue report's picture."""

from __future__ import annotations

from adv_networks.attacks import fgs, predict
from adv_networks.lazy import keras, np, scipy
from adv_networks.storage import pictures
from adv_networks.tables import layout
from adv_networks.tables.appendices.base import Made

_EPSILONS = (0, 0.05, 0.075, 0.10, 0.15, 0.175, 0.20, 0.25, 0.30)
_LABEL = 7


def digit_by_epsilon(made: Made) -> str:
    """Draws the first test image of a seven at each ε, one row for each classifier; returns a description."""
    targets = {cell.row: cell.target for cell in made.cells}
    dataset = made.cells[0].dataset
    images, labels = made.networks.workspace.images(dataset, "test")
    shown = int(np.flatnonzero(labels == _LABEL)[0])
    x, y = images[shown : shown + 1] / np.float32(255), labels[shown : shown + 1]
    with made.networks.workspace.evaluating():
        rows = {row: _attacked(made.networks.of(spec), x, y) for row, spec in targets.items()}
    stem = f"{layout.stem(made.table)}-{dataset}-digit"
    pictures.image_rows(made.directory / stem, rows)
    return f"`{stem}.png`: test image {shown}, a {_LABEL}, under FGS of ε {', '.join(f'{epsilon:g}' for epsilon in _EPSILONS)}."


def _attacked(classifier: keras.Model, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The image at each ε, and the classifier's prediction and confidence."""
    adversarial = np.concatenate([fgs(classifier, x, y, epsilon).numpy() for epsilon in _EPSILONS])
    likely = scipy.special.softmax(predict(classifier, adversarial).numpy().astype(np.float64), 1)
    texts = [f"ε {epsilon:g}\n{own.argmax()} ({100 * own.max():.0f}%)" for epsilon, own in zip(_EPSILONS, likely, strict=True)]
    return adversarial, texts
