"""The contents of `adv_networks.keras`: `fit` with the update rules of `train`, and accuracy under attack as a callback."""

from adv_networks.training.keras_training import AdversarialNetwork, AdversarialTraining
from adv_networks.training.robust_accuracy import RobustAccuracy

__all__ = ["AdversarialNetwork", "AdversarialTraining", "RobustAccuracy"]
