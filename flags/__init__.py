"""Every command-line flag and its validator. Only this package and main.py know that absl flags exist."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

from absl import flags

from adv_networks.experiments import (
    DATASETS,
    METHODS,
    PROTOCOLS,
    SCALES,
    SETTINGS,
    STRATEGIES,
    SUITES,
    TABLES,
    results_group,
)

_DATASETS = f"one of {'|'.join(DATASETS)}, or a folder of class folders of images, or an .npz file"
_DATASET = flags.DEFINE_string(
    "dataset", None, f"data set (default: digits, embedded), {_DATASETS}; with --table, restricts the table to it"
)
# os.path.exists says no where Path.exists raises, of names too long for instance.
flags.register_validator(
    "dataset",
    lambda value: value is None or value in DATASETS or os.path.exists(value),  # noqa: PTH110
    f"must be {_DATASETS}",
)
_METHOD = flags.DEFINE_enum(
    "method",
    None,
    list(METHODS),
    "how D is trained (default: advnet): " + "; ".join(f"{method.name}: {method.title}" for method in METHODS.values()),
)
_PROTOCOL = flags.DEFINE_enum(
    "protocol",
    "paper",
    list(PROTOCOLS),
    "; ".join(f"{protocol.name}: {protocol.title}" for protocol in PROTOCOLS.values()),
)
_SCALE = flags.DEFINE_enum("scale", "cpu", list(SCALES), "; ".join(f"{scale.name}: {scale.title}" for scale in SCALES.values()))
_SEED = flags.DEFINE_integer(
    "seed",
    0,
    "seed of the run: initial weights, data order, augmentation, PGD in training; surrogates take the next one",
    lower_bound=0,
    upper_bound=2**31 - 2,
)
_SEEDS = flags.DEFINE_list(
    "seeds", None, "with --table: several seeds, for instance 0,1,2, instead of --seed; a cell is their mean, least and most"
)
_EPSILONS = flags.DEFINE_list(
    "epsilons", None, "with --table: its networks under attacks of these ε instead, for instance 0.1,0.2,0.3, as curves"
)
_BY_CLASS = flags.DEFINE_bool(
    "by_class", False, "with --table: accuracy of each class, clean and under its white-box attacks, instead of the table"
)
_TABLE = flags.DEFINE_enum(
    "table",
    None,
    [*TABLES, "claims", "all"],
    "make this table, training and evaluating what is missing; 'claims': what the paper says of its tables, on the records "
    "there are; 'all': the paper's seven, protocol, regulariser and claims, or the tables that --attack_suite can attack",
)
_ATTACK_SUITE = flags.DEFINE_enum(
    "attack_suite", "paper", list(SUITES), "attacks: " + "; ".join(f"{suite.name}: {suite.title}" for suite in SUITES.values())
)
_ATTACK = flags.DEFINE_list(
    "attack",
    None,
    "further attacks, of other libraries: art:CarliniL2Method, foolbox:L2DeepFoolAttack:steps=20 and so on, held to the run's "
    "epsilon and norm, or to others (:norm=l2:epsilon=1.5)",
)
flags.register_validator(
    "attack",
    lambda value: value is None or all(":" in attack for attack in value),
    "each must be LIBRARY:CLASS or LIBRARY:CLASS:ARGUMENT=VALUE",
)
_PLAN = flags.DEFINE_bool(
    "plan", False, "with --table: only print the runs it needs, a command a line, done or not, with the estimated time"
)
_FINISHED_ONLY = flags.DEFINE_bool(
    "finished_only",
    False,
    "with --table: train nothing; unfinished runs have the cells that there are records of, the others stay empty",
)
_LIST = flags.DEFINE_bool(
    "list", False, "only print the data sets, methods and tables that there are, how far the tables are, and the runs' states"
)
_VERIFY = flags.DEFINE_bool(
    "verify",
    False,
    "evaluate the weights committed in RESULTS/SCALE/weights again, and compare with the cells of the tables beside them that "
    "rest on no other networks",
)
_REPORT = flags.DEFINE_bool(
    "report", False, "write the tables that there are in RESULTS/SCALE as one HTML page, report.html, and as pictures"
)
_MODEL = flags.DEFINE_string(
    "model",
    None,
    "evaluate this Keras classifier, which returns logits (a .keras file, a run's directory, or module:function, which returns "
    "it), on --dataset; with --method=generator, train generators against it too",
)
_INPUT_RANGE = flags.DEFINE_list(
    "input_range", None, "with --model: what its inputs for black and white are, for instance 0,1 or -1,1 or 0,255"
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "TensorFlow Datasets directory (default: TFDS's own)")
_DOWNLOAD = flags.DEFINE_bool("download", False, "let TFDS fetch a missing data set")
_WORKDIR = flags.DEFINE_string("workdir", None, "directory of this one run (default: RUNS/its name)")
_RUNS = flags.DEFINE_string("runs", "runs", "directory that holds the runs' directories")
_RESULTS = flags.DEFINE_string("results", "results", "directory for records and tables")
for _name in ("model", "data_dir", "workdir", "runs", "results"):
    flags.register_validator(_name, lambda value: value != "", "must not be empty")
_STRATEGY = flags.DEFINE_enum(
    "strategy",
    "auto",
    list(STRATEGIES),
    "devices to train and evaluate on: " + "; ".join(f"{name}: {title}" for name, title in STRATEGIES.items()),
)
_REPLICAS = flags.DEFINE_integer(
    "replicas", 0, "share the work among so many logical CPU devices, to try mirrored out without GPUs", lower_bound=0
)
_CHECKPOINT_SECONDS = flags.DEFINE_float(
    "checkpoint_seconds", 120, "time between the checkpoints of a run; the last two are kept"
)
flags.register_validator("checkpoint_seconds", lambda value: value >= 0, "must be at least 0")
_PROGRESS = flags.DEFINE_bool("progress", True, "show a progress bar")


def _define_setting(name: str) -> flags.FlagHolder:
    """The flag that overrides one setting of the experiment; its type and range are the setting's own."""
    field = SETTINGS[name]
    rule, text = field.metadata, f"override: {field.metadata['help']}"
    if isinstance(field.default, bool):
        return flags.DEFINE_bool(name, None, text)
    if isinstance(field.default, tuple):
        return flags.DEFINE_list(name, None, text)
    if isinstance(field.default, str):
        return flags.DEFINE_enum(name, None, rule["choices"], text)
    define = flags.DEFINE_integer if isinstance(field.default, int) else flags.DEFINE_float
    holder = define(
        name,
        None,
        text,
        lower_bound=rule["above"] if rule["least"] is None else rule["least"],
        upper_bound=rule["most"],
    )
    if rule["above"] is not None:
        flags.register_validator(name, lambda value: value is None or value > rule["above"], f"must be above {rule['above']}")
    if rule["choices"]:
        flags.register_validator(
            name,
            lambda value: value is None or value in rule["choices"],
            f"must be one of {', '.join(map(str, rule['choices']))}",
        )
    return holder


