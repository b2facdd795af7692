"""The optimisers for training: Keras' rules and settings, in the form that is fastest here."""

from __future__ import annotations

from typing import Any

from adv_networks.lazy import keras
from adv_networks.runtime import settings


def sgd(learning_rate: Any, *, momentum: float = 0.0, **options: Any) -> keras.optimizers.SGD:
    """Stochastic gradient descent.

    Args:
        learning_rate: a number or one of Keras' schedules.
        momentum: momentum; 0 for none.
        **options: further arguments of `keras.optimizers.SGD`.

    Examples:
        >>> from adv_networks import runtime
        >>> runtime.sgd(0.1, momentum=0.9).momentum
        0.9
    """
    return _module().SGD(learning_rate, momentum=momentum, **options)


def adam(learning_rate: Any, **options: Any) -> keras.optimizers.Adam:
    """Adam.

    Args:
        learning_rate: a number or one of Keras' schedules.
        **options: further arguments of `keras.optimizers.Adam`: `beta_1`, `beta_2`, `epsilon`.

    Examples:
        >>> from adv_networks import runtime
        >>> runtime.adam(0.001, beta_1=0.5).beta_1
        0.5
    """
    return _module().Adam(learning_rate, **options)


def _module() -> Any:
    if settings.is_plain():
        return keras.optimizers
    from adv_networks.runtime import fused_optimizers  # which loads TensorFlow

    return fused_optimizers
