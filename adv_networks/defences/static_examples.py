"""Static adversarial examples for ensemble adversarial training, crafted once on a finished classifier."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adv_networks.attacks import Attack
from adv_networks.attacks.crafting import batch_size, batches_of, craft, on_devices
from adv_networks.defences.needed_run import NeededRun
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import Experiment
from adv_networks.lazy import keras, np
from adv_networks.storage.arrays import NoArrays, map_npy
from adv_networks.storage.files import reason, remove_leftovers
from adv_networks.storage.hashes import check_hashed, images_hash, write_hashed

if TYPE_CHECKING:
    from adv_networks.data import Images


class StaticExamples:
    """The static examples of one training set, in a file of the run on which they are crafted.

    The file's name has a hash of all that they depend on, so runs that need the same examples share them.

    Examples:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from adv_networks import attacks, data, defences, experiments
        >>> spec = experiments.experiment("digits", "ensemble")
        >>> images = data.Images(np.zeros((4, 8, 8, 1), np.uint8), np.arange(4))
        >>> run = defences.NeededRun(spec.needs()["classifier"], Path("runs/digits-standard-cpu-s0"), "hash of its weights")
        >>> defences.StaticExamples(spec, [attacks.named("fgs", 0.1)], run, images).file.name
        'static_examples-....npy'
    """

    def __init__(self, spec: Experiment, attacks: Sequence[Attack], source: NeededRun, training: Images):
        if source.workdir is None:
            raise UsageError(f"classifier: expected none with method {spec.method}, whose examples a run keeps, received one")
        self.bn_evaluation, self.attacks, self.source, self.training = spec.bn_evaluation, attacks, source, training
        made_of = [source.weights, images_hash(*training), spec.bn_evaluation, *(attack.settings() for attack in attacks)]
        identity = hashlib.sha256("".join(made_of).encode()).hexdigest()[:16]
        self.file = source.workdir / f"static_examples-{identity}.npy"

    def make(self) -> None:
        """Crafts the examples on the current strategy's devices, unless the file exists.

        Raises:
            UserError: the file cannot be written.
        """
        remove_leftovers(self.file.parent)
        if not self.file.exists():
            classifier = self.source.classifier()
            crafted = static_examples(self.attacks, classifier, self.training, bn_evaluation=self.bn_evaluation)
            write_hashed(self.file, lambda temporary: np.save(temporary, crafted))

    def read(self) -> np.ndarray:
        """The examples of `static_examples`, memory-mapped from the file.

        Raises:
            UserError: the file is missing or damaged, or belongs to other images.
        """
        advice = "remove it to craft them again"
        check_hashed(self.file, "static examples", advice)
        try:
            examples = map_npy(self.file)
        except (OSError, NoArrays) as error:
            raise UserError(f"{self.file}: expected static examples, found: {reason(error)} ({advice})") from None
        shape = (len(self.attacks), *self.training.images.shape)
        if examples.shape != shape or examples.dtype != np.int8:
            found = f"{examples.dtype} {examples.shape}"
            raise UserError(f"{self.file}: expected static examples {shape}, found {found} ({advice})")
        return examples


def static_examples(
    attacks: Sequence[Attack], classifier: keras.Model, training: Images, *, bn_evaluation: str = "moving"
) -> np.ndarray:
    """Perturbations of the training images by L∞ attacks, int8 [attacks, N, H, W, C] in units of ε/127.

    Their rounding error is at most ε/254, and they never exceed ε. With BN on batch statistics, the last batch is filled with
    earlier images.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import attacks, data, defences, networks
        >>> images = data.Images(np.zeros((4, 8, 8, 1), np.uint8), np.arange(4))
        >>> chosen = [attacks.named(name, 0.1) for name in ("fgs", "least_likely")]
        >>> defences.static_examples(chosen, networks.mlp((8, 8, 1), 10, 2), images).shape
        (2, 4, 8, 8, 1)
    """
    batch_statistics = bn_evaluation == "batch"

    def units(attack: Attack, number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        adversarial = craft(attack, classifier, x, y, seed=(attack.seed, number), training=batch_statistics)
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
