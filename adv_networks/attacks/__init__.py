"""Attacks: the paper's (Eq. 4, 6-8), variants of FGS, AutoAttack's, minimum-norm attacks, and those of other libraries.

Each attack is a function of a Keras classifier that returns logits:

    >>> import numpy as np, keras
    >>> from adv_networks import attacks
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    >>> model = keras.Sequential(layers)
    >>> x, y = np.full((4, 8, 8, 1), 0.5, np.float32), np.array([0, 1, 2, 3])
    >>> adversarial = attacks.pgd(model, x, y, 0.1)
    >>> adversarial.shape
    TensorShape([4, 8, 8, 1])

Images are uint8 or floats in [0,1], [batch, height, width, channels]. Labels are integers [batch]. ε is a number on the [0,1]
scale. Anything else raises a UsageError. Results are floats in [0,1], within ε of the images up to rounding. Each attack also
has a class, which makes it a column of tables and gives it a name in the attack grammar (`experiments.parse_attack`).
Importing this package does not load TensorFlow.
"""

from adv_networks.attacks.auto_pgd import APGD, apgd
from adv_networks.attacks.base import Attack, Crafted, named, register
from adv_networks.attacks.carlini_wagner_l0 import CarliniWagnerL0, cw_l0
from adv_networks.attacks.carlini_wagner_l2 import CarliniWagnerL2, cw_l2
from adv_networks.attacks.carlini_wagner_linf import CarliniWagnerLinf, cw_linf
from adv_networks.attacks.composed import Clean, Worst
from adv_networks.attacks.crafting import BATCH_SIZE, craft_all
from adv_networks.attacks.deepfool import DeepFool, deepfool
from adv_networks.attacks.distances import distances
from adv_networks.attacks.each_gradient import EachGradient
from adv_networks.attacks.evading import EvadingPGD, evading_pgd
from adv_networks.attacks.evading_carlini_wagner import EvadingCarliniWagner, evading_cw
from adv_networks.attacks.fast_adaptive_boundary import FAB, fab
from adv_networks.attacks.fast_gradient_sign import FGS, fgs
from adv_networks.attacks.foreign import ForeignAttack
from adv_networks.attacks.generator_attack import Generator, generator
from adv_networks.attacks.gradient import predict
from adv_networks.attacks.iterative_fast_gradient_sign import Iterative, iterative
from adv_networks.attacks.least_likely_class import LeastLikely, least_likely
from adv_networks.attacks.limited_memory_bfgs import LBFGS, lbfgs
from adv_networks.attacks.losses import difference_of_logits_ratio
from adv_networks.attacks.minimum_norm import MinimumNormAttack
from adv_networks.attacks.one_pixel import OnePixel, one_pixel
from adv_networks.attacks.photo import Photo
from adv_networks.attacks.projected_gradient_descent import PGD, pgd
from adv_networks.attacks.randomised_fast_gradient_sign import RandomisedFGS, r_fgs
from adv_networks.attacks.restarted_pgd import RestartedPGD, restarted_pgd
from adv_networks.attacks.saliency_map import JSMA, jsma
from adv_networks.attacks.square_search import Square, square
from adv_networks.attacks.substitute import Substitute, train_substitute
from adv_networks.attacks.targeted_fast_gradient_sign import TargetedFGS, fgs_targeted
from adv_networks.attacks.universal_perturbation import Universal, universal_perturbation

__all__ = [
    "APGD", "BATCH_SIZE", "FAB", "FGS", "JSMA", "LBFGS", "PGD", "Attack", "CarliniWagnerL0", "CarliniWagnerL2",
    "CarliniWagnerLinf", "Clean", "Crafted", "DeepFool", "EachGradient", "EvadingCarliniWagner", "EvadingPGD", "ForeignAttack",
    "Generator", "Iterative", "LeastLikely", "MinimumNormAttack", "OnePixel", "Photo", "RandomisedFGS", "RestartedPGD",
    "Square", "Substitute", "TargetedFGS", "Universal", "Worst", "apgd", "craft_all", "cw_l0", "cw_l2", "cw_linf", "deepfool",
    "difference_of_logits_ratio", "distances", "evading_cw", "evading_pgd", "fab", "fgs", "fgs_targeted", "generator",
    "iterative", "jsma", "lbfgs", "least_likely", "named", "one_pixel", "pgd", "predict", "r_fgs", "register", "restarted_pgd",
    "square", "train_substitute", "universal_perturbation",
]  # fmt: skip
