"""Our networks and attacks in Foolbox, and its attacks on our networks. Loads Foolbox."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any

import eagerpy
import foolbox
from foolbox.attacks.base import AttackWithDistance, FixedEpsilonAttack, get_criterion, raise_if_kwargs
from foolbox.distances import LpDistance

from adv_networks.attacks.base import Attack
from adv_networks.attacks.crafting import craft_all
from adv_networks.attacks.foreign.base import ForeignAttack, Runner, check_arguments, find, target_of
from adv_networks.attacks.gradient import predict
from adv_networks.attacks.inputs import as_labels
from adv_networks.attacks.targets import targets_of
from adv_networks.errors import UsageError
from adv_networks.experiments import NORMS
from adv_networks.lazy import keras, np, tf


def classifier(model: keras.Model) -> foolbox.TensorFlowModel:
    """Wraps a Keras classifier from images in [0,1] to logits for Foolbox: compiled, and always in inference mode."""
    # Only an empty tensor is placed on this device; without it Foolbox would look for GPUs.
    return foolbox.TensorFlowModel(functools.partial(predict, model), bounds=(0, 1), device="/CPU:0")


def runner(attack: ForeignAttack) -> Runner:
    """A function of (model, x, y) that runs the class that the attack names.

    An attack that minimises a norm other than the ball's gets no limit. With the argument `target` the attack moves towards
    that class, one of the names of `targets_of`.

    Raises:
        UsageError: there is no such attack, it does not take the arguments, or its own ball has another norm.
    """
    kind, p = find(attack, _KINDS), NORMS[attack.norm]
    accepted = inspect.signature(kind).parameters
    target = target_of(attack, accepted, can=True, must=attack.algorithm in _TARGETED)
    check_arguments(attack, accepted.keys() - {"distance"} | {"target"})
    arguments = {name: value for name, value in attack.arguments if name in accepted}
    made = kind(**(dict(distance=LpDistance(p)) if "distance" in accepted else {}), **arguments)
    own = made.distance.p
    if own != p and isinstance(made, FixedEpsilonAttack):
        names = {number: name for name, number in NORMS.items()}
        raise UsageError(
            f"norm of {attack.name}: expected {names[own]}, its own, as in {attack.name}:norm={names[own]}:epsilon=1, "
            f"received {attack.norm}"
        )
    limit = attack.epsilon if own == p else None

    def run(model: keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        criterion = foolbox.Misclassification(tf.convert_to_tensor(y, tf.int64))
        if target is not None:
            criterion = foolbox.TargetedMisclassification(tf.cast(targets_of(model, x, as_labels(y), target), tf.int64))
        return made(classifier(model), tf.convert_to_tensor(x), criterion, epsilons=limit)[1].numpy()

    return run


_KINDS = {
    name: kind for name, kind in vars(foolbox.attacks).items() if inspect.isclass(kind) and issubclass(kind, AttackWithDistance)
}


# Attacks that can only be targeted.
_TARGETED = frozenset({"GenAttack"})


class DeclaredAttack(FixedEpsilonAttack):
    """One of our attacks, including the generator's, as an attack of Foolbox. Its images equal those of our grid bit for bit.

    Args:
        attack: the attack, as from `experiments.Experiment.attack`; the caller of `run` sets ε.
        source: the model that it is crafted on: a generator for the generator's attack, otherwise a classifier.
    """

    def __init__(self, attack: Attack, source: keras.Model):
        self.attack, self.source = attack, source

    @property
    def distance(self) -> LpDistance:
        """The distance of the attack's norm."""
        return LpDistance(NORMS[self.attack.norm])

    def run(self, model: foolbox.Model, inputs: Any, criterion: Any, *, epsilon: float, **kwargs: Any) -> Any:
        """Adversarial images for the inputs, which are tensors of any framework of Foolbox.

        `criterion` is labels or a Misclassification.

        Raises:
            UsageError: another criterion, or the model's pixel range is not [0,1].
        """
        raise_if_kwargs(kwargs)
        criterion = get_criterion(criterion)
        if not isinstance(criterion, foolbox.Misclassification):
            raise UsageError(f"criterion: expected Misclassification, received {type(criterion).__name__}")
        if tuple(model.bounds) != (0, 1):
            raise UsageError(f"bounds: expected (0, 1), received {tuple(model.bounds)}")
        x, restore = eagerpy.astensor_(inputs)
        attack = dataclasses.replace(self.attack, epsilon=epsilon)
        adversarial = craft_all(attack, self.source, x.numpy(), criterion.labels.numpy())
        return restore(eagerpy.from_numpy(x, adversarial))
