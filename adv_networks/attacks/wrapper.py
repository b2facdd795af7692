"""What attacks have in common that work through another one, which their argument `attack` names."""

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
    """An attack that has another one's images, ε and norm; a subclass declares the argument `attack`, which is that in words.

    In the grammar that argument comes last, with the other attack's own arguments: `photo:blur=2:attack=fgs:epsilon=0.1`.

    Attributes:
        wrapped: the other attack.
    """

    wraps: ClassVar[bool] = True

    epsilon: float = 0.0
    wrapped: Attack = dataclasses.field(default_factory=Clean)

    def __post_init__(self) -> None:
        for name in ("epsilon", "norm", "draws"):
            object.__setattr__(self, name, getattr(self.wrapped, name))

    @property
    def title(self) -> str:
        """Its name, which has the other attack's, and the ball of that."""
        has_ball = self.wrapped.has_ball and math.isfinite(self.epsilon)
        return f"{self.name} ({self.norm} ≤ {self.epsilon:g})" if has_ball else self.name

    @property
    def packages(self) -> tuple[str, ...]:
        """Those of the other attack."""
        return self.wrapped.packages

    def settings(self) -> str:
        """See `Attack.settings`; those of the other attack are one of them."""
        shared = ("epsilon", "norm", "draws", "text", "attack", "wrapped")
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in shared}
        return json.dumps({"kind": self.kind, **own, "attack": json.loads(self.wrapped.settings())}, sort_keys=True)

    def check(self, *, classes: int, bn_evaluation: str = "moving") -> None:
        """See `Attack.check`.

        Raises:
            UsageError: also an attack that crafts nothing.
        """
        if self.wrapped.composed:
            raise UsageError(f"attack {self.kind}: expected an attack that crafts images, received {self.wrapped.name}")
        self.wrapped.check(classes=classes, bn_evaluation=bn_evaluation)
