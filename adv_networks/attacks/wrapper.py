"""The base class of attacks that wrap another attack, which their argument `attack` names."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import ClassVar

from adv_networks.attacks.base import Attack
from adv_networks.attacks.composed import Clean
from adv_networks.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wrapper(Attack):
    """An attack that works on the images of an inner attack and has its ε and norm.

    A subclass declares the argument `attack`, the text of the inner attack. In the grammar it comes last, with the inner
    attack's own arguments: `photo:blur=2:attack=fgs:epsilon=0.1`.

    Attributes:
        wrapped: the inner attack.
    """

    wraps: ClassVar[bool] = True

    epsilon: float = 0.0
    wrapped: Attack = dataclasses.field(default_factory=Clean)

    def __post_init__(self) -> None:
        for name in ("epsilon", "norm", "draws"):
            object.__setattr__(self, name, getattr(self.wrapped, name))

    @property
    def access(self) -> str:
        """What the inner attack reads."""
        return self.wrapped.access

    @property
    def has_ball(self) -> bool:
        """Whether the inner attack has a ball."""
        return self.wrapped.has_ball

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms of the inner attack."""
        return self.wrapped.norms

    @property
    def title(self) -> str:
        """Its name, which contains that of the inner attack, and the inner attack's ball."""
        has_ball = self.wrapped.has_ball and math.isfinite(self.epsilon)
        return f"{self.name} ({self.norm} ≤ {self.epsilon:g})" if has_ball else self.name

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages of the inner attack."""
        return self.wrapped.packages

    def settings(self) -> str:
        """See `Attack.settings`; the settings of the inner attack are nested in them."""
        shared = ("epsilon", "norm", "draws", "text", "attack", "wrapped")
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in shared}
        return json.dumps({"kind": self.kind, **own, "attack": json.loads(self.wrapped.settings())}, sort_keys=True)

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """See `Attack.check`.

        Raises:
            UsageError: also an inner attack that crafts nothing.
        """
        if self.wrapped.composed:
            raise UsageError(f"attack {self.kind}: expected an attack that crafts images, received {self.wrapped.name}")
        self.wrapped.check(classes=classes, bn_evaluation=bn_evaluation)
