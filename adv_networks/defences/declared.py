"""The methods of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from adv_networks.defences.base import Defence, register
from adv_networks.errors import UsageError
from adv_networks.experiments import Experiment

# A finite difference of lower precision is noise, and so is double backprop where small numbers vanish.
_REGULARISERS_IN: dict[str, tuple[str, ...]] = {
    "float32": ("fd", "exact", "none"),
    "mixed_bfloat16": ("exact", "none"),
    "mixed_float16": ("none",),
}

# What ensemble adversarial training adds to the clean images, in equal parts (Section 4.4).
STATIC_ATTACKS: tuple[str, ...] = ("fgs_predicted", "pgd", "least_likely")


@register
class Standard(Defence):
    """No defence."""

    name, letter, title = "standard", "A", "standard training, undefended"


@register
class PGDTraining(Defence):
    """Section 4, B."""

    name, letter, title = "pgd", "B", "adversarial training with PGD (Eq. 3, 7)"
    reads = ("perturbation", "pgd")


@register
class AdversarialNetwork(Defence):
    """Section 3."""

    name, letter, title = "advnet", "C", "adversarial network: D co-trained with generators (Eq. 4-5)"
    reads = ("perturbation", "generator", "game")

    def check(self, spec: Experiment) -> None:
        """Refuses a regulariser, or the comparison with its finite difference, that asks for more precision than there is."""
        super().check(spec)
        allowed = _REGULARISERS_IN[spec.precision]
        needed = ("fd", "exact") if spec.compare_regulariser else (spec.regulariser,)
        if not set(needed) <= set(allowed):
            raise UsageError(
                f"regulariser: expected {' or '.join(allowed)} with precision {spec.precision}, received {' and '.join(needed)}"
            )


class _OnStaticExamples(Defence):
    static_examples = True

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """The undefended classifier that the examples are crafted on."""
        return {"classifier": spec.sibling("standard")}


@register
class Ensemble(_OnStaticExamples):
    """Section 4.4."""

    name, letter, title = "ensemble", "EAT", "ensemble adversarial training on static examples of A (Section 4.4)"
    reads = ("perturbation", "pgd", "frozen")


@register
class AdversarialNetworkAndEnsemble(_OnStaticExamples, AdversarialNetwork):
    """Section 4.6."""

    name, letter, title = "advnet+ensemble", "C+EAT", "adversarial network and static examples of A together (Section 4.6)"
    reads = ("perturbation", "generator", "game", "pgd", "frozen")


@register
class GeneratorAlone(Defence):
    """Section 4.5."""

    name, letter, title = "generator", "G", "a generator trained against a classifier as it is: A (Section 4.5), or --against"
    reads = ("perturbation", "generator", "frozen", "lone")
    trains_classifier = False
    settings: ClassVar[Mapping[str, Any]] = MappingProxyType(
        dict(generator_steps=1, generator_optimizer="sgd", generator_learning_rate=0.01, generator_momentum=0.9)
    )

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """The classifier under attack."""
        return {"classifier": spec.sibling(spec.against)}
