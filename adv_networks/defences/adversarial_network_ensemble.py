"""The adversarial network with ensemble adversarial training: static examples are one more adversary (Section 4.6)."""

from __future__ import annotations

from adv_networks.defences.adversarial_network import AdversarialNetwork
from adv_networks.defences.base import register
from adv_networks.defences.ensemble import OnStaticExamples


@register
class AdversarialNetworkAndEnsemble(OnStaticExamples, AdversarialNetwork):
    """The combination in Section 4.6."""

    name, letter, title = "advnet+ensemble", "C+EAT", "adversarial network and static examples of A together (Section 4.6)"
    reads = ("perturbation", "generator", "game", "pgd", "frozen", "classes")
