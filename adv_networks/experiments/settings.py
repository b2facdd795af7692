"""Settings of an experiment: how they are declared, checked and written."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from adv_networks.errors import UsageError

# The p of each norm, taken over all pixels and channels of an image; l0 counts pixels (`attacks.distances`).
NORMS: dict[str, float] = {"linf": math.inf, "l2": 2, "l1": 1, "l0": 0}
# Those in which there are a nearest point of a ball and a steepest direction, as training and gradient attacks take them.
CONVEX_NORMS: dict[str, float] = {name: p for name, p in NORMS.items() if p}

LARGEST = 2**31 - 1


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
        default: the value where neither recipe nor override says another; its type is the setting's.
        help: one line for `--help`, which may be cut there.
        part: what reads it: "" every training; "classifier" those that know a classifier; "perturbation" those with perturbed
            images; "generator" those of a generator; "game" those of D against generators; "pgd" those that run PGD; "frozen"
            those that attack a finished classifier; "lone" those of a generator alone; "classes" those that can weigh classes;
            "test" none. Evaluation may read any of them.
        choices: the values there are; a registry that fills up later, for names.
        above: what a number must be above.
        least: the least number that is allowed.
        most: the largest number that is allowed.
        below: what a number must be below.
        omitted: whether it is left out, at its default, of what identifies a record: it is younger than the first records.
    """
    rule = {"help": help, "part": part, "choices": choices, "above": above, "least": least, "most": most, "below": below}
    rule["omitted"] = omitted
    return dataclasses.field(default=default, metadata=rule)


def checked(field: dataclasses.Field, value: Any, **limits: float) -> Any:
    """The value of a setting in its declared type and range, which `limits` narrow.

    Raises:
        UsageError: it is of another type, or out of range.
    """
    name, rule, default = field.name, {**field.metadata, **limits}, field.default
    many = isinstance(default, tuple)
    kind = (type(default[0]) if default else float) if many else type(default)
    try:
        given = value if many and not isinstance(value, str) else (value,)
        items = [kind(item) for item in given]
        if kind is int and any(isinstance(item, float) and not item.is_integer() for item in given):
            raise ValueError
        if kind is bool and not all(isinstance(item, bool) for item in given):
            raise ValueError
    except (TypeError, ValueError):
        raise UsageError(
            f"{name}: expected {'values' if many else 'a value'} of type {kind.__name__}, received {value}"
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
    """Whether a number is in the range of a setting; one that is no number is in none."""
    above, least, most, below = rule["above"], rule["least"], rule["most"], rule["below"]
    high_enough = (above is None or item > above) and (least is None or item >= least)
    return high_enough and abs(item) <= (most or LARGEST) and (below is None or item < below)


def _range(rule: Mapping[str, Any]) -> str:
    most = rule["most"] if rule["below"] is not None else rule["most"] or LARGEST
    bounds = {"above": rule["above"], "of at least": rule["least"], "of at most": most, "below": rule["below"]}
    return " and ".join(f"{words} {bound:.10g}" for words, bound in bounds.items() if bound is not None)


def choose(mapping: Mapping[str, Any], name: str, what: str) -> Any:
    """`mapping[name]`, or a UsageError that lists the names there are."""
    if name not in mapping:
        raise UsageError(f"{what}: expected one of {', '.join(mapping)}, received {name}")
    return mapping[name]


def plain(value: Any) -> Any:
    """A setting's value in the form that a JSON file gives back."""
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def written(value: Any) -> str:
    """A setting's value in the name of a file: 0.25_0.5 for (0.25, 0.5)."""
    if isinstance(value, tuple):
        return "_".join(map(written, value)) or "none"
    # A path, or module:function, is no name of a file.
    return f"{value:g}" if isinstance(value, float) else re.sub(r"[/\\:]+", "_", str(value))
