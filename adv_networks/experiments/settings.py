"""Settings of an experiment: how they are declared and checked, and how they appear in names."""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
from collections.abc import Collection, Hashable, Mapping
from typing import Any

from adv_networks.errors import UsageError

# The p of each norm, taken over all pixels and channels of an image; l0 counts pixels (`attacks.distances`).
NORMS: dict[str, float] = {"linf": math.inf, "l2": 2, "l1": 1, "l0": 0}
# Norms whose balls have a projection and a steepest direction; training and gradient attacks need both.
CONVEX_NORMS: dict[str, float] = {name: p for name, p in NORMS.items() if p}

LARGEST = 2**31 - 1
_LONGEST_QUOTED = 200


def setting(
    default: Any,
    help: str,
    part: str = "",
    *,
    choices: Collection | None = None,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
    omitted: bool = False,
) -> Any:
    """A field of `Experiment`, or of a defence's own settings, with its help and range.

    Args:
        default: the value if neither recipe nor override sets another; the setting has its type.
        help: one line for `--help`, which may shorten it.
        part: which trainings read it: "" all; "classifier" those that know a classifier; "perturbation" those with perturbed
            images; "generator" those of a generator; "game" those of D against generators; "pgd" those that run PGD; "frozen"
            those that attack a finished classifier; "lone" those of a generator alone; "classes" those that can weight
            classes; "test" none. Evaluation may read any setting.
        choices: the allowed values; for names, a registry that is filled later.
        above: exclusive lower bound of a number.
        least: inclusive lower bound of a number.
        most: inclusive upper bound of a number.
        below: exclusive upper bound of a number.
        omitted: whether the key of a record omits it at its default, because it was added after the first records.

    Examples:
        >>> import dataclasses
        >>> from adv_networks import experiments
        >>> @dataclasses.dataclass
        ... class Settings:
        ...     filters: int = experiments.setting(8, "filters of the first layer", least=1)
        >>> experiments.checked(dataclasses.fields(Settings)[0], "16")
        16
    """
    rule = {"help": help, "part": part, "choices": choices, "above": above, "least": least, "most": most, "below": below}
    rule["omitted"] = omitted
    return dataclasses.field(default=default, metadata=rule)


def as_number(value: Any) -> Any:
    """A single number as Python's own: NumPy's numbers, arrays and tensors without axes; any other value unchanged.

    Examples:
        >>> import numpy as np
        >>> from adv_networks.experiments import as_number
        >>> as_number(np.float16(0.5)), as_number(np.array(3)), as_number("0.5")
        (0.5, 3, '0.5')
    """
    if isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "numpy") and len(value.shape) == 0:  # of TensorFlow or Keras
        value = value.numpy()
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral) else value


def quoted(value: Any) -> str:
    """A value in a message: an array is described by its shape, and a long text cut.

    Examples:
        >>> import numpy as np
        >>> from adv_networks.experiments import quoted
        >>> quoted(np.zeros((2, 3)))
        'an array [2, 3]'
    """
    shape = list(value.shape) if hasattr(value, "dtype") else []
    text = f"an array {shape}" if shape else str(value)
    return text if len(text) <= _LONGEST_QUOTED else f"{text[: _LONGEST_QUOTED - 1]}…"


def checked(field: dataclasses.Field, value: Any, **limits: float) -> Any:
    """Converts a value to the setting's type and checks its range, which `limits` narrow.

    Raises:
        UsageError: the value has another type, or is out of range.

    Examples:
        >>> from adv_networks.experiments import SETTINGS, checked
        >>> checked(SETTINGS["epsilon"], "0.1", most=0.5)
        0.1
    """
    name, rule, default = field.name, {**field.metadata, **limits}, field.default
    many = isinstance(default, tuple)
    kind = (type(default[0]) if default else float) if many else type(default)
    try:
        given = value if many and not isinstance(value, str) else (as_number(value),)
        items = [kind(item) for item in given]
        if kind is int and any(isinstance(item, float) and not item.is_integer() for item in given):
            raise ValueError
        if any(isinstance(item, bool) != (kind is bool) for item in given):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise UsageError(
            f"{name}: expected {'values' if many else 'a value'} of type {kind.__name__}, received {quoted(value)}"
        ) from None
    if (many and kind is int and len(items) != len(default)) or (kind is str and not items):
        raise UsageError(f"{name}: expected {len(default)} values, received {len(items)}")
    for item in items:
        if rule["choices"] and item not in rule["choices"]:
            raise UsageError(f"{name}: expected one of {', '.join(map(str, rule['choices']))}, received {item}")
        if kind in (int, float) and not _in_range(item, rule):
            raise UsageError(f"{name}: expected a value {_range(rule)}, received {item}")
    if kind is float and many and items != sorted(set(items)):
        raise UsageError(f"{name}: expected ascending values, received {value}")
    return tuple(items) if many else items[0]


def _in_range(item: float, rule: Mapping[str, Any]) -> bool:
    """Whether a number is in the range of a setting; NaN is in no range."""
    above, least, most, below = rule["above"], rule["least"], rule["most"], rule["below"]
    high_enough = (above is None or item > above) and (least is None or item >= least)
    return high_enough and abs(item) <= (most or LARGEST) and (below is None or item < below)


def _range(rule: Mapping[str, Any]) -> str:
    most = rule["most"] if rule["below"] is not None else rule["most"] or LARGEST
    bounds = {"above": rule["above"], "of at least": rule["least"], "of at most": most, "below": rule["below"]}
    return " and ".join(f"{words} {bound:.10g}" for words, bound in bounds.items() if bound is not None)


def choose(mapping: Mapping[str, Any], name: str, what: str) -> Any:
    """Returns `mapping[name]`, or raises a UsageError that lists the possible names.

    Examples:
        >>> from adv_networks.experiments import SCALES, choose
        >>> choose(SCALES, "huge", "scale")
        Traceback (most recent call last):
            ...
        adv_networks.errors.UsageError: scale: expected one of tiny, cpu, paper, received huge
    """
    if not isinstance(name, Hashable) or name not in mapping:
        raise UsageError(f"{what}: expected one of {', '.join(mapping)}, received {name}")
    return mapping[name]


def plain(value: Any) -> Any:
    """A setting's value as it is read back from a JSON file: tuples are lists."""
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def written(value: Any) -> str:
    """A setting's value as part of a file name: 0.25_0.5 for (0.25, 0.5).

    Examples:
        >>> from adv_networks.experiments import written
        >>> written((0.25, 0.5)), written("my_module:build")
        ('0.25_0.5', 'my_module_build')
    """
    if isinstance(value, tuple):
        return "_".join(map(written, value)) or "none"
    # A path and module:function contain characters that a file name cannot have.
    return f"{value:g}" if isinstance(value, float) else re.sub(r"[/\\:]+", "_", str(value))
