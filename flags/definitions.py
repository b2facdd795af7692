"""The flags that are not settings of an experiment: their groups and examples in --help, and checks of single values."""

from __future__ import annotations

import os

from absl import flags

from adv_networks import runtime
from adv_networks.experiments import DATASETS, METHODS, PROTOCOLS, SCALES, STRATEGIES, SUITES, TABLES, bundles
from adv_networks.storage.pictures import FORMATS
from flags.groups import ATTACKS, DATA, DEVICES, EVALUATION, OUTPUT, RUN, TABLES_AND_REPORTS

_DATASETS = f"one of {'|'.join(DATASETS)}, or a folder of class folders of images, an .npz file, or tfds:NAME"
DATA.has(
    flags.DEFINE_string(
        "dataset", None, f"data set (default: digits, embedded), {_DATASETS}; with --table, restricts the table to it"
    ),
    "--dataset=mnist",
    "a data set (--list), a folder of class folders of images, an .npz file, or tfds:NAME [digits]",
)
DATA.has(
    flags.DEFINE_list(
        "class_order",
        None,
        "with a folder as --dataset: the order of its class folders, which must match your classifier: numbers (by value, then "
        "other names; the default), names (sorted as text, as Keras and torchvision do), or a list of all names",
    ),
    "--class_order=names",
    "order of the class folders: numbers (by value), names (as text), or a list of the names [numbers]",
)
DATA.has(
    flags.DEFINE_list("resize", None, "HEIGHT,WIDTH to which the images of a folder, an .npz or tfds:NAME are resized"),
    "--resize=64,64",
    "resize the images of a folder, an .npz or tfds:NAME to this height and width [no resizing]",
)
# os.path.exists returns False where Path.exists raises, for example if a name is too long.
flags.register_validator(
    "dataset",
    lambda value: value is None or value.lower() in DATASETS or value.startswith("tfds:") or os.path.exists(value),  # noqa: PTH110
    f"must be {_DATASETS}",
)
RUN.has(
    flags.DEFINE_bool(
        "demo", False, "attack the three trained MNIST networks that the package ships, print their accuracies and draw images"
    ),
    "--demo",
    "attack the three shipped networks on 200 test images, without training, and draw a picture [off]",
)
RUN.has(
    flags.DEFINE_enum(
        "method",
        None,
        list(METHODS),
        "how D is trained (default: advnet): " + "; ".join(f"{method.name}: {method.title}" for method in METHODS.values()),
    ),
    "--method=pgd",
    "how the classifier is trained (--list) [advnet]",
)
RUN.has(
    flags.DEFINE_enum(
        "protocol",
        "paper",
        list(PROTOCOLS),
        "which source to follow: " + "; ".join(f"{protocol.name}: {protocol.title}" for protocol in PROTOCOLS.values()),
    ),
    "--protocol=released",
    "follow the paper's text, or the authors' code where the two differ [paper]",
)
RUN.has(
    flags.DEFINE_enum(
        "scale",
        "cpu",
        list(SCALES),
        "how much to compute: " + "; ".join(f"{scale.name}: {scale.title}" for scale in SCALES.values()),
    ),
    "--scale=paper",
    f"how much to compute (steps, widths, images): {', '.join(SCALES)} [cpu]",
)
RUN.has(
    flags.DEFINE_integer(
        "seed",
        0,
        "seed of the run: initial weights, data order, augmentation, PGD in training; surrogates use the next seed",
        lower_bound=0,
        upper_bound=2**31 - 2,
    ),
    "--seed=1",
    "seed of weights, data order, augmentation and attacks in training [0]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_list(
        "seeds",
        None,
        "with --table: several seeds (0,1,2) instead of --seed; a cell gives the mean, minimum and maximum over them",
    ),
    "--seeds=0,1,2",
    "give the mean, minimum and maximum of each cell over these seeds [--seed alone]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_list(
        "epsilons",
        None,
        "with --table: instead of the table, attack its networks at each of these ε (0.1,0.2,0.3), and draw curves",
    ),
    "--epsilons=0.1,0.2",
    "attack the table's networks at each of these ε, and draw curves [none]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_bool("by_class", False, "with --table: give each class's accuracy, clean and white-box, instead of the table"),
    "--by_class",
    "give the accuracy of each class instead of the table [off]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_enum(
        "table",
        None,
        [*TABLES, *bundles(), "claims", "all"],
        "make this table; train and evaluate what is missing. 'claims': check the papers' statements on the records so far; "
        "'all': the paper's seven tables, protocol, regulariser and claims, or the tables that --attack_suite can attack",
    ),
    "--table=1",
    "make a table (--list), all tables, or the claims; train what is missing [none]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_list("tables_from", None, "with --table=claims: tables written in or below these directories count too"),
    "--tables_from=results",
    "let the claims rest on the tables in or below these directories too [none]",
)
ATTACKS.has(
    flags.DEFINE_enum(
        "attack_suite",
        "paper",
        list(SUITES),
        "attacks: " + "; ".join(f"{suite.name}: {suite.title}" for suite in SUITES.values()),
    ),
    "--attack_suite=strong",
    "the paper's attacks, or AutoAttack and more [paper]",
)
ATTACKS.has(
    flags.DEFINE_list(
        "attack",
        None,
        "further attacks, NAME[:ARGUMENT=VALUE]…, such as pgd:steps=100, art:CarliniL2Method or "
        "foolbox:L2DeepFoolAttack:steps=20; they use the run's ε and norm unless they give others (:norm=l2:epsilon=1.5); "
        ":source=METHOD crafts the attack on that method's surrogate; --list shows the names",
    ),
    "--attack=pgd:steps=100",
    "further attacks, with arguments (--list); ART's and Foolbox's too [none]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_bool(
        "plan", False, "with --table: only print the commands of the runs it needs, with their state and estimated time"
    ),
    "--plan",
    "print the commands of the runs that a table needs, with estimated times [off]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_bool(
        "finished_only",
        False,
        "with --table: train nothing; show only cells that are recorded or whose runs are finished, and leave the others empty",
    ),
    "--finished_only",
    "train nothing; leave cells without a finished run empty [off]",
)
OUTPUT.has(
    flags.DEFINE_bool("list", False, "print data sets, methods, networks, attacks, and the state of tables and runs"),
    "--list",
    "list data sets, methods, networks, attacks, tables, and the state of the runs [off]",
)
EVALUATION.has(
    flags.DEFINE_bool(
        "verify",
        False,
        "evaluate the weights committed in RESULTS/SCALE/weights again, and compare the results with the tables beside them, "
        "in all cells that need no other networks",
    ),
    "--verify",
    "check that the committed weights give the committed numbers [off]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_bool("report", False, "write the tables in RESULTS/SCALE as one HTML page, report.html, and as pictures"),
    "--report",
    "write the results as one page, report.html, and as pictures [off]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_bool("open", False, "with --report: open the page in a browser"), "--open", "open the report's page [off]"
)
EVALUATION.has(
    flags.DEFINE_string(
        "model",
        None,
        "evaluate this Keras classifier on --dataset: a .keras file, a run's directory, or module:function that returns one; "
        "it must return logits; with --method=generator, also train generators against it",
    ),
    "--model=mine.keras",
    "attack this Keras classifier: a file, a run's directory or module:function [none]",
)
EVALUATION.has(
    flags.DEFINE_string(
        "save_adversarial",
        None,
        "for one run or --model: save the test images, labels and predictions in this .npz, and for every attack its settings, "
        "the adversarial images, and their predictions and distances",
    ),
    "--save_adversarial=FILE.npz",
    "save the adversarial images, with predictions, distances and settings [off]",
)
EVALUATION.has(
    flags.DEFINE_string(
        "save_predictions", None, "for one run or --model: save labels and predictions, clean and under every attack, as .csv"
    ),
    "--save_predictions=FILE.csv",
    "save the predicted class of each image, clean and under every attack [off]",
)
EVALUATION.has(
    flags.DEFINE_enum(
        "defence",
        None,
        [name for name, method in METHODS.items() if method.stands_in_front],
        "with --model: train this defence to stand in front of the classifier, and evaluate with and without it",
    ),
    "--defence=magnet",
    "train this defence in front of the classifier, and evaluate with and without it [none]",
)
DATA.has(
    flags.DEFINE_string("data_dir", None, "TensorFlow Datasets directory (default: TFDS's own)"),
    "--data_dir=DIR",
    "directory of TensorFlow Datasets [~/tensorflow_datasets]",
)
DATA.has(
    flags.DEFINE_bool("download", False, "let TFDS download a missing data set"),
    "--download",
    "download a missing data set [off]",
)
OUTPUT.has(
    flags.DEFINE_string("workdir", None, "directory of this one run (default: RUNS/its name)"),
    "--workdir=runs/mine",
    "directory of this one run [RUNS/its name]",
)
OUTPUT.has(
    flags.DEFINE_string("runs", "runs", "directory that holds the runs' directories"),
    "--runs=/shared/runs",
    "directory of the runs [runs]",
)
OUTPUT.has(
    flags.DEFINE_string("results", "results", "directory for records and tables"),
    "--results=mine/results",
    "directory of records and tables [results]",
)
# A shell variable that is not set leaves such a value empty, which would otherwise mean the default.
_PATHS = ("save_adversarial", "save_predictions", "data_dir", "workdir", "runs", "results", "tables_from")
for _name in ("model", "attack", *_PATHS):
    flags.register_validator(_name, lambda value: value is None or len(value) > 0, "must not be empty")
