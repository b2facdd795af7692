"""A contrastive latent space: images of one class are close together, other classes a margin apart (the CIFAR10 report).

The network is trained on pairs of images. The loss is the cross-entropy of both, plus a term of the distance d between their
latent vectors: d² if they have the same class, otherwise max(0, α − d)² (Hadsell, Chopra and LeCun, 2006, "Dimensionality
reduction by learning an invariant mapping"). A second head labels an image by the nearest of a few references.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from adv_networks import runtime
from adv_networks.defences.base import Defence, register, setting
from adv_networks.defences.needed_run import NeededRun
from adv_networks.defences.players import Players, make_players
from adv_networks.defences.updates import Scalars, accuracy, compiled, cross_entropy, descend_on
from adv_networks.errors import UsageError, UserError
from adv_networks.evaluation import latent_space
from adv_networks.experiments import Experiment, find_dataset
from adv_networks.lazy import keras, tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed
    from adv_networks.data import Images

_REFERENCES = 5


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of the loss and the head."""

    contrastive_margin: float = setting(2.0, "α, the distance to which latent vectors of two classes are pushed apart", above=0)
    contrastive_weight: float = setting(1.0, "weight of the contrastive loss; 0: none", least=0)
    contrastive_pairs: str = setting(
        "shifted", "pairs of images: first half of the minibatch with the second (shifted), or all", choices=("shifted", "all")
    )
    contrastive_head: str = setting(
        "softmax", "what labels images at test time: the last layer, or the nearest of 5 references per class", "test",
        choices=("softmax", "nearest"),
    )  # fmt: skip


@dataclasses.dataclass(eq=False)
class LatentPlayers(Players):
    """D, and a network of the same layers that returns latent vectors and logits."""

    both: keras.Model | None = None

    def shares(self, x: tf.Tensor) -> int:
        """Two, so that a replica has both images of a pair."""
        return 2


def contrastive_loss(first: tf.Tensor, second: tf.Tensor, same: tf.Tensor, margin: float) -> tf.Tensor:
    """The loss [pairs] of latent vectors first and second [pairs, n]; `same` [pairs] says which pairs have one class."""
    distance = latent_space.distances(first, second)
    return tf.where(same, distance**2, tf.maximum(margin - distance, 0) ** 2)


def loss_of_pairs(latents: tf.Tensor, y: tf.Tensor, settings: Settings) -> tf.Tensor:
    """The mean loss over the pairs of a minibatch with latent vectors [batch, n] and labels [batch]."""
    if settings.contrastive_pairs == "all":
        count = latents.shape[0]
        rows = tf.constant([(one, other) for one in range(count) for other in range(one)])
        first, second = rows[:, 0], rows[:, 1]
        pairs, same = (
            (tf.gather(latents, first), tf.gather(latents, second)),
            tf.equal(tf.gather(y, first), tf.gather(y, second)),
        )
    else:
        pairs, same = tf.split(latents, 2), tf.equal(*tf.split(y, 2))
    return tf.reduce_mean(contrastive_loss(*pairs, same, settings.contrastive_margin))


@compiled
def contrastive_step(players: LatentPlayers, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One step of D on the mean, over pairs, of the two cross-entropies and the weighted contrastive loss."""

    def losses() -> tuple[tf.Tensor, Scalars]:
        latents, logits = players.both(x, training=True)
        loss, contrast = cross_entropy(y, logits), loss_of_pairs(latents, y, spec.own)
        total = 2 * loss + spec.own.contrastive_weight * contrast
        return total, {"d_loss": loss, "contrastive_loss": contrast, "d_accuracy": accuracy(y, logits)}

    return descend_on(players, spec, losses)


@register
class Contrastive(Defence):
    """The defence of the report's section "Contrastive loss".

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "contrastive", contrastive_head="nearest")
        >>> defences.Contrastive().files(spec)
        ('d.keras', 'perturbations.png', 'latent_space.png')
        >>> spec.name  # without the head, because it is chosen at test time
        'digits-contrastive-cpu-s0'
    """

    name, letter, title = "contrastive", "L", "a latent space in which a contrastive loss keeps classes apart"
    Settings = Settings
    metrics = ("contrastive_loss", "validation_between_within")
    # As logits, the distances are so large that their softmax saturates; the difference of logits ratio has no scale.
    adaptive = "apgd_targeted:steps=50"
    pictured: ClassVar[int] = 500

    def check(self, spec: Experiment) -> None:
        """Refuses an odd batch size, because a minibatch must have two halves."""
        super().check(spec)
        if spec.batch_size % 2:
            raise UsageError(f"batch_size: expected an even number with method {self.name}, received {spec.batch_size}")

    def files(self, spec: Experiment) -> tuple[str, ...]:
        """See `Defence.files`."""
        return (*super().files(spec), "latent_space.png")

    def build(self, spec: Experiment, needed: Mapping[str, NeededRun]) -> LatentPlayers:
        """See `Defence.build`.

        Raises:
            UsageError: all pairs with several replicas, each of which sees only part of the pairs.
            UserError: your own classifier does not have a last layer that takes a vector.
        """
        fresh = make_players(spec, runtime.flattened)
        both, last = latent_space.with_latents(fresh.d), fresh.d.layers[-1]
        if isinstance(last, keras.Model) or len(both.outputs[0].shape) != 2:
            raise UserError(
                f"classifier: expected functional or sequential with method {self.name}, its last layer taking a vector, "
                f"found {type(last).__name__} as last layer"
            )
        if spec.own.contrastive_pairs == "all" and fresh.strategy.num_replicas_in_sync > 1:
            raise UsageError("contrastive_pairs: expected shifted on several devices, received all")
        return LatentPlayers(fresh.d, fresh.d_optimizer, both=both)

    def as_evaluated(self, classifier: keras.Model, spec: Experiment, training: Callable[[], Images]) -> keras.Model:
        """See `Defence.as_evaluated`: the head that `contrastive_head` names."""
        if spec.own.contrastive_head == "softmax":
            return classifier
        references = latent_space.references(training(), find_dataset(spec.dataset).classes, _REFERENCES)
        return latent_space.nearest_reference(classifier, references)

    def step(self, players: LatentPlayers, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `contrastive_step`."""
        return contrastive_step(players, x, y, spec, seed)

    def validate(self, players: LatentPlayers, validation: Images, spec: Experiment) -> dict[str, float]:
        """Its accuracies, and how far apart the classes are."""
        latents = latent_space.latents_of(players.d, validation.images)
        ratio = latent_space.Clusters(latents, validation.labels).between_within
        return super().validate(players, validation, spec) | {"validation_between_within": ratio}

    def pictures(self, players: LatentPlayers, shown: Images, spec: Experiment) -> dict[str, Any]:
        """The figures of every defence, and the latent space in two dimensions, for clean images and under PGD."""
        figure = latent_space.draw(players.d, shown, spec.attack("pgd"), spec.dataset)
        return super().pictures(players, shown.first(8), spec) | {"latent_space": figure}
