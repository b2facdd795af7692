"""Experiments as data: data sets, methods, attacks, protocols, scales, tables, and the experiments that these name.

The packages `attacks`, `defences` and `papers` register their declarations; `experiment` resolves them. This package does not
import TensorFlow, so the command line can list and plan without it. ε is on the [0,1] pixel scale everywhere.
"""

from adv_networks.experiments.attacks import (
    ADAPTIVE,
    ATTACKS,
    GRADIENTS,
    LIBRARIES,
    AttackDefaults,
    DeclaredAttack,
    Defaults,
    Library,
    parse_attack,
    resolve_attack,
)
from adv_networks.experiments.cells import Cell, experiments_of
from adv_networks.experiments.datasets import DATASETS, OPENERS, Dataset, declare, find_dataset
from adv_networks.experiments.experiment import (
    SETTINGS,
    Experiment,
    checked_setting,
    experiment,
    results_group,
)
from adv_networks.experiments.methods import METHODS, Method
from adv_networks.experiments.names import generator_file
from adv_networks.experiments.networks import (
    CLASSIFIERS,
    GENERATORS,
    OWN_BUILDERS,
    Family,
    find_classifier,
    is_own,
    register_classifier,
    register_generator,
)
from adv_networks.experiments.recipes import DEFAULT_RECIPE, PROTOCOLS, RECIPES, Protocol
from adv_networks.experiments.scales import SCALES, Scale
from adv_networks.experiments.settings import CONVEX_NORMS, LARGEST, NORMS, as_number, checked, choose, quoted, setting, written
from adv_networks.experiments.strategies import STRATEGIES
from adv_networks.experiments.table_parts import SUITES, WHITE_BOX, AttackSuite, Column, Row
from adv_networks.experiments.tables import TABLES, Table, bundles, declare_tables

# When BN uses batch statistics, the batch size is part of the protocol. As in the released code, the last batch is full.
BATCH_STATISTICS_SIZE = 64

__all__ = [
    "ADAPTIVE",
    "ATTACKS",
    "BATCH_STATISTICS_SIZE",
    "CLASSIFIERS",
    "CONVEX_NORMS",
    "DATASETS",
    "DEFAULT_RECIPE",
    "GENERATORS",
    "GRADIENTS",
    "LARGEST",
    "LIBRARIES",
    "METHODS",
    "NORMS",
    "OPENERS",
    "OWN_BUILDERS",
    "PROTOCOLS",
    "RECIPES",
    "SCALES",
    "SETTINGS",
    "STRATEGIES",
    "SUITES",
    "TABLES",
    "WHITE_BOX",
    "AttackDefaults",
    "AttackSuite",
    "Cell",
    "Column",
    "Dataset",
    "DeclaredAttack",
    "Defaults",
    "Experiment",
    "Family",
    "Library",
    "Method",
    "Protocol",
    "Row",
    "Scale",
    "Table",
    "as_number",
    "bundles",
    "checked",
    "checked_setting",
    "choose",
    "declare",
    "declare_tables",
    "experiment",
    "experiments_of",
    "find_classifier",
    "find_dataset",
    "generator_file",
    "is_own",
    "parse_attack",
    "quoted",
    "register_classifier",
    "register_generator",
    "resolve_attack",
    "results_group",
    "setting",
    "written",
]
