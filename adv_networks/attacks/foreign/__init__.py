"""Attacks of other libraries on our classifiers, and our attacks in their interfaces. `art` and `foolbox` load them."""

from adv_networks.attacks.foreign.base import ForeignAttack

__all__ = ["ForeignAttack"]