_SETTINGS = {name: _define_setting(name) for name in SETTINGS}
flags.DEFINE_alias("width", "generator_width")


@flags.multi_flags_validator(
    ["model", "input_range", "dataset"],
    "--model needs --dataset, and --input_range=LOW,HIGH, what the classifier's inputs for black and white are: two numbers, "
    "LOW < HIGH",
)
def _model_is_described(values: dict[str, Any]) -> bool:
    if values["model"] is None:
        return values["input_range"] is None
    try:
        low, high = map(float, values["input_range"])
    except (TypeError, ValueError):
        return False
    return values["dataset"] is not None and -math.inf < low < high < math.inf


@flags.multi_flags_validator(
    ["seeds", "seed", "table"],
    "--seeds are different whole numbers from 0 on, and go with a --table other than claims and all, and without --seed",
)
def _seeds_are_of_a_table(values: dict[str, Any]) -> bool:
    if values["seeds"] is None:
        return True
    numbers = [int(seed) for seed in values["seeds"] if seed.isdecimal() and int(seed) < 2**31 - 1]
    return values["table"] in TABLES and values["seed"] == 0 and len(set(numbers)) == len(values["seeds"]) > 0


@flags.multi_flags_validator(
    ["epsilons", "table", "seeds", "plan", "attack_suite"],
    "--epsilons are ascending numbers above 0, and go with a --table other than claims and all, without --seeds, --plan and an "
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
    "--by_class goes with a --table other than claims and all, without --seeds, --epsilons, --plan and an --attack_suite",
)
def _classes_are_of_a_table(values: dict[str, Any]) -> bool:
    others = values["seeds"] is None and values["epsilons"] is None and not values["plan"]
    return not values["by_class"] or (values["table"] in TABLES and others and values["attack_suite"] == "paper")


