"""Checks of the numbers that attacks take: ε and other sizes, counts, and seeds."""

from __future__ import annotations

import numbers
import sys
from typing import TYPE_CHECKING, Any

from adv_networks.errors import UsageError
from adv_networks.experiments import LARGEST, as_number, quoted
from adv_networks.lazy import tf

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Seed


def as_seed(seed: Seed) -> tf.Tensor:
    """A seed, one whole number or two, as the int32 tensor [2] that stateless random operations take.

    Raises:
        UsageError: the seed is something else.
    """
    number = as_number(seed)
    try:
        found = tf.convert_to_tensor((0, number) if isinstance(number, int) else seed, tf.int32)
    except (TypeError, ValueError):
        found = None
    if found is None or found.shape != (2,):
        raise UsageError(f"seed: expected a whole number of 32 bits, or two, received {quoted(seed)}")
    return found


def check_seed(seed: Any) -> None:
    """Raises a UsageError unless the seed of an attack's settings is a whole number of 32 bits."""
    if not isinstance(seed, int) or not -LARGEST <= seed <= LARGEST:
        raise UsageError(f"seed: expected a whole number of 32 bits, received {quoted(seed)}")


def as_scalar(value: float | tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """A number as a tensor of this dtype; tf.cast would round a Python number to single precision on its way to double."""
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.constant(float(value), dtype)


def check_epsilon(epsilon: float | tf.Tensor, norm: str = "linf", **counts: int) -> None:
    """Raises a UsageError unless ε is a finite number of at least 0, and in linf of at most 1, and all counts are at least 1.

    Args:
        epsilon: radius of the ball; inside a graph it may be a scalar tensor, whose value is not checked.
        norm: norm of the ball.
        counts: numbers of steps, restarts, targets or queries, by name.
    """
    check_sizes(epsilon=epsilon)
    number = as_number(epsilon)
    if norm == "linf" and isinstance(number, numbers.Real) and number > 1:
        raise UsageError(f"epsilon: expected at most 1 in linf (8/255 for 8 of 255 levels), received {number}")
    check_counts(**counts)


def check_factor(factor: float) -> None:
    """Raises a UsageError unless a growth factor is finite and above 1; with any other, the search would never end."""
    if not 1 < factor < float("inf"):
        raise UsageError(f"factor: expected a finite number above 1, received {quoted(factor)}")


def check_weight(c: float) -> None:
    """Raises a UsageError unless a weight c is finite and above 0; 0 never grows, so the search would never end."""
    if not 0 < c < float("inf"):
        raise UsageError(f"c: expected a finite number above 0, received {quoted(c)}")


def check_sizes(**sizes: float | tf.Tensor) -> None:
    """Raises a UsageError unless each named size (a radius, a step size) is a single finite number of at least 0.

    Inside a graph it may be a scalar tensor, whose value is not checked.
    """
    for name, size in sizes.items():
        number = as_number(size)
        # A plain number is checked without TensorFlow and NumPy: an attack may be named before they are loaded.
        if not isinstance(number, numbers.Real) and tf.is_tensor(size) and not hasattr(size, "numpy"):
            continue
        if not isinstance(number, numbers.Real) or isinstance(number, bool) or not 0 <= number <= sys.float_info.max:
            raise UsageError(f"{name}: expected one number of at least 0, received {quoted(size)}")


def check_counts(**counts: int) -> None:
    """Raises a UsageError unless each named count (steps, restarts and so on) is a whole number of at least 1."""
    for name, count in counts.items():
        if not isinstance(count, numbers.Integral) or not 1 <= count <= LARGEST:
            raise UsageError(f"{name}: expected at least 1, received {quoted(count)}")
