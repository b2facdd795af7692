"""Attacks on whole data sets, batch by batch.

Inside the scope of a distribution strategy, its devices take the batches in turn. The models' variables must have been created
in that scope. A batch is never split, so the results do not depend on the number of devices.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from adv_networks import runtime
from adv_networks.attacks.base import Attack, Crafted, checked_attack
from adv_networks.attacks.inputs import as_arrays
from adv_networks.experiments import BATCH_STATISTICS_SIZE, choose
from adv_networks.lazy import keras, np, tf

BATCH_SIZE = 250


def batch_size(bn_evaluation: str) -> int:
    """The evaluation's batch size: 250, or 64 if BN uses the statistics of each batch.

    Raises:
        UsageError: `bn_evaluation` is neither moving nor batch.
    """
    return choose({"moving": BATCH_SIZE, "batch": BATCH_STATISTICS_SIZE}, bn_evaluation, "bn_evaluation")


def batches_of(
    images: np.ndarray, labels: np.ndarray, size: int, *, filled: bool = False, classes: int | None = None
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields (number, images in [0,1], labels) for each batch; float images are not rescaled.

    The last batch may be smaller. If `filled`, it starts earlier instead and repeats images of the batch before. `classes` is
    the number of classes, or None if unknown.

    Raises:
        UsageError: images that are neither uint8 nor floats in [0,1], or labels that are not one integer per image.
    """
    images, labels = as_arrays(images, labels, classes=classes)
    for number, start in enumerate(range(0, len(images), size)):
        start = max(0, min(start, len(images) - size)) if filled else start
        x = images[start : start + size]
        yield number, x / np.float32(255) if x.dtype == np.uint8 else x, np.asarray(labels[start : start + size], np.int32)


def on_devices(work: Callable[..., Any], batches: Iterable[tuple[int, np.ndarray, np.ndarray]]) -> Iterator[Any]:
    """Yields `work(number, x, y)` for each batch, in order; the devices of the current strategy take the batches in turn."""
    strategy = tf.distribute.get_strategy()
    devices = strategy.extended.worker_devices if tf.distribute.has_strategy() else ()
    if len(devices) < 2:
        yield from itertools.starmap(work, batches)
        return
    from concurrent.futures import ThreadPoolExecutor  # which takes long to load

    def work_on(device: str, batch: tuple[int, np.ndarray, np.ndarray]) -> Any:
        # A mirrored variable is read from its copy on the current device.
        with strategy.scope(), tf.device(device):
            return work(*batch)

    batches = iter(batches)
    with ThreadPoolExecutor(len(devices)) as pool:
        while turn := list(itertools.islice(batches, len(devices))):
            yield from pool.map(work_on, devices, turn)


def crafted(attack: Attack, source: keras.Model | None, x: Any, y: Any, *, seed: tuple[int, int], **options: Any) -> Crafted:
    """`attack.crafted`, with the random draws of the source also determined by the seed."""
    with runtime.drawing(*seed, draws=checked_attack(attack).draws):
        return attack.crafted(source, x, y, seed=seed, **options)


def craft(attack: Attack, source: keras.Model | None, x: Any, y: Any, *, seed: tuple[int, int], **options: Any) -> tf.Tensor:
    """Only the images of `crafted`."""
    return crafted(attack, source, x, y, seed=seed, **options).images


def craft_all(attack: Attack, source: keras.Model, images: np.ndarray, labels: np.ndarray, *, state: Any = None) -> np.ndarray:
    """Adversarial images for a whole data set, with BN on its moving averages: floats in [0,1], [N, H, W, C].

    Args:
        attack: the attack.
        source: the model that it is crafted on.
        images: uint8 or floats in [0,1], [N, H, W, C].
        labels: integers [N].
        state: for an attack that learns, the result of `Attack.fit` on other images.

    Raises:
        UsageError: invalid images or labels, or the state of an attack that learns is missing.

    Examples:
        >>> import keras
        >>> from adv_networks import attacks, data
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> images, labels = data.load("digits", "test", limit=300)
        >>> adversarial = attacks.craft_all(attacks.PGD(epsilon=0.1, steps=3), model, images, labels)
        >>> adversarial.shape, adversarial.dtype
        ((300, 8, 8, 1), dtype('float32'))
    """

    checked_attack(attack)

    def images_of(number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return craft(attack, source, x, y, seed=(attack.seed, number), state=state).numpy()

    return np.concatenate(list(on_devices(images_of, batches_of(images, labels, BATCH_SIZE))))
