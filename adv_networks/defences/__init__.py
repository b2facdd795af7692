"""The defences: how a classifier is trained, one minibatch at a time."""

from adv_networks.defences.base import Defence, register
from adv_networks.defences.declared import STATIC_ATTACKS

__all__ = ["STATIC_ATTACKS", "Defence", "register"]