DEVICES.has(
    flags.DEFINE_enum(
        "strategy",
        "auto",
        list(STRATEGIES),
        "devices to train and evaluate on: " + "; ".join(f"{name}: {title}" for name, title in STRATEGIES.items()),
    ),
    "--strategy=mirrored",
    f"devices to train and evaluate on: {', '.join(STRATEGIES)} [auto]",
)
DEVICES.has(
    flags.DEFINE_integer(
        "replicas", 0, "share the work among this many logical CPU devices, to try mirrored without GPUs", lower_bound=0
    ),
    "--replicas=2",
    "number of logical CPU devices, to try mirrored without GPUs [0: none]",
)
DEVICES.has(
    flags.DEFINE_enum(
        "runtime",
        "auto",
        list(runtime.MODES),
        "how TensorFlow runs: " + "; ".join(f"{name}: {title}" for name, title in runtime.MODES.items()),
    ),
    "--runtime=plain",
    "auto: with this project's speed-ups; plain: TensorFlow unchanged [auto]",
)
OUTPUT.has(
    flags.DEFINE_enum("figures", "pdf", list(FORMATS), "file format of the tables' figures, besides PNG"),
    "--figures=svg",
    f"file format of the figures, besides PNG: {', '.join(FORMATS)} [pdf]",
)
OUTPUT.has(
    flags.DEFINE_float("checkpoint_seconds", 120, "time between the checkpoints of a run; the last two are kept"),
    "--checkpoint_seconds=600",
    "seconds between the checkpoints of a run [120]",
)
flags.register_validator("checkpoint_seconds", lambda value: value >= 0, "must be at least 0")
OUTPUT.has(
    flags.DEFINE_bool("progress", True, "show progress on standard error"),
    "--noprogress",
    "do not show progress on standard error [--progress]",
)
