"""`--demo`: attacks three trained networks that ship with the package."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import ClassVar

from adv_networks.attacks import craft_all, predict
from adv_networks.commands.base import Unchecked
from adv_networks.commands.listing import aligned
from adv_networks.data import Images
from adv_networks.evaluation import load_classifier
from adv_networks.experiments import METHODS, Experiment, experiment
from adv_networks.lazy import keras, np
from adv_networks.storage import pictures
from adv_networks.training import Workspace

DATASET = "mnist"
NETWORKS = ("standard", "pgd", "advnet")
ATTACKS = ("clean", "fgs", "pgd")
SHOWN_IMAGES = 8
_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo(Unchecked):
    """Attacks the committed networks A, B and C (MNIST, scale cpu) on the first test images, and draws some of the images.

    The networks and the images are in the package, so the demo needs no data set, no training and no internet.

    Attributes:
        workspace: its directory of runs gets the picture, `demo.png`.
    """

    needs_tensorflow: ClassVar[bool] = True

    workspace: Workspace

    def run(self) -> Iterator[str]:
        """See `Command.run`; prints the accuracy of each network under each attack, and the file of the picture."""
        x, y = test_images()
        specs = {name: experiment(DATASET, name, scale="cpu") for name in NETWORKS}
        lines, perturbed = [["white-box attacks", "none", "FGS", "PGD"]], {}
        for name, spec in specs.items():
            model = network(spec)
            _LOGGER.info("attacking %s (%s)", METHODS[name].title, METHODS[name].letter)
            accuracies = []
            for attack in map(spec.attack, ATTACKS):
                adversarial = craft_all(attack, model, x, y) if attack.epsilon else x / np.float32(255)
                seen = _seen(model, adversarial)
                accuracies.append(f"{100 * np.mean(seen == y):.1f}%")
            lines.append([f"{METHODS[name].letter}: {METHODS[name].title}", *accuracies])
            perturbed[name] = adversarial[:SHOWN_IMAGES], seen[:SHOWN_IMAGES]
        picture = self.workspace.runs / "demo.png"
        limit = spec.attack("pgd").epsilon
        _draw(picture, x[:SHOWN_IMAGES] / np.float32(255), y[:SHOWN_IMAGES], perturbed, limit)
        yield (
            f"Accuracy on the first {len(x)} test images of MNIST; attacks change a pixel by at most {limit:g} of its range\n"
            f"{aligned(lines)}\n{picture}: eight of the images, and their perturbations by PGD"
        )


def test_images() -> Images:
    """The test images in the package: the first ones of MNIST, uint8 [N, 28, 28, 1], and their labels [N]."""
    with resources.as_file(_sample() / f"{DATASET}.npz") as file, np.load(file) as arrays:
        return Images(arrays["images"], arrays["labels"].astype(np.int32))


def network(spec: Experiment) -> keras.Model:
    """The trained classifier of an experiment whose weights are in the package."""
    with resources.as_file(_sample() / f"{spec.name}.keras") as file:
        return load_classifier(file, spec.dataset)


def _sample() -> resources.abc.Traversable:
    return resources.files("adv_networks") / "sample"


def _seen(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return np.argmax(predict(model, x), 1)


def _draw(file: Path, x: np.ndarray, y: np.ndarray, perturbed: dict[str, tuple[np.ndarray, np.ndarray]], limit: float) -> None:
    """Draws the images, and for each network PGD's perturbations, the perturbed images and their predicted classes."""
    named = {f"PGD on {METHODS[name].letter}": images for name, (images, _) in perturbed.items()}
    above = [[f"a {label}" for label in y.tolist()]]
    above += [[f"seen as {label}" for label in seen.tolist()] for _, seen in perturbed.values()]
    pictures.save(pictures.perturbations(x, named, limit, above), file)