@flags.multi_flags_validator(
    ["attack", "table", "plan", "epsilons", "by_class"],
    "--attack is for one run, --model, or a --table other than claims and all: it goes with none of --plan, --epsilons and "
    "--by_class",
)
def _attack_is_of_a_grid(values: dict[str, Any]) -> bool:
    others = any(values[name] for name in ("plan", "epsilons", "by_class"))
    return values["attack"] is None or (not others and (values["table"] is None or values["table"] in TABLES))


@flags.multi_flags_validator(
    ["plan", "finished_only", "table"], "--plan and --finished_only need a --table other than claims, and not each other"
)
def _plan_has_a_table(values: dict[str, Any]) -> bool:
    asked = values["plan"] + values["finished_only"]
    return asked == 0 or (asked == 1 and values["table"] not in (None, "claims"))


@flags.multi_flags_validator(
    ["workdir", "attack_suite"], "--workdir is for one run: it goes with no attack suite that trains another"
)
def _workdir_is_of_a_run(values: dict[str, Any]) -> bool:
    return values["workdir"] is None or not any(column.fresh for column in SUITES[values["attack_suite"]].columns)


@flags.multi_flags_validator(
    ["strategy", "model", "plan"], "--strategy=multi_worker is for training: it goes with neither --model nor --plan"
)
def _workers_train(values: dict[str, Any]) -> bool:
    return (values["model"] is None and not values["plan"]) or values["strategy"] != "multi_worker"


@flags.multi_flags_validator(["table", "dataset"], "--dataset is not one of the table's data sets")
def _table_has_the_dataset(values: dict[str, Any]) -> bool:
    if values["table"] is None or values["dataset"] is None:
        return True
    if values["table"] == "claims":  # each rests on the data sets that it names
        return False
    names = [name for name in TABLES if name.isdigit()] if values["table"] == "all" else [values["table"]]
    return any(values["dataset"] in TABLES[name].datasets or not TABLES[name].datasets for name in names)


@flags.multi_flags_validator(["table", "dataset"], "--table=grid is of any data set, and needs --dataset")
def _table_of_any_dataset_has_one(values: dict[str, Any]) -> bool:
    of_any = values["table"] in TABLES and not TABLES[values["table"]].datasets
    return values["dataset"] is not None or not of_any


@flags.multi_flags_validator(
    ["model", "table", "method"],
    "--model, --table and --method exclude one another, but for --model with --method=generator",
)
def _one_thing_is_asked(values: dict[str, Any]) -> bool:
    against_own = values["table"] is None and values["method"] == "generator"
    return against_own or sum(value is not None for value in values.values()) <= 1


_OF_RESULTS = frozenset({"scale", "protocol", *SETTINGS})
_OF_GRIDS = frozenset({"attack_suite", "attack", "strategy", "replicas"})
_OF_RUNS = ("strategy", "replicas", "checkpoint_seconds")
_OF_TRAINING = _OF_RESULTS | {"dataset", "seed", *_OF_RUNS}
_OF_EVALUATION = frozenset(
    name for name, field in SETTINGS.items() if field.metadata["part"] in ("perturbation", "pgd", "frozen", "test")
)

# The flags that each command reads. What is of none of them (where things are, --progress) goes with every command, so that
# scripts can give it to all.
_READ_BY: dict[str, frozenset[str]] = {
    "--list": _OF_RESULTS | {"list"},
    "--report": _OF_RESULTS | {"report"},
    "--verify": frozenset({"verify", "scale"}),
    "--model --method=generator": (_OF_GRIDS | _OF_TRAINING | {"model", "input_range", "method"}) - {"against"},
    "--model": _OF_GRIDS | _OF_EVALUATION | {"model", "input_range", "dataset"},
    "--table=claims": _OF_RESULTS | {"table", "seed"},
    "--table": _OF_GRIDS | _OF_TRAINING | {"table", "seeds", "epsilons", "by_class", "plan", "finished_only"},
    "one run": _OF_GRIDS | _OF_TRAINING | {"method", "workdir"},
}


