"""The latent space of a classifier: the inputs of its last layer, their clusters by class, and a 1-NN classifier on them.

The distance of two vectors is √(Σ(a − b)² + 1e-12), because the gradient of the root is infinite at zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adv_networks.attacks import Attack, predict
from adv_networks.attacks.crafting import BATCH_SIZE, craft_all
from adv_networks.errors import UserError
from adv_networks.experiments import find_dataset
from adv_networks.lazy import keras, np, scipy, tf
from adv_networks.storage import pictures

if TYPE_CHECKING:
    from adv_networks.data import Images

_SMALLEST = 1e-12


def distances(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """The distances of vectors [..., n], by the module's formula."""
    return tf.sqrt(tf.reduce_sum((first - second) ** 2, -1) + _SMALLEST)


def with_latents(model: keras.Model) -> keras.Model:
    """A model of the classifier's own layers with two outputs: the input of its last layer, [batch, n], and the logits."""
    taken = []

    def call(layer: keras.Layer, *inputs: Any, **options: Any) -> Any:
        if layer is model.layers[-1]:
            taken.append(inputs[0])
        return layer(*inputs, **options)

    # If a layer belongs to several models, its `input` is the one of the first model.
    functional = keras.Model(model.inputs[0], model.outputs[0]) if isinstance(model, keras.Sequential) else model
    again = keras.models.clone_model(functional, clone_function=lambda layer: layer, call_function=call)
    return keras.Model(again.inputs[0], [taken[0], again.outputs[0]])


def latents_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The latent vectors [N, n] of images, uint8 or floats in [0,1], in inference mode."""
    both = with_latents(model)
    return _outputs(keras.Model(both.inputs[0], both.outputs[0]), images)


def labels_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The predicted classes [N] of images, uint8 or floats in [0,1]."""
    return _outputs(model, images).argmax(1)


def _outputs(model: keras.Model, images: np.ndarray) -> np.ndarray:
    parts = (images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE))
    return np.concatenate([predict(model, part).numpy() for part in parts])


def references(training: Images, classes: int, count: int) -> np.ndarray:
    """The first `count` images of each class, [classes · count, H, W, C].

    Raises:
        UserError: a class has fewer images.
    """
    rows = [np.flatnonzero(training.labels == label)[:count] for label in range(classes)]
    for label, own in enumerate(rows):
        if len(own) < count:
            raise UserError(f"class {label}: expected {count} training images for references, found {len(own)}")
    return training.images[np.concatenate(rows)]


def nearest_reference(model: keras.Model, images: np.ndarray) -> keras.Model:
    """A classifier that assigns the class of the nearest reference in the latent space of another classifier.

    Args:
        model: the other classifier, a functional model; the new one shares its layers.
        images: the references, the same number for each class, one class after the other.

    Returns:
        A model from images in [0,1] to logits [batch, classes]. The logit of a class is minus the distance to the nearest
        reference of the class, so the argmax is 1-NN. The model is differentiable almost everywhere, and has only Keras layers.
    """
    vectors, classes = latents_of(model, images), model.output_shape[-1]
    count, size = vectors.shape
    # Subtracts each reference from each vector. A Keras layer holds the references, so they are saved with the model.
    differences = keras.layers.EinsumDense("abc,bc->abc", (count, size), bias_axes="bc", trainable=False)
    latent = keras.layers.RepeatVector(count)(model.layers[-1].input)
    squares = keras.ops.sum(keras.ops.square(differences(latent)), -1)
    differences.set_weights([np.ones((count, size)), -vectors])
    each = keras.layers.Reshape((classes, count // classes))(keras.ops.sqrt(squares + _SMALLEST))
    return keras.Model(model.inputs[0], keras.ops.negative(keras.ops.min(each, -1)))


class Clusters:
    """Latent vectors by class: the classes, their centres [classes, n], and each vector's distance [N] from its own centre."""

    def __init__(self, latents: np.ndarray, labels: np.ndarray):
        self.classes = np.unique(labels)
        self.centres = np.stack([latents[labels == label].mean(0) for label in self.classes])
        self.labels = labels
        self.within = self.distance(latents, labels)

    def distance(self, vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The distances [N] of vectors [N, n] from the centres of the classes with these labels [N]."""
        return np.linalg.norm(vectors - self.centres[np.searchsorted(self.classes, labels)], axis=1)

    @property
    def between_within(self) -> float:
        """The mean distance between centres, divided by the mean distance of vectors from their own centre."""
        apart = np.linalg.norm(self.centres[:, None] - self.centres[None], axis=-1)
        return float(apart[np.triu_indices(len(self.classes), 1)].mean() / max(self.within.mean(), _SMALLEST))

    def inside(self, vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Which vectors are closer to the centre of their label's class than its members are on average, booleans [N]."""
        radius = np.array([self.within[self.labels == label].mean() for label in self.classes])
        return self.distance(vectors, labels) < radius[np.searchsorted(self.classes, labels)]


def to_nearest(vectors: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The distances [N] of vectors [N, n] to the nearest of the references [count, n]."""
    return scipy.spatial.distance.cdist(vectors, references).min(1)


def nearest_class(vectors: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The class [N] of the reference that is nearest to each of the vectors [N, n]; references are [classes, count, n]."""
    distances = scipy.spatial.distance.cdist(vectors, references.reshape(-1, references.shape[-1]))
    return distances.argmin(1) // references.shape[1]


def plane_of(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean [n] of vectors and their two main directions [n, 2] (PCA), each with its largest entry positive."""
    mean = latents.mean(0)
    directions = np.linalg.svd(latents - mean, full_matrices=False)[2][:2].T
    return mean, directions * np.sign(directions[np.abs(directions).argmax(0), [0, 1]])


def draw(model: keras.Model, shown: Images, attack: Attack, dataset: str) -> Any:
    """Draws the latent vectors of clean and attacked images in the main plane of the clean ones, coloured by class."""
    adversarial = craft_all(attack, model, *shown)
    clean, moved = (latents_of(model, images) for images in (shown.images, adversarial))
    mean, directions = plane_of(clean)
    points = {"clean": (clean - mean) @ directions, attack.title: (moved - mean) @ directions}
    declared = find_dataset(dataset)
    return pictures.scatter(points, shown.labels, [declared.class_name(label) for label in range(declared.classes)])
