"""The precision in which the layers of a network compute."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from adv_networks.lazy import keras


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Networks created inside have this precision: float32, which means Keras' default, or one of its mixed policies.

    Examples:
        >>> from adv_networks import networks
        >>> with networks.computing_in("mixed_bfloat16"):
        ...     model = networks.d1((8, 8, 1), 10, 2)
        >>> model.layers[2].compute_dtype, model.layers[-1].compute_dtype
        ('bfloat16', 'float32')
    """
    before = keras.config.dtype_policy()
    if precision != "float32":
        keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
