"""The flags that override an experiment's settings, made from the settings' declarations."""

from __future__ import annotations

from absl import flags

from adv_networks.experiments import SETTINGS
from flags.groups import RECIPE


class _FractionParser(flags.FloatParser):
    """Parses numbers, and fractions such as 8/255, which is how ε is often written."""

    def convert(self, argument: str | float) -> float:
        """The number that a text stands for."""
        numerator, slash, denominator = str(argument).partition("/")
        if not slash:
            return super().convert(argument)
        if not (divisor := super().convert(denominator)):
            raise ValueError("a fraction has no divisor of 0")
        return super().convert(numerator) / divisor


def _define_setting(name: str) -> flags.FlagHolder:
    """Defines the flag that overrides one setting of the experiment, with the type and range of the setting."""
    field = SETTINGS[name]
    rule, text = field.metadata, f"override: {field.metadata['help']}"
    if isinstance(field.default, bool):
        return flags.DEFINE_bool(name, None, text)
    if isinstance(field.default, tuple):
        return flags.DEFINE_list(name, None, text)
    if isinstance(field.default, str):
        if name == "classifier" or not rule["choices"]:  # The user's own classifier, or a path, is allowed too.
            holder = flags.DEFINE_string(name, None, text)
        else:
            return flags.DEFINE_enum(name, None, list(rule["choices"]), text)
        if rule["choices"]:
            expected = f"must be one of {', '.join(rule['choices'])}, a .keras file or module:function"
            flags.register_validator(name, lambda value: value is None or value in rule["choices"], expected)
        else:
            flags.register_validator(name, lambda value: value != "", "must not be empty")
        return holder
    bounds = dict(lower_bound=rule["above"] if rule["least"] is None else rule["least"], upper_bound=rule["most"])
    if isinstance(field.default, int):
        holder = flags.DEFINE_integer(name, None, text, **bounds)
    else:
        holder = flags.DEFINE(_FractionParser(**bounds), name, None, text, serializer=flags.ArgumentSerializer())
    if rule["above"] is not None:
        flags.register_validator(name, lambda value: value is None or value > rule["above"], f"must be above {rule['above']}")
    if rule["below"] is not None:
        flags.register_validator(name, lambda value: value is None or value < rule["below"], f"must be below {rule['below']}")
    if rule["choices"]:
        flags.register_validator(
            name,
            lambda value: value is None or value in rule["choices"],
            f"must be one of {', '.join(map(str, rule['choices']))}",
        )
    return holder


def _example(name: str) -> str:
    """An example of the flag for --help. If the setting has choices, the example is one that is not the default."""
    field = SETTINGS[name]
    if isinstance(field.default, bool):
        return f"--{'no' if field.default else ''}{name}"
    others = [choice for choice in field.metadata["choices"] or () if choice != field.default]
    value = others[0] if others else field.default
    return f"--{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}"


OF_SETTINGS = {name: RECIPE.has(_define_setting(name), _example(name), SETTINGS[name].metadata["help"]) for name in SETTINGS}
flags.DEFINE_alias("width", "generator_width")
flags.DEFINE_alias("from", "from_run")
