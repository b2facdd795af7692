"""The code keeps to the rules of `structure.py`, and each rule finds what breaks it."""

import functools
import re
import shutil
from pathlib import Path

import pytest

from tests import structure
from tests.structure import Code

ROOT = Path(__file__).parents[1]
RULES = [
    structure.upward_imports,
    structure.circular_imports,
    structure.private_names_of_ours,
    structure.private_names_of_others,
    structure.absl_flags,
    structure.processor_lore,
    structure.long_modules,
    structure.early_loads,
]

# What is added to the end of a file, and what the rule says of it.
PLANTED = [
    (
        structure.upward_imports,
        "adv_networks/errors.py",
        "import adv_networks.experiments",
        "errors imports adv_networks.experiments",
    ),
    (structure.upward_imports, "adv_networks/storage/files.py", "from .. import claims", "storage imports adv_networks.claims"),
    (structure.upward_imports, "adv_networks/runtime/devices.py", "import adv_networks as an", "runtime imports adv_networks,"),
    (
        structure.upward_imports,
        "adv_networks/data/__init__.py",
        "from flags import parse",
        "data imports flags",
    ),
    (
        structure.upward_imports,
        "adv_networks/networks/__init__.py",
        "def _late():\n    from adv_networks import attacks\n    return attacks",
        "networks imports adv_networks.attacks",
    ),
    (
        structure.upward_imports,
        "adv_networks/attacks/__init__.py",
        "import typing\nif typing.TYPE_CHECKING:\n    from adv_networks.defences import steps",
        "attacks imports adv_networks.defences",
    ),
    (
        structure.upward_imports,
        "adv_networks/evaluation/__init__.py",
        'import importlib\n_found = importlib.import_module("adv_networks.training")',
        "evaluation imports adv_networks.training",
    ),
    (
        structure.upward_imports,
        "adv_networks/training/logs.py",
        'import importlib\n_found = importlib.import_module(f"adv_networks.commands.{METRICS}")',
        "training imports adv_networks.commands",
    ),
    (structure.upward_imports, "adv_networks/tables/__init__.py", '__import__("adv_networks.commands")', "tables imports"),
    (structure.upward_imports, "adv_networks/stray.py", "SIZE = 3", "expected a package of adv_networks that the levels name"),
    (
        structure.circular_imports,
        "adv_networks/storage/one.py",
        "from adv_networks.storage import two",
        "two, which leads back",
    ),
    (structure.circular_imports, "adv_networks/storage/two.py", "def _f():\n    from . import one", "one, which leads back"),
    (structure.private_names_of_ours, "tests/conftest.py", "from adv_networks.experiments import _hidden", "imports adv"),
    (
        structure.private_names_of_ours,
        "flags/__init__.py",
        "import adv_networks.data\nadv_networks.data._hidden",
        "_hidden",
    ),
    (
        structure.private_names_of_ours,
        "main.py",
        "import flags\nflags._hidden()",
        "uses flags._hidden",
    ),
    (
        structure.private_names_of_ours,
        "benchmarks/run.py",
        "from adv_networks import attacks as a\na.Base._hidden",
        "Base._hidden",
    ),
    (
        structure.private_names_of_ours,
        "tests/__init__.py",
        'PATCHED = "adv_networks.data._hidden"',
        "names adv_networks.data._hidden",
    ),
    (
        structure.private_names_of_ours,
        "adv_networks/commands/__init__.py",
        'from adv_networks import data\ngetattr(data, "_hidden")',
        "uses adv_networks.data._hidden",
    ),
    (
        structure.private_names_of_others,
        "adv_networks/training/events.py",
        "from tensorflow.python.eager import context",
        "imports",
    ),
    (structure.private_names_of_others, "adv_networks/attacks/__init__.py", "from keras.src import ops", "imports keras.src"),
    (
        structure.private_names_of_others,
        "adv_networks/evaluation/checks.py",
        "def _f(model):\n    model._hidden()",
        "model._hidden",
    ),
    (structure.private_names_of_others, "adv_networks/networks/costs.py", 'hasattr(vars, "_hidden")', "vars._hidden"),
    (
        structure.private_names_of_others,
        "adv_networks/defences/__init__.py",
        "from adv_networks.lazy import tf\nCORE = tf.__internal__",
        "uses tensorflow.__internal__",
    ),
    (
        structure.private_names_of_others,
        "adv_networks/tables/report.py",
        "import keras\nclass Layer(keras.Layer):\n    def _call(self):\n        return super()._call()",
        "uses super()._call",
    ),
    (
        structure.private_names_of_others,
        "tests/test_data.py",
        "class Model(dict):\n    def call(self):\n        return self._inherited",
        "uses self._inherited",
    ),
    (structure.absl_flags, "adv_networks/storage/records.py", "from absl import flags", "uses absl's flags"),
    (structure.absl_flags, "benchmarks/memory.py", "import absl.flags as given", "uses absl's flags"),
    (structure.absl_flags, "adv_networks/training/checkpoints.py", "import absl\nabsl.flags.FLAGS", "uses absl's flags"),
    (structure.processor_lore, "adv_networks/attacks/__init__.py", "import os\nSHARED = os.cpu_count()", "names cpu_count"),
    (structure.processor_lore, "flags/__init__.py", "# faster with AVX-512", "names AVX"),
    (structure.long_modules, "adv_networks/runtime/__init__.py", "# more\n" * 300, "lines, expected at most 300"),
    (structure.early_loads, "adv_networks/__init__.py", "import tensorflow", "loads tensorflow when adv_networks is"),
    (
        structure.replacements,
        "tests/test_files.py",
        "from adv_networks.storage import files\nfiles.x = 1",
        "files",
    ),
    (
        structure.replacements,
        "tests/test_logs.py",
        'def test_x(monkeypatch):\n    monkeypatch.setattr("adv_networks.x", 1)',
        "adv",
    ),
    (
        structure.replacements,
        "tests/test_tables.py",
        "from adv_networks import tables\ndef test_x(monkeypatch):\n    monkeypatch.setattr(tables, 'x', 1)",
        "replaces tables",
    ),
    (
        structure.replacements,
        "tests/test_winograd.py",
        'from unittest import mock\nfrom adv_networks.runtime import winograd\nmock.patch.object(winograd, "x").start()',
        "replaces winograd",
    ),
]

