"""Standard training on Defense-GAN's reconstructions of the training images (Defense-GAN-Rec)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adv_networks.data import Images
from adv_networks.defences.base import Defence, register, setting
from adv_networks.defences.defense_gan import GENERATOR, GANSettings, nearest
from adv_networks.defences.needed_run import NeededRun
from adv_networks.defences.players import Players
from adv_networks.defences.standard import standard_step
from adv_networks.defences.updates import Scalars
from adv_networks.errors import UserError
from adv_networks.experiments import Experiment
from adv_networks.lazy import keras, np, tf
from adv_networks.storage.arrays import load_npy
from adv_networks.storage.files import remove_leftovers
from adv_networks.storage.hashes import check_hashed, images_hash, write_hashed

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


@dataclasses.dataclass(frozen=True)
class Settings(GANSettings):
    """The settings that only this method has, and those of the GAN that it builds on."""

    reconstruction_steps: int = setting(100, "L, descent steps to the generator's image nearest to a training image", least=1)
    reconstruction_restarts: int = setting(2, "R, latent vectors that the descent starts from on training images", least=1)
    reconstruction_rate: float = setting(10.0, "learning rate of that descent", above=0)


@register
class Reconstructed(Defence):
    """The classifier of Defense-GAN-Rec (Samangouei et al., 2018, Section 5).

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "reconstructed", reconstruction_steps=50)
        >>> defences.Reconstructed().needs(spec)["gan"].name
        'digits-defense_gan-cpu-s0'
    """

    name, letter, title = "reconstructed", "Rec", "standard training on Defense-GAN's reconstructions of the images"
    Settings = Settings

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """Defense-GAN, whose generator makes the reconstructions."""
        return {"gan": spec.sibling("defense_gan")}

    def prepare(self, spec: Experiment, needed: Mapping[str, NeededRun], training: Images) -> None:
        """Reconstructs the images, and stores them in the directory of the GAN's run."""
        file = self._file(spec, needed["gan"], training)
        remove_leftovers(file.parent)
        if not file.exists():
            made = reconstructions(needed["gan"].network(GENERATOR), training, spec)
            write_hashed(file, lambda temporary: np.save(temporary, made))

    def batches(
        self, spec: Experiment, needed: Mapping[str, NeededRun], training: Images, start: int, **further: Any
    ) -> tf.data.Dataset:
        """See `Defence.batches`."""
        file, advice = self._file(spec, needed["gan"], training), "remove it to make them again"
        check_hashed(file, "reconstructions", advice)
        made = load_npy(file)
        if made.shape != training.images.shape or made.dtype != np.uint8:
            shape = training.images.shape
            raise UserError(f"{file}: expected images uint8 {shape}, found {made.dtype} {made.shape} ({advice})")
        return super().batches(spec, needed, Images(made, training.labels), start, **further)

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `standard_step`."""
        return standard_step(players, x, y, spec, seed)

    def _file(self, spec: Experiment, gan: NeededRun, training: Images) -> Any:
        """The file of the reconstructions, with a hash of all that they depend on in its name."""
        own = dataclasses.astuple(spec.own)
        identity = hashlib.sha256(repr((gan.weights, images_hash(*training), own)).encode()).hexdigest()[:16]
        return gan.workdir / f"reconstructions-{identity}.npy"


def reconstructions(generator: keras.Model, images: Images, spec: Experiment) -> np.ndarray:
    """The generator's images nearest to the given ones, uint8 [N, height, width, channels]."""
    own = spec.own
    options = dict(steps=own.reconstruction_steps, restarts=own.reconstruction_restarts, rate=own.reconstruction_rate)
    return np.concatenate([np.round(255 * made).astype(np.uint8) for made in nearest(generator, images.images, **options)])
