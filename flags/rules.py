"""Which flags go together: rules about several flags, and the flags that each command reads."""

from __future__ import annotations

import math
import os
from typing import Any

from absl import flags

from adv_networks.experiments import SETTINGS, SUITES, TABLES, bundles, is_own
from flags import definitions, recipe  # noqa: F401 - both define flags that the rules name

# The values of --table that are made from records: single tables, and bundles of several.
_GRIDS = {*TABLES, *bundles()}


@flags.multi_flags_validator(
    ["model", "classifier", "input_range", "dataset"],
    "--model and your own --classifier need --dataset and --input_range=LOW,HIGH, the classifier's inputs for black and white "
    "(LOW < HIGH); nothing else takes an --input_range",
)
def _model_is_described(values: dict[str, Any]) -> bool:
    if values["model"] is None and not is_own(values["classifier"] or ""):
        return values["input_range"] is None
    try:
        low, high = map(float, values["input_range"])
    except (TypeError, ValueError):
        return False
    return values["dataset"] is not None and -math.inf < low < high < math.inf


@flags.multi_flags_validator(
    ["resize", "class_order", "dataset"],
    "--resize=HEIGHT,WIDTH (whole numbers above 0) needs a folder, an .npz or tfds:NAME as --dataset; --class_order a folder",
)
def _own_data_is_read(values: dict[str, Any]) -> bool:
    if values["resize"] is None and values["class_order"] is None:
        return True
    sides = ["1", "1"] if values["resize"] is None else values["resize"]
    whole = len(sides) == 2 and all(side.isdecimal() and 0 < int(side) < 2**15 for side in sides)
    given = values["dataset"] or ""
    of_tfds = given.startswith("tfds:") and values["class_order"] is None
    return whole and values["class_order"] != [] and (of_tfds or os.path.exists(given))  # noqa: PTH110


@flags.multi_flags_validator(
    ["seeds", "seed", "table"],
    "--seeds takes different whole numbers of at least 0, needs a --table other than claims or all, and excludes --seed",
)
def _seeds_are_of_a_table(values: dict[str, Any]) -> bool:
    if values["seeds"] is None:
        return True
    numbers = [int(seed) for seed in values["seeds"] if seed.isdecimal() and int(seed) < 2**31 - 1]
    return values["table"] in _GRIDS and values["seed"] == 0 and len(set(numbers)) == len(values["seeds"]) > 0


@flags.multi_flags_validator(
    ["epsilons", "table", "seeds", "plan", "attack_suite"],
    "--epsilons takes ascending numbers above 0, needs a single --table other than claims, and excludes --seeds, --plan and "
    "--attack_suite",
)
def _epsilons_are_of_a_table(values: dict[str, Any]) -> bool:
    if values["epsilons"] is None:
        return True
    try:
        numbers = list(map(float, values["epsilons"]))
    except ValueError:
        return False
    ascending = numbers == sorted(set(numbers)) and bool(numbers) and numbers[0] > 0 and numbers[-1] < math.inf
    alone = values["seeds"] is None and not values["plan"] and values["attack_suite"] == "paper"
    return ascending and values["table"] in TABLES and alone


@flags.multi_flags_validator(
    ["by_class", "table", "seeds", "epsilons", "plan", "attack_suite"],
    "--by_class needs a single --table other than claims, and excludes --seeds, --epsilons, --plan and --attack_suite",
)
def _classes_are_of_a_table(values: dict[str, Any]) -> bool:
    others = values["seeds"] is None and values["epsilons"] is None and not values["plan"]
    return not values["by_class"] or (values["table"] in TABLES and others and values["attack_suite"] == "paper")


@flags.multi_flags_validator(
    ["attack", "table", "plan", "epsilons", "by_class"],
    "--attack is for one run, --model, or a --table other than claims or all, and excludes --plan, --epsilons and --by_class",
)
def _attack_is_of_a_grid(values: dict[str, Any]) -> bool:
    others = any(values[name] for name in ("plan", "epsilons", "by_class"))
    return values["attack"] is None or (not others and (values["table"] is None or values["table"] in _GRIDS))


@flags.multi_flags_validator(
    ["plan", "finished_only", "table"], "--plan and --finished_only need a --table other than claims, and exclude each other"
)
def _plan_has_a_table(values: dict[str, Any]) -> bool:
    asked = values["plan"] + values["finished_only"]
    return asked == 0 or (asked == 1 and values["table"] not in (None, "claims"))


@flags.multi_flags_validator(
    ["workdir", "attack_suite"], "--workdir is for one run: it excludes an --attack_suite that trains another one"
)
def _workdir_is_of_a_run(values: dict[str, Any]) -> bool:
    return values["workdir"] is None or not any(column.fresh for column in SUITES[values["attack_suite"]].columns)