def _command() -> str:
    """Which command, a key of `_READ_BY`, the command line is."""
    for name in ("list", "report", "verify"):
        if flags.FLAGS[name].value:
            return f"--{name}"
    if _MODEL.value is not None:
        return "--model --method=generator" if _METHOD.value == "generator" else "--model"
    if _TABLE.value is not None:
        return "--table=claims" if _TABLE.value == "claims" else "--table"
    return "one run"


def _check_all_are_read() -> None:
    command = _command()
    for name in sorted(frozenset().union(*_READ_BY.values()) - _READ_BY[command]):
        if flags.FLAGS[name].present:
            raise flags.Error(f"{command}: expected no --{name}, which it does not read, received it")


def parse(arguments: list[str]) -> list[str]:
    """Parses the command line; a wrong one ends the process with one line and exit code 2, --help with 0."""
    try:
        rest = flags.FLAGS(arguments)
        if len(rest) > 1:
            raise flags.Error(f"expected flags only, received {' '.join(rest[1:])}")
        _check_all_are_read()
    except SystemExit:  # --help, for which absl exits with 1
        sys.exit(0)
    except flags.Error as error:
        print(f"{Path(arguments[0]).name}: {' '.join(str(error).split())} (--help lists the flags)", file=sys.stderr)
        sys.exit(2)
    return rest


def _overrides() -> dict[str, Any]:
    return {name: holder.value for name, holder in _SETTINGS.items() if holder.value is not None}


def listing() -> dict[str, Any] | None:
    """The arguments of `adv_networks.commands.listing.listing`, None where the command line does not ask for it."""
    if not _LIST.value:
        return None
    return dict(runs_directory=Path(_RUNS.value), group=_group(), data_dir=_data_dir())


def report() -> dict[str, Any] | None:
    """The arguments of `adv_networks.tables.report.write`, None where the command line does not ask for it."""
    if not _REPORT.value:
        return None
    return dict(group=_group(), scale=_SCALE.value, runs_directory=Path(_RUNS.value))


def verification() -> dict[str, Any] | None:
    """The arguments of `adv_networks.commands.verification.verify`, None where the command line does not ask for it."""
    if not _VERIFY.value:
        return None
    group = results_group(Path(_RESULTS.value), _SCALE.value)
    return dict(group=group, scale=_SCALE.value, data_dir=_data_dir(), download=_DOWNLOAD.value)


def _group() -> Path:
    return results_group(Path(_RESULTS.value), _SCALE.value, protocol=_PROTOCOL.value, **_overrides())


def _data_dir() -> Path | None:
    return None if _DATA_DIR.value is None else Path(_DATA_DIR.value)


def chosen() -> dict[str, Any]:
    """What the command line says, as the arguments of `adv_networks.commands.workflow.run`."""
    return dict(
        dataset=_DATASET.value,
        method=_METHOD.value or "advnet",
        protocol=_PROTOCOL.value,
        scale=_SCALE.value,
        seed=_SEED.value,
        table=_TABLE.value,
        plan_only=_PLAN.value,
        finished_only=_FINISHED_ONLY.value,
        model=_MODEL.value,
        input_range=None if _INPUT_RANGE.value is None else tuple(map(float, _INPUT_RANGE.value)),
        data_dir=_DATA_DIR.value,
        download=_DOWNLOAD.value,
        workdir=_WORKDIR.value,
        runs=_RUNS.value,
        results=_RESULTS.value,
        strategy=_STRATEGY.value,
        replicas=_REPLICAS.value,
        attack_suite=_ATTACK_SUITE.value,
        checkpoint_seconds=_CHECKPOINT_SECONDS.value,
        progress=_PROGRESS.value,
        overrides=_overrides(),
        epsilons=_EPSILONS.value and tuple(map(float, _EPSILONS.value)),
        by_class=_BY_CLASS.value,
        seeds=_SEEDS.value and tuple(map(int, _SEEDS.value)),
        attacks=tuple(_ATTACK.value or ()),
        run_flags={name: flags.FLAGS[name].value for name in _OF_RUNS if flags.FLAGS[name].present},
    )
