"""Several classifiers against several generators in one game (Section 4.6)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from adv_networks import networks
from adv_networks.defences.adversarial_network import AdversarialNetwork
from adv_networks.defences.base import register, setting
from adv_networks.defences.needed_run import NeededRun
from adv_networks.defences.players import Players, make_players
from adv_networks.errors import UsageError
from adv_networks.experiments import CLASSIFIERS, Experiment, find_classifier
from adv_networks.lazy import keras


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings that only this defence has."""

    classifiers: tuple[str, ...] = setting(
        ("d1", "d1"), "classifiers in the game, names that --list shows; a name may be repeated", choices=CLASSIFIERS
    )


@dataclasses.dataclass(eq=False)
class SeveralPlayers(Players):
    """Several classifiers, `members`, and D, the mean of their probabilities, which has no weights of its own.

    Examples:
        >>> from adv_networks import defences, experiment
        >>> spec = experiment("digits", "advnet_several", classifiers=("mlp", "mlp"), generators=("released_mnist",))
        >>> sorted(defences.SeveralClassifiers().build(spec, {}).networks())
        ['d-1.keras', 'd-2.keras', 'd.keras', 'g.keras']
    """

    members: tuple[keras.Model, ...] = ()

    @property
    def classifiers(self) -> tuple[keras.Model, ...]:
        """The members."""
        return self.members

    def networks(self) -> dict[str, keras.Model]:
        """The mean of the classifiers, each classifier, and the generators."""
        alone = {member_file(position): member for position, member in enumerate(self.members)}
        return super().networks() | alone


def member_file(position: int) -> str:
    """The file of the run's classifier at this position (from 0) in `classifiers`.

    Examples:
        >>> from adv_networks import defences
        >>> defences.member_file(0)
        'd-1.keras'
    """
    return f"d-{position + 1}.keras"


def mean_of_probabilities(members: Sequence[keras.Model]) -> keras.Model:
    """A classifier whose logits are the logarithms of the mean of the members' probabilities.

    Args:
        members: classifiers from images in [0,1] of one shape to logits of the same classes; the mean shares their weights.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import defences, networks
        >>> members = [networks.mlp((8, 8, 1), 10, 2), networks.d1((8, 8, 1), 10, 2)]
        >>> logits = defences.mean_of_probabilities(members)(np.zeros((3, 8, 8, 1)))
        >>> np.exp(logits).sum(1).round(3).tolist()
        [1.0, 1.0, 1.0]
    """
    image = keras.Input(members[0].input_shape[1:], name="image")
    logarithms = [keras.ops.log_softmax(member(image)) for member in members]
    total = keras.ops.logsumexp(keras.ops.stack(logarithms), axis=0)
    return keras.Model(image, total - math.log(len(members)), name="mean")


@register
class SeveralClassifiers(AdversarialNetwork):
    """Section 4.6: M classifiers and N generators. Each image goes to one generator; every classifier learns from all images.

    A generator ascends the mean of the classifiers' losses, and each classifier descends its own loss. The run's `d.keras`
    averages their probabilities, and each classifier also has its own file.

    Examples:
        >>> from adv_networks import defences, experiment
        >>> spec = experiment("digits", "advnet_several", classifiers=("d1", "mlp"), generators=("g1",))
        >>> defences.SeveralClassifiers().files(spec)
        ('d.keras', 'd-1.keras', 'd-2.keras', 'g.keras', 'perturbations.png')
    """

    name, letter, title = "advnet_several", "nC", "several classifiers against the generators in one game (Section 4.6)"
    Settings = Settings

    def check(self, spec: Experiment) -> None:
        """Refuses fewer than two classifiers, unknown ones, and the comparison of the regulariser, which needs a single one."""
        super().check(spec)
        if len(spec.own.classifiers) < 2:
            raise UsageError(f"classifiers: expected at least 2, received {len(spec.own.classifiers)}")
        for name in spec.own.classifiers:
            find_classifier(name).check(_alone(spec, name))
        if spec.compare_regulariser:
            raise UsageError(f"compare_regulariser: expected false with method {self.name}, received true")

    def files(self, spec: Experiment) -> tuple[str, ...]:
        """See `Defence.files`."""
        mean, *others = super().files(spec)
        return (mean, *self.member_files(spec), *others)

    def member_files(self, spec: Experiment) -> tuple[str, ...]:
        """See `Defence.member_files`."""
        return tuple(member_file(position) for position in range(len(spec.own.classifiers)))

    def multiply_adds(self, spec: Experiment) -> float:
        """See `Defence.multiply_adds`; slightly too many, because the generators ascend once for all classifiers."""
        return sum(super(SeveralClassifiers, self).multiply_adds(_alone(spec, name)) for name in spec.own.classifiers)

    def build(self, spec: Experiment, needed: Mapping[str, NeededRun]) -> SeveralPlayers:
        """See `Defence.build`."""
        first, *others = spec.own.classifiers
        members: list[keras.Model] = []

        def together(d: keras.Model) -> keras.Model:
            members.extend([d, *(networks.classifier(_alone(spec, name)) for name in others)])
            for position, member in enumerate(members, 1):
                member.name = f"{member.name}_{position}"  # Two of one family need different names in one model.
            return mean_of_probabilities(members)

        players = make_players(_alone(spec, first), together)
        return SeveralPlayers(
            **{field.name: getattr(players, field.name) for field in dataclasses.fields(players)}, members=tuple(members)
        )


def _alone(spec: Experiment, name: str) -> Experiment:
    """The experiment with only one of its classifiers, with the settings of its family unless they are overridden."""
    own = {key: value for key, value in find_classifier(name).settings.items() if key not in dict(spec.overrides)}
    return dataclasses.replace(spec, classifier=name, **own)