@flags.multi_flags_validator(
    ["strategy", "model", "plan"], "--strategy=multi_worker is for training: it excludes --model and --plan"
)
def _workers_train(values: dict[str, Any]) -> bool:
    return (values["model"] is None and not values["plan"]) or values["strategy"] != "multi_worker"


@flags.multi_flags_validator(["table", "dataset"], "--dataset is not one of the table's data sets")
def _table_has_the_dataset(values: dict[str, Any]) -> bool:
    if values["table"] is None or values["dataset"] is None:
        return True
    if values["table"] == "claims":  # each claim names its own data sets
        return False
    numbered = tuple(name for name in TABLES if name.isdigit())
    names = numbered if values["table"] == "all" else bundles().get(values["table"], (values["table"],))
    return any(values["dataset"] in TABLES[name].datasets or not TABLES[name].datasets for name in names)


@flags.multi_flags_validator(["table", "dataset"], "--table=grid works on any data set, and needs --dataset")
def _table_of_any_dataset_has_one(values: dict[str, Any]) -> bool:
    of_any = values["table"] in TABLES and not TABLES[values["table"]].datasets
    return values["dataset"] is not None or not of_any


@flags.multi_flags_validator(
    ["model", "table", "method"],
    "--model, --table and --method exclude one another, except --model with --method=generator",
)
def _one_thing_is_asked(values: dict[str, Any]) -> bool:
    against_own = values["table"] is None and values["method"] == "generator"
    return against_own or sum(value is not None for value in values.values()) <= 1


@flags.multi_flags_validator(["defence", "model", "method"], "--defence needs --model, and excludes --method")
def _defence_is_of_a_model(values: dict[str, Any]) -> bool:
    return values["defence"] is None or (values["model"] is not None and values["method"] is None)


_OF_RESULTS = frozenset({"scale", "protocol", *SETTINGS})
_OF_DATA = frozenset({"dataset", "class_order", "resize"})
_OF_ONE = frozenset({"save_adversarial", "save_predictions"})
_OF_GRIDS = frozenset({"attack_suite", "attack", "strategy", "replicas", "runtime"})
OF_RUNS = ("strategy", "replicas", "checkpoint_seconds", "runtime")
_OF_TRAINING = _OF_RESULTS | _OF_DATA | {"seed", *OF_RUNS}
# Which of our classifiers stands behind a defence, where it is not the user's own.
_OF_OURS = frozenset({"behind"})
_OF_EVALUATION = frozenset(
    name for name, field in SETTINGS.items() if field.metadata["part"] in ("perturbation", "pgd", "frozen", "test")
)

# The flags that each command reads. A flag that is listed for none (directories, --progress) is accepted by every command, so
# that scripts can always pass it.
READ_BY: dict[str, frozenset[str]] = {
    "--demo": frozenset({"demo", "runtime"}),
    "--list": _OF_RESULTS | {"list"},
    "--report": _OF_RESULTS | {"report", "open"},
    "--verify": frozenset({"verify", "scale", "runtime"}),
    "--model --method=generator": (_OF_GRIDS | _OF_ONE | _OF_TRAINING | {"model", "method"}) - {"against"},
    "--model --defence": (_OF_GRIDS | _OF_ONE | _OF_TRAINING | {"model", "input_range", "defence"}) - _OF_OURS,
    "--model": (_OF_GRIDS | _OF_ONE | _OF_EVALUATION | _OF_DATA | {"model", "input_range"}) - _OF_OURS,
    "--table=claims": _OF_RESULTS | {"table", "seed", "tables_from"},
    "--table": _OF_GRIDS | _OF_TRAINING | {"table", "seeds", "epsilons", "by_class", "plan", "finished_only"},
    "one run": _OF_GRIDS | _OF_ONE | _OF_TRAINING | {"method", "workdir"},
}


def command_name() -> str:
    """The command that the flags ask for, as a key of `READ_BY`."""
    for name in ("demo", "list", "report", "verify"):
        if flags.FLAGS[name].value:
            return f"--{name}"
    if flags.FLAGS.model is not None:
        if flags.FLAGS.defence is not None:
            return "--model --defence"
        return "--model --method=generator" if flags.FLAGS.method == "generator" else "--model"
    if flags.FLAGS.table is not None:
        return "--table=claims" if flags.FLAGS.table == "claims" else "--table"
    return "one run"


def check_all_are_read() -> None:
    """Raises flags.Error if a flag was given that the command does not read."""
    command = command_name()
    for name in sorted(frozenset().union(*READ_BY.values()) - READ_BY[command]):
        if flags.FLAGS[name].present:
            raise flags.Error(f"{command}: expected no --{name}, received it (this command does not use it)")
