"""The check that a training's numbers and weights are finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from adv_networks.errors import UserError
from adv_networks.lazy import tf


def checked(scalars: Mapping[str, Any], where: str, then: str, variables: Iterable[tf.Variable] = ()) -> dict[str, float]:
    """The scalars as Python's numbers.

    Args:
        scalars: numbers by name.
        where: the run and its step; begins the message.
        then: what has become of the weights; ends the message.
        variables: weights, whose norm is checked too; integers among them are left out.

    Raises:
        UserError: a scalar or a weight is not finite.

    Examples:
        >>> from adv_networks.training import finite
        >>> finite.checked({"loss": 1, "accuracy": float("nan")}, "step 3", "the weights are lost")
        Traceback (most recent call last):
            ...
        adv_networks.errors.UserError: step 3: expected a finite accuracy, found nan (the weights are lost)
    """
    values = {name: float(value) for name, value in scalars.items()}
    weights = [tf.cast(variable, tf.float32) for variable in variables if variable.dtype.is_floating]
    norm = {"weight": float(tf.linalg.global_norm(weights))} if weights else {}
    for name, value in {**values, **norm}.items():
        if not math.isfinite(value):
            raise UserError(f"{where}: expected a finite {name}, found {value} ({then})")
    return values
