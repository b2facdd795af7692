"""The adversarial network with ensemble adversarial training: static examples are one more adversary (Section 4.6)."""

from __future__ import annotations

from adv_networks.defences.adversarial_network import AdversarialNetwork
from adv_networks.defences.base import register
from adv_networks.defences.ensemble import OnStaticExamples


@register
class AdversarialNetworkAndEnsemble(OnStaticExamples, AdversarialNetwork):
    """The combination in Section 4.6.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "advnet+ensemble", generators=("g1", "g2"))
        >>> method = defences.AdversarialNetworkAndEnsemble()
        >>> method.needs(spec)["classifier"].name, method.files(spec)
        ('digits-standard-cpu-s0', ('d.keras', 'g.keras', 'g-2.keras', 'perturbations.png'))
    """

    name, letter, title = "advnet+ensemble", "C+EAT", "adversarial network and static examples of A together (Section 4.6)"
    reads = ("perturbation", "generator", "game", "pgd", "frozen", "classes")
