"""The examples in docstrings run, and print what they say."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

from docs import hooks
from tests.training.helpers import undrawn

ROOT = Path(__file__).parents[1]
FILES = [file for file in sorted((ROOT / "adv_networks").rglob("*.py")) if ">>> " in file.read_text(encoding="utf-8")]


@pytest.mark.slow  # Some train, and each builds graphs.
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_examples_print_what_they_say(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    found = [one for one in doctest.DocTestFinder().find(importlib.import_module(name), name) if one.examples]
    assert found, "expected an example that is a docstring's"
    failures = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    with undrawn():
        for one in found:
            runner.run(one, out=failures.append)
    assert not failures, "".join(failures)


@pytest.mark.parametrize("package", hooks.PACKAGES)
def test_every_public_function_and_class_has_an_example(package):
    module = importlib.import_module(f"adv_networks.{package}")
    names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
    offered = {name: getattr(module, name) for name in names}
    documented = {name: one for name, one in offered.items() if inspect.isclass(one) or inspect.isroutine(one)}
    assert documented, "expected a function or class"
    assert not [name for name, one in documented.items() if ">>> " not in (one.__doc__ or "")]
