"""Latent spaces with and without the contrastive loss: distances, clusters, and pictures in two dimensions."""

from __future__ import annotations

from collections.abc import Iterator

from adv_networks.attacks.crafting import craft_all
from adv_networks.evaluation import latent_space
from adv_networks.experiments import Experiment, find_dataset
from adv_networks.lazy import np
from adv_networks.storage import pictures
from adv_networks.tables.appendices import derived
from adv_networks.tables.appendices.base import Made
from adv_networks.tables.appendices.derived import SHARE, Number

_NAME = "report-latent"
_REFERENCES, _MORE_REFERENCES, _SHOWN, _EPSILON = 5, 500, 500, 0.01
_ATTACKS = {"FGSM": f"fgs:epsilon={_EPSILON}", "PGD": f"pgd:epsilon={_EPSILON}"}


def latent_spaces(made: Made) -> str:
    """Writes `report-latent.csv` and a picture of each latent space; returns the numbers as Markdown."""
    runs = {cell.row.rpartition(",")[0]: cell.target for cell in made.cells if cell.row.endswith("softmax")}
    found = [(row, spec, list(_numbers(made, row, spec))) for row, spec in runs.items()]
    return "\n\n".join(
        [
            "## The latent space",
            f"Vectors before the last layer: the mean distance between the classes' centres over that from an image to its own "
            f"centre; the mean distance to the nearest of {_REFERENCES} references a class; and how many of the images that an "
            f"attack at ε = {_EPSILON} fools lie nearer to another class's centre than that class's mean member does. Also, "
            "the accuracy on clean images of the nearest of that many references a class, and of the nearest of their centres. "
            "`report-latent-*.png` shows them in the plane of the clean images (PCA).",
            derived.write(made, _NAME, found),
        ]
    )


def _numbers(made: Made, row: str, spec: Experiment) -> Iterator[Number]:
    workspace, classes = made.networks.workspace, find_dataset(spec.dataset).classes
    tested, training = workspace.images(spec.dataset, "test", spec.test_images), workspace.training_and_validation(spec)[0]
    model, count = made.networks.of(spec), len(tested.images)
    fewest = int(np.bincount(training.labels, minlength=classes).min())
    more = max(_REFERENCES, min(_MORE_REFERENCES, fewest))
    many = latent_space.latents_of(model, latent_space.references(training, classes, more)).reshape(classes, more, -1)
    references = many[:, :_REFERENCES].reshape(-1, many.shape[-1])
    with workspace.evaluating():
        clean = latent_space.latents_of(model, tested.images)
        attacked = {name: craft_all(spec.attack(text), model, *tested) for name, text in _ATTACKS.items()}
        seen = {name: latent_space.labels_of(model, images) for name, images in attacked.items()}
        vectors = {"clean": clean} | {name: latent_space.latents_of(model, images) for name, images in attacked.items()}
        figure = latent_space.draw(model, tested.first(_SHOWN), spec.attack(_ATTACKS["PGD"]), spec.dataset)
    pictures.save(figure, made.directory / f"{_NAME}-{row.partition(' ')[0]}.png")
    clusters = latent_space.Clusters(clean, tested.labels)
    yield Number("between over within classes", "ratio", clusters.between_within, count)
    for name, own in vectors.items():
        distance = latent_space.to_nearest(own, references).mean()
        yield Number(f"distance to the nearest reference, {name}", "distance", float(distance), count)
    candidates = {f"{number} references": many[:, :number] for number in sorted({_REFERENCES, more})}
    candidates[f"the centres of {more} references"] = many.mean(1, keepdims=True)
    for name, own in candidates.items():
        right = latent_space.nearest_class(clean, own) == tested.labels
        yield Number(f"nearest of {name}, clean", SHARE, 100 * float(right.mean()), count)
    for name, labels in seen.items():
        fooled = labels != tested.labels
        if fooled.any():
            share = 100 * float(clusters.inside(vectors[name][fooled], labels[fooled]).mean())
            yield Number(f"fooled inside another cluster, {name}", SHARE, share, int(fooled.sum()))
