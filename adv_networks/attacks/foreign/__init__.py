"""Attacks of other libraries on our classifiers, and ours as theirs: `art` and `foolbox` load those libraries."""

from adv_networks.attacks.foreign.base import ForeignAttack

__all__ = ["ForeignAttack"]
