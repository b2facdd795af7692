"""Every command-line flag, with the validators of its value alone."""

from __future__ import annotations

import os

from absl import flags

from adv_networks import runtime
from adv_networks.experiments import DATASETS, METHODS, PROTOCOLS, SCALES, SETTINGS, STRATEGIES, SUITES, TABLES

_DATASETS = f"one of {'|'.join(DATASETS)}, or a folder of class folders of images, or an .npz file"
DATASET = flags.DEFINE_string(
    "dataset", None, f"data set (default: digits, embedded), {_DATASETS}; with --table, restricts the table to it"
)
# os.path.exists says no where Path.exists raises, of names too long for instance.
flags.register_validator(
    "dataset",
    lambda value: value is None or value.lower() in DATASETS or os.path.exists(value),  # noqa: PTH110
    f"must be {_DATASETS}",
)
METHOD = flags.DEFINE_enum(
    "method",
    None,
    list(METHODS),
    "how D is trained (default: advnet): " + "; ".join(f"{method.name}: {method.title}" for method in METHODS.values()),
)
PROTOCOL = flags.DEFINE_enum(
    "protocol",
    "paper",
    list(PROTOCOLS),
    "; ".join(f"{protocol.name}: {protocol.title}" for protocol in PROTOCOLS.values()),
)
SCALE = flags.DEFINE_enum("scale", "cpu", list(SCALES), "; ".join(f"{scale.name}: {scale.title}" for scale in SCALES.values()))
SEED = flags.DEFINE_integer(
    "seed",
    0,
    "seed of the run: initial weights, data order, augmentation, PGD in training; surrogates take the next one",
    lower_bound=0,
    upper_bound=2**31 - 2,
)
SEEDS = flags.DEFINE_list(
    "seeds", None, "with --table: several seeds, for instance 0,1,2, instead of --seed; a cell is their mean, least and most"
)
EPSILONS = flags.DEFINE_list(
    "epsilons", None, "with --table: its networks under attacks of these ε instead, for instance 0.1,0.2,0.3, as curves"
)
BY_CLASS = flags.DEFINE_bool(
    "by_class", False, "with --table: accuracy of each class, clean and under its white-box attacks, instead of the table"
)
TABLE = flags.DEFINE_enum(
    "table",
    None,
    [*TABLES, "claims", "all"],
    "make this table, training and evaluating what is missing; 'claims': what the paper says of its tables, on the records "
    "there are; 'all': the paper's seven, protocol, regulariser and claims, or the tables that --attack_suite can attack",
)
ATTACK_SUITE = flags.DEFINE_enum(
    "attack_suite", "paper", list(SUITES), "attacks: " + "; ".join(f"{suite.name}: {suite.title}" for suite in SUITES.values())
)
ATTACK = flags.DEFINE_list(
    "attack",
    None,
    "further attacks, NAME[:ARGUMENT=VALUE]…: pgd:steps=100, art:CarliniL2Method, foolbox:L2DeepFoolAttack:steps=20 and so on, "
    "held to the run's epsilon and norm, or to others (:norm=l2:epsilon=1.5); :source=METHOD crafts it on that method's "
    "surrogate; --list shows the names",
)
PLAN = flags.DEFINE_bool(
    "plan", False, "with --table: only print the runs it needs, a command a line, done or not, with the estimated time"
)
FINISHED_ONLY = flags.DEFINE_bool(
    "finished_only",
    False,
    "with --table: train nothing; unfinished runs have the cells that there are records of, the others stay empty",
)
LIST = flags.DEFINE_bool(
    "list", False, "only print the data sets, methods and tables that there are, how far the tables are, and the runs' states"
)
VERIFY = flags.DEFINE_bool(
    "verify",
    False,
    "evaluate the weights committed in RESULTS/SCALE/weights again, and compare with the cells of the tables beside them that "
    "rest on no other networks",
)
REPORT = flags.DEFINE_bool(
    "report", False, "write the tables that there are in RESULTS/SCALE as one HTML page, report.html, and as pictures"
)
MODEL = flags.DEFINE_string(
    "model",
    None,
    "evaluate this Keras classifier, which returns logits (a .keras file, a run's directory, or module:function, which returns "
    "it), on --dataset; with --method=generator, train generators against it too",
)
INPUT_RANGE = flags.DEFINE_list(
    "input_range", None, "with --model: what its inputs for black and white are, for instance 0,1 or -1,1 or 0,255"
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "TensorFlow Datasets directory (default: TFDS's own)")
DOWNLOAD = flags.DEFINE_bool("download", False, "let TFDS fetch a missing data set")
WORKDIR = flags.DEFINE_string("workdir", None, "directory of this one run (default: RUNS/its name)")
RUNS = flags.DEFINE_string("runs", "runs", "directory that holds the runs' directories")
RESULTS = flags.DEFINE_string("results", "results", "directory for records and tables")
for _name in ("model", "data_dir", "workdir", "runs", "results"):
    flags.register_validator(_name, lambda value: value != "", "must not be empty")
STRATEGY = flags.DEFINE_enum(
    "strategy",
    "auto",
    list(STRATEGIES),
    "devices to train and evaluate on: " + "; ".join(f"{name}: {title}" for name, title in STRATEGIES.items()),
)
REPLICAS = flags.DEFINE_integer(
    "replicas", 0, "share the work among so many logical CPU devices, to try mirrored out without GPUs", lower_bound=0
)
RUNTIME = flags.DEFINE_enum(
    "runtime",
    "auto",
    list(runtime.MODES),
    "how TensorFlow runs: " + "; ".join(f"{name}: {title}" for name, title in runtime.MODES.items()),
)
CHECKPOINT_SECONDS = flags.DEFINE_float(
    "checkpoint_seconds", 120, "time between the checkpoints of a run; the last two are kept"
)
flags.register_validator("checkpoint_seconds", lambda value: value >= 0, "must be at least 0")
PROGRESS = flags.DEFINE_bool("progress", True, "show a progress bar")


class _FractionParser(flags.FloatParser):
    """Numbers, and fractions as people write ε: 8/255."""

    def convert(self, argument: str | float) -> float:
        """The number of a text."""
        numerator, slash, denominator = str(argument).partition("/")
        return super().convert(numerator) / super().convert(denominator) if slash else super().convert(argument)


def _define_setting(name: str) -> flags.FlagHolder:
    """The flag that overrides one setting of the experiment; its type and range are the setting's own."""
    field = SETTINGS[name]
    rule, text = field.metadata, f"override: {field.metadata['help']}"
    if isinstance(field.default, bool):
        return flags.DEFINE_bool(name, None, text)
    if isinstance(field.default, tuple):
        return flags.DEFINE_list(name, None, text)
    if isinstance(field.default, str):
        return flags.DEFINE_enum(name, None, list(rule["choices"]), text)
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


OF_SETTINGS = {name: _define_setting(name) for name in SETTINGS}
flags.DEFINE_alias("width", "generator_width")
