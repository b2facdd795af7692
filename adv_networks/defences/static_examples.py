"""Static adversarial examples, crafted once on a finished classifier, by which ensemble adversarial training is enlarged."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from adv_networks.attacks import Attack
from adv_networks.attacks.crafting import batch_size, batches_of, on_devices
from adv_networks.data import Images
from adv_networks.lazy import keras


def static_examples(
    attacks: Sequence[Attack], classifier: keras.Model, training: Images, *, bn_evaluation: str = "moving"
) -> np.ndarray:
    """Perturbations of the training images by L∞ attacks, int8 [attacks, N, H, W, C] in units of ε/127.

    Rounding makes them off by at most ε/254, and never above ε. With BN on batch statistics the last batch is filled with
    images from before it.
    """
    batch_statistics = bn_evaluation == "batch"

    def units(attack: Attack, number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        adversarial = attack.craft(classifier, x, y, seed=(attack.seed, number), training=batch_statistics)
        return np.round(np.clip((adversarial.numpy() - x) / attack.epsilon, -1, 1) * 127).astype(np.int8)

    result = np.empty((len(attacks), *training.images.shape), np.int8)
    for kind, attack in enumerate(attacks):
        done = 0
        batches = batches_of(*training, batch_size(bn_evaluation), filled=batch_statistics)
        for part in on_devices(functools.partial(units, attack), batches):
            new = part[done - len(training.images) :]
            result[kind, done : done + len(new)] = new
            done += len(new)
    return result
