"""Measures, during training, how well the finite difference of Eq. 5 agrees with double backprop."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from adv_networks.defences.game import regularised_gradient_of
from adv_networks.defences.players import Players, make_players
from adv_networks.defences.updates import Scalars, compiled
from adv_networks.experiments import Experiment
from adv_networks.lazy import tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


class RegulariserComparison:
    """Compares an experiment's finite difference with the exact product, on copies of its players.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "advnet", classifier="mlp", generators=("released_mnist",))
        >>> [twin.regulariser for twin in defences.RegulariserComparison(spec).specs]
        ['fd', 'exact']
    """

    def __init__(self, spec: Experiment):
        self.specs = [dataclasses.replace(spec, regulariser=kind) for kind in ("fd", "exact")]
        self.twins = make_players(self.specs[1])

    def measure(self, players: Players, x: Array, y: Array, seed: Seed) -> Scalars:
        """On a minibatch: the cosine of the two products, ‖fd − exact‖ / ‖exact‖, and γ times the norm of the exact one.

        If a product is zero, as for a D that ignores its images, only this norm is returned.
        """
        self.twins.take_weights(players)
        difference, exact = (_product(self.twins, x, y, spec, seed) for spec in self.specs)
        difference_norm, exact_norm = tf.linalg.norm(difference), tf.linalg.norm(exact)
        measured = {"regulariser_exact_norm": self.specs[1].gradient_penalty * exact_norm}
        if not (difference_norm and exact_norm):
            return measured
        return measured | {
            "regulariser_cosine": tf.tensordot(difference / difference_norm, exact / exact_norm, 1),
            "regulariser_relative_difference": tf.linalg.norm(difference - exact) / exact_norm,
        }


@compiled
def _product(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> tf.Tensor:
    """The Hessian-vector product of Eq. 5 as one vector."""
    return tf.concat([tf.reshape(part, [-1]) for part in regularised_gradient_of(players, x, y, spec, seed)[2]], 0)