# One small library, all of whose uses are allowed.
ALLOWED = {
    "main.py": "from adv_networks.__main__ import main",
    "adv_networks/__main__.py": "import flags\nmain = flags",
    "flags/__init__.py": "from absl import flags\nfrom adv_networks import attacks\n",
    "adv_networks/__init__.py": "from adv_networks import attacks, commands\n",
    "adv_networks/errors.py": "Error = ValueError",
    "adv_networks/lazy.py": "keras = tf = None",
    "adv_networks/storage/__init__.py": "from ..errors import Error\nfrom . import files\n",
    "adv_networks/storage/files.py": "import os\nos._exit\n_own = 1\n_own",
    "adv_networks/runtime/graphs.py": "# AVX\nfrom tensorflow.python.eager import backprop as b\nb._vspace\nimport keras.src",
    "adv_networks/attacks/__init__.py": (
        "import importlib\nfrom adv_networks.lazy import tf\nfrom collections import namedtuple\n"
        "def add():\n    return tf.raw_ops.Add\nnamedtuple('Pair', 'a b')(1, 2)._replace(a=3)\n"
        "def load(name):\n    return importlib.import_module(name), importlib.import_module('adv_networks.storage')\n"
        "class Attack:\n    _count: int = 0\n    def __init__(self):\n        self._size = self.__class__.__name__\n"
        "    def _step(self, other):\n        return other._size, self._count, getattr(self, '_step')\n"
    ),
    "adv_networks/commands/__init__.py": "from adv_networks.attacks import Attack\nfrom adv_networks import storage\n",
    "adv_networks/commands/listing.py": "",
    "adv_networks/experiments/__init__.py": "",
    "adv_networks/papers/__init__.py": "from adv_networks import storage, experiments\n",
    "adv_networks/papers/one.py": "# statement\n" * 400,
    "tests/test_attacks.py": (
        "import keras\nfrom absl import flags\nfrom adv_networks import attacks\n# long\n"
        + "# long\n" * 400
        + "_own = attacks\n_own\n"
        "def test(monkeypatch):\n    monkeypatch.setattr(keras.layers, 'ReLU', None)\n    monkeypatch.setenv('A', 'B')\n"
    ),
}


@functools.cache
def read(root):
    return Code.read(root)


@functools.cache
def violations(rule, root):
    return rule(read(root))


@pytest.fixture(scope="module", autouse=True)
def forget_trees():
    """Clears the syntax trees, which the garbage collector would otherwise search during every later test."""
    yield
    read.cache_clear()
    violations.cache_clear()


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A copy of the library and the command line with every line of `PLANTED` in it; files of tests are these lines alone."""
    root = tmp_path_factory.mktemp("planted")
    for module in (module for module in read(ROOT).modules if module.part not in structure.USERS):
        (root / module.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / module.path, root / module.path)
    for _, path, text, _ in PLANTED:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        with (root / path).open("a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")
    # Of what loads TensorFlow the first place is found, so that this one is put before the others.
    first = root / "adv_networks" / "__init__.py"
    first.write_text(
        re.sub(r"^(?=import|from (?!__))|\Z", "import tensorflow\n", first.read_text(encoding="utf-8"), count=1, flags=re.M)
    )
    return root


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_code_keeps_to_the_rule(rule):
    assert not violations(rule, ROOT), "\n".join(violations(rule, ROOT))


def test_suite_replaces_few_parts_of_the_library():
    found = violations(structure.replacements, ROOT)
    assert len(found) <= structure.MOST_REPLACEMENTS, "\n".join(found)


@pytest.mark.parametrize(
    ("rule", "path", "text", "message"), PLANTED, ids=[f"{rule.__name__}-{path}" for rule, path, *_ in PLANTED]
)
def test_planted_line_is_found(rule, path, text, message, planted):
    before = {re.sub(r":\d+:", ":", violation) for violation in violations(rule, ROOT)}
    found = [violation for violation in violations(rule, planted) if re.sub(r":\d+:", ":", violation) not in before]
    assert any(violation.startswith(f"{path}:") and message in violation for violation in found), "\n".join(found)


@pytest.mark.parametrize("rule", [*RULES, structure.replacements], ids=lambda rule: rule.__name__)
def test_what_is_allowed_is_not_found(rule, tmp_path):
    for path, text in ALLOWED.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    assert violations(rule, tmp_path) == []
