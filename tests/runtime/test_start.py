"""TensorFlow gets the kernels that are fastest on this processor, and the user hears where that came too late."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adv_networks.runtime import processor

SETTING = "TF_ENABLE_ONEDNN_OPTS"
ROOT = Path(__file__).parents[2]


def said(code, **environment):
    """What a fresh process prints that has only so much of TensorFlow as the code puts there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    command = [sys.executable, "-c", f"import os, sys, types\nfrom adv_networks.runtime import configure, start\n{code}"]
    process = subprocess.run(command, cwd=ROOT, env=kept | environment, capture_output=True, text=True, check=True)
    return process.stdout + process.stderr


SHOW = f"print('found', os.environ.get('{SETTING}'), 'tensorflow' in sys.modules)"
SLOW = "start.processor.features = lambda: frozenset(['avx2'])\n"


@pytest.mark.parametrize(
    ("code", "environment", "expected"),
    [
        ("start.set_environment()", {}, "found 1 False"),
        ("start.set_environment()", {SETTING: "0"}, "found 0 False"),
        ("configure('plain'); start.set_environment()", {}, "found None False"),
        ("start.processor.features = lambda: frozenset(['avx2', 'avx512_vnni']); start.set_environment()", {}, "found None"),
        ("start.processor.features = lambda: frozenset(); start.set_environment()", {}, "found None False"),
    ],
    ids=["AVX2", "set by the user", "plain", "AVX-512", "unknown processor"],
)
def test_onednn_is_asked_for_where_tensorflow_does_not_use_it_by_itself(code, environment, expected):
    output = said(f"{SLOW}{code}\n{SHOW}", **environment)
    assert expected in output
    assert "Warning" not in output


def test_who_imports_tensorflow_first_is_told_once():
    code = f"sys.modules['tensorflow'] = types.ModuleType('tensorflow')\n{SLOW}start.set_environment()\nstart.set_environment()"
    output = said(f"{code}\n{SHOW}")
    assert output.count(f"set {SETTING}=1 in the environment") == 1
    assert "found None True" in output


def test_no_module_imports_tensorflow_itself_before_its_kernels_are_chosen():
    direct = re.compile(r"^(import|from) (tensorflow|keras)\b", re.MULTILINE)
    assert [file for file in (ROOT / "adv_networks").rglob("*.py") if direct.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(("how", "frozen"), [("auto", True), ("plain", False)])
def test_garbage_collector_leaves_imported_modules_alone_unless_the_runtime_is_plain(how, frozen):
    fake = "sys.modules['tensorflow'] = tf = types.ModuleType('tensorflow')\n"
    fake += "tf.config = types.SimpleNamespace(list_physical_devices=lambda kind: ['a GPU'])\n"
    output = said(
        f"{fake}import gc\nconfigure('{how}')\nstart.start_tensorflow(quiet=False)\nprint('frozen', gc.get_freeze_count() > 0)"
    )
    assert f"frozen {frozen}" in output


def test_who_has_used_tensorflow_before_is_told_that_batches_are_not_shared():
    fake = """
class Started:
    def __getattr__(self, name):
        raise RuntimeError("started")
sys.modules['tensorflow'] = tf = types.ModuleType('tensorflow')
tf.config = types.SimpleNamespace(list_physical_devices=lambda kind: [], threading=Started())
start.processor.features = lambda: frozenset()
start.processor.cores = lambda: 2
"""
    assert said(f"{fake}start.start_tensorflow()").count("batches are not shared among the cores") == 1
    assert "Warning" not in said(f"{fake}start.start_tensorflow()", TF_NUM_INTRAOP_THREADS="2")
    assert "Warning" not in said(f"{fake}configure('plain'); start.start_tensorflow()")


@pytest.mark.slow
def test_the_first_use_of_tensorflow_starts_it_so():
    output = said(f"{SLOW}from adv_networks.lazy import tf\n{SHOW}\ntf.constant\n{SHOW}", TF_CPP_MIN_LOG_LEVEL="3")
    assert "found None False" in output
    assert "found 1 True" in output


@pytest.mark.parametrize(
    ("features", "by_default", "gains"),
    [
        ({"sse4_2"}, False, False),
        ({"avx2", "fma"}, False, True),
        ({"avx2", "avx512f"}, False, True),
        ({"avx2", "avx512f", "avx512_vnni"}, True, False),
        ({"avx2", "avx_vnni"}, True, False),
        (set(), False, False),
    ],
)
def test_processors_are_told_apart_by_their_instruction_sets(features, by_default, gains):
    assert processor.has_onednn_by_default(frozenset(features)) == by_default
    assert processor.gains_by_onednn(frozenset(features)) == gains


@pytest.mark.parametrize(("cores", "threads"), [(1, None), (2, (1, 2)), (4, None), (8, None), (16, None)])
def test_threads_depend_on_the_number_of_cores(cores, threads):
    assert processor.threads(cores) == threads


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000\n", None), ("200000 100000\n", 2), ("150000 100000", 2), ("20000 100000", 1)]
)
def test_a_container_may_have_fewer_cores_than_its_machine(quota, cores):
    assert processor.cores_of_quota(quota) == cores


def test_this_processor_is_described():
    assert processor.name() in processor.describe()
    assert 1 <= processor.cores() <= (os.cpu_count() or 1)
