"""The command-line flags that are no setting: group in --help, example, and the validators of a value alone."""

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
        "with a folder as --dataset: how its class folders are numbered, which a classifier from elsewhere must agree with: "
        "numbers (default: numbers by value, then names), names (as texts, as Keras and torchvision do), or all names in order",
    ),
    "--class_order=names",
    "how class folders are numbered: numbers by value, names as texts, or a list [numbers]",
)
DATA.has(
    flags.DEFINE_list("resize", None, "HEIGHT,WIDTH that the images of a folder, an .npz or tfds:NAME are brought to"),
    "--resize=64,64",
    "bring the images of a folder, an .npz or tfds:NAME to a height and width [as they are]",
)
# os.path.exists says no where Path.exists raises, of names too long for instance.
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
    "no training: three shipped networks attacked on 200 test images, with a picture [off]",
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
        "; ".join(f"{protocol.name}: {protocol.title}" for protocol in PROTOCOLS.values()),
    ),
    "--protocol=released",
    "the paper's text, or the authors' code where it differs [paper]",
)
RUN.has(
    flags.DEFINE_enum("scale", "cpu", list(SCALES), "; ".join(f"{scale.name}: {scale.title}" for scale in SCALES.values())),
    "--scale=paper",
    f"how much is computed, never what: {', '.join(SCALES)} [cpu]",
)
RUN.has(
    flags.DEFINE_integer(
        "seed",
        0,
        "seed of the run: initial weights, data order, augmentation, PGD in training; surrogates take the next one",
        lower_bound=0,
        upper_bound=2**31 - 2,
    ),
    "--seed=1",
    "of weights, data order, augmentation and attacks in training [0]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_list(
        "seeds",
        None,
        "with --table: several seeds (0,1,2) instead of --seed; a cell is their mean, least and most",
    ),
    "--seeds=0,1,2",
    "a cell is the mean, least and most of these seeds [--seed alone]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_list(
        "epsilons", None, "with --table: its networks under attacks of these ε instead, for instance 0.1,0.2,0.3, as curves"
    ),
    "--epsilons=0.1,0.2",
    "the table's networks under attacks of these ε, as curves [none]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_bool(
        "by_class", False, "with --table: accuracy of each class, clean and under its white-box attacks, instead of the table"
    ),
    "--by_class",
    "the accuracy of each class instead of the table [off]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_enum(
        "table",
        None,
        [*TABLES, *bundles(), "claims", "all"],
        "make this table, training and evaluating what is missing; 'claims': what the paper says of its tables, on the records "
        "there are; 'all': the paper's seven, protocol, regulariser and claims, or the tables that --attack_suite can attack",
    ),
    "--table=1",
    "make a table (--list), all of them, or the claims; trains what is missing [none]",
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
        "further attacks, NAME[:ARGUMENT=VALUE]…: pgd:steps=100, art:CarliniL2Method, foolbox:L2DeepFoolAttack:steps=20 and so "
        "on, held to the run's epsilon and norm, or to others (:norm=l2:epsilon=1.5); :source=METHOD crafts it on that "
        "method's surrogate; --list shows the names",
    ),
    "--attack=pgd:steps=100",
    "further attacks with their arguments (--list); those of ART and Foolbox too [none]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_bool(
        "plan", False, "with --table: only print the runs it needs, a command a line, done or not, with the estimated time"
    ),
    "--plan",
    "print the runs that a table needs, a command a line, with their time [off]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_bool(
        "finished_only",
        False,
        "with --table: train nothing; unfinished runs have the cells that there are records of, the others stay empty",
    ),
    "--finished_only",
    "train nothing; what has no finished run stays empty [off]",
)
OUTPUT.has(
    flags.DEFINE_bool(
        "list",
        False,
        "print the data sets, methods and tables that there are, how far the tables are, and the runs' states",
    ),
    "--list",
    "the data sets, methods, attacks and tables, and how far runs are [off]",
)
EVALUATION.has(
    flags.DEFINE_bool(
        "verify",
        False,
        "evaluate the weights committed in RESULTS/SCALE/weights again, and compare with the cells of the tables beside them "
        "that rest on no other networks",
    ),
    "--verify",
    "do the committed weights give the committed numbers? [off]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_bool(
        "report", False, "write the tables that there are in RESULTS/SCALE as one HTML page, report.html, and as pictures"
    ),
    "--report",
    "the results as one page, report.html, and pictures [off]",
)
TABLES_AND_REPORTS.has(
    flags.DEFINE_bool("open", False, "with --report: open the page in a browser"), "--open", "open the report's page [off]"
)
EVALUATION.has(
    flags.DEFINE_string(
        "model",
        None,
        "evaluate this Keras classifier, which returns logits (a .keras file, a run's directory, or module:function, which "
        "returns it), on --dataset; with --method=generator, train generators against it too",
    ),
    "--model=mine.keras",
    "attack this Keras classifier: a file, a run's directory or module:function [none]",
)
EVALUATION.has(
    flags.DEFINE_string(
        "save_adversarial",
        None,
        "of one run or --model: an .npz for the test images, their labels and predictions, and of every attack the adversarial "
        "images, their predictions, distances and settings",
    ),
    "--save_adversarial=FILE.npz",
    "keep the adversarial images, with predictions, distances and settings [off]",
)
EVALUATION.has(
    flags.DEFINE_string(
        "save_predictions", None, "of one run or --model: a .csv for the labels and predictions, clean and under every attack"
    ),
    "--save_predictions=FILE.csv",
    "keep what the classifier sees in each image, clean and under every attack [off]",
)
EVALUATION.has(
    flags.DEFINE_enum(
        "defence",
        None,
        [name for name, method in METHODS.items() if method.stands_in_front],
        "with --model: train this defence, which stands in front of a classifier, for it, and evaluate it behind that too",
    ),
    "--defence=magnet",
    "train this defence for the classifier, and evaluate before and after [none]",
)
DATA.has(
    flags.DEFINE_string("data_dir", None, "TensorFlow Datasets directory (default: TFDS's own)"),
    "--data_dir=DIR",
    "where TensorFlow Datasets has its data sets [~/tensorflow_datasets]",
)
DATA.has(flags.DEFINE_bool("download", False, "let TFDS fetch a missing data set"), "--download", "fetch what is missing [off]")
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
for _name in ("model", "data_dir", "workdir", "runs", "results"):
    flags.register_validator(_name, lambda value: value != "", "must not be empty")
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
        "replicas", 0, "share the work among so many logical CPU devices, to try mirrored out without GPUs", lower_bound=0
    ),
    "--replicas=2",
    "so many logical CPU devices, to try mirrored without GPUs [0: none]",
)
DEVICES.has(
    flags.DEFINE_enum(
        "runtime",
        "auto",
        list(runtime.MODES),
        "how TensorFlow runs: " + "; ".join(f"{name}: {title}" for name, title in runtime.MODES.items()),
    ),
    "--runtime=plain",
    "with all that makes it faster here, or as TensorFlow comes [auto]",
)
OUTPUT.has(
    flags.DEFINE_enum("figures", "pdf", list(FORMATS), "what the figures of tables are written as, beside the PNG of pages"),
    "--figures=svg",
    f"what figures are written as, beside PNG: {', '.join(FORMATS)} [pdf]",
)
OUTPUT.has(
    flags.DEFINE_float("checkpoint_seconds", 120, "time between the checkpoints of a run; the last two are kept"),
    "--checkpoint_seconds=600",
    "seconds between the checkpoints of a run [120]",
)
flags.register_validator("checkpoint_seconds", lambda value: value >= 0, "must be at least 0")
OUTPUT.has(
    flags.DEFINE_bool("progress", True, "show what is being done, and how far a run is, on standard error"),
    "--noprogress",
    "say nothing of what is being done and how far it is [--progress]",
)
