"""The defences: how a classifier is trained, one minibatch at a time. A new one needs one module here and one import below.

Each is a `Defence` (`base`), which is a method of experiments. The update rules can also be called directly:

    >>> import numpy as np
    >>> from adv_networks import defences, experiments
    >>> spec = experiments.experiment("digits", "pgd")
    >>> players = defences.make_players(spec)
    >>> x, y = np.full((4, 8, 8, 1), 0.5, np.float32), np.array([0, 1, 2, 3])
    >>> scalars = defences.pgd_step(players, x, y, spec, (0, 0))
    >>> sorted(scalars)
    ['d_accuracy', 'd_gradient_norm', 'd_loss', 'd_weight_decay']

Importing this loads no TensorFlow.
"""

# In the order in which they are listed.
# isort: off
from adv_networks.defences.standard import Standard, standard_step
from adv_networks.defences.pgd import PGDTraining, pgd_step
from adv_networks.defences.fgs import FGSTraining, fgs_step
from adv_networks.defences.adversarial_network import AdversarialNetwork
from adv_networks.defences.ensemble import STATIC_ATTACKS, Ensemble, OnStaticExamples, ensemble_step
from adv_networks.defences.adversarial_network_ensemble import AdversarialNetworkAndEnsemble
from adv_networks.defences.alternating import Alternating
from adv_networks.defences.several_classifiers import SeveralClassifiers, SeveralPlayers, mean_of_probabilities, member_file
from adv_networks.defences.generator import GeneratorAlone
from adv_networks.defences.noise_layer import NoiseLayer
from adv_networks.defences.contrastive import Contrastive
from adv_networks.defences.distillation import Distillation, Teacher
from adv_networks.defences.magnet import MagNet
from adv_networks.defences.magnet_grey import GreyMagNet
from adv_networks.defences.defense_gan import DefenseGAN
from adv_networks.defences.reconstructed import Reconstructed

# isort: on
from adv_networks.defences.base import Defence, register
from adv_networks.defences.game import (
    adversarial_network_step,
    ascend,
    discriminator_step,
    generator_step,
    regularised_gradient,
)
from adv_networks.defences.input_defence import Defended, InputDefence
from adv_networks.defences.needed_run import NeededRun
from adv_networks.defences.players import Players, TrainingState, adversaries, make_players
from adv_networks.defences.regulariser_comparison import RegulariserComparison
from adv_networks.defences.static_examples import StaticExamples, static_examples

__all__ = [
    "STATIC_ATTACKS", "AdversarialNetwork", "AdversarialNetworkAndEnsemble", "Alternating", "Contrastive", "Defence",
    "Defended", "DefenseGAN", "Distillation", "Ensemble", "FGSTraining", "GeneratorAlone", "GreyMagNet", "InputDefence",
    "MagNet", "NeededRun", "NoiseLayer", "OnStaticExamples", "PGDTraining", "Players", "Reconstructed",
    "RegulariserComparison", "SeveralClassifiers", "SeveralPlayers", "Standard", "StaticExamples", "Teacher", "TrainingState",
    "adversarial_network_step", "adversaries", "ascend", "discriminator_step", "ensemble_step", "fgs_step", "generator_step",
    "make_players", "mean_of_probabilities", "member_file", "pgd_step", "register", "regularised_gradient", "standard_step",
    "static_examples",
]  # fmt: skip
