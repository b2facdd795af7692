"""The rules that keep the code in order, checked on its source. Nothing here imports the library.

Each rule is a function of the `Code` in a directory. It returns the places that break it, as "file:line: what is wrong".
`test_structure.py` applies them; `docs/draw_packages.py` draws the imports.
"""

from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

LIBRARY = "adv_networks"

# From the bottom to the top. A package imports from itself and from lower levels; packages of one level do not know each other.
# `LIBRARY` itself stands for adv_networks/__init__.py, which offers the public names: it may import every package, and no
# package imports it.
LEVELS = (
    ("errors", "lazy"),
    ("storage", "experiments", "claims"),
    ("papers",),
    ("runtime", "data"),
    ("networks",),
    ("attacks",),
    ("evaluation",),
    ("defences",),
    ("training",),
    ("tables",),
    ("commands",),
    (LIBRARY,),
    ("flags",),
    ("__main__",),
    ("main",),
)
USERS = ("tests", "benchmarks", "examples", "docs")  # They may import everything, and are imported by nothing above.

LONGEST_MODULE = 300
# What depends on the processor, which only `runtime` knows.
_OF_PROCESSORS = re.compile(
    "onednn|winograd|cpuinfo|avx|malloc|sched_getaffinity|cpu_count|(intra|inter)_?op", re.IGNORECASE
)  # fmt: skip
MOST_REPLACEMENTS = 10

# What a command needs before it knows whether it will compute anything.
DECLARATIONS = (LIBRARY, f"{LIBRARY}.experiments", f"{LIBRARY}.papers", "flags", f"{LIBRARY}.commands.list*")

# Underscores that are public: os._exit and the methods of named tuples.
_PUBLIC = {"_exit", "_asdict", "_field_defaults", "_fields", "_make", "_replace"}

# What adv_networks/lazy.py offers under its own name.
_LAZY = {
    f"{LIBRARY}.lazy.{name}": module
    for name, module in dict(tf="tensorflow", keras="keras", np="numpy", scipy="scipy", Image="PIL.Image").items()
}

# Functions and methods whose first two arguments are an object and the name of its attribute (`object` is that of mock.patch).
_TAKE_ATTRIBUTES = {"getattr", "hasattr", "setattr", "delattr", "object"}


class Import(NamedTuple):
    """An import of the module `target`, at a line; `always` unless it is for types only, or by name through importlib."""

    line: int
    target: str
    always: bool = True


@dataclass(frozen=True)
class Module:
    """One file of Python: its path below the root, its dotted name, its text and its syntax tree."""

    path: str
    name: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """What relative imports start from."""
        return self.name if self.path.endswith("__init__.py") else self.name.rpartition(".")[0]

    @property
    def part(self) -> str:
        """The module's entry in `LEVELS`, or one of `USERS`."""
        return part_of(self.name)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of the tree."""
        return list(ast.walk(self.tree))

    @cached_property
    def for_types(self) -> set[ast.AST]:
        """The nodes below `if TYPE_CHECKING:`."""
        blocks = [node for node in self.nodes if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")]
        return {node for block in blocks for statement in block.body for node in ast.walk(statement)}

    @cached_property
    def bound(self) -> dict[str, str]:
        """What the names that the module imports stand for, as dotted names; where one stands for two things, for ours."""
        pairs = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.split(".")[0]
                    pairs.append((alias.asname, alias.name) if alias.asname else (first, first))
            elif isinstance(node, ast.ImportFrom):
                base = self.imported_from(node)
                names = {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
                pairs += [(name, _LAZY.get(dotted, dotted)) for name, dotted in names.items()]
        return dict(sorted(pairs, key=lambda pair: is_ours(pair[1])))

    def imported_from(self, node: ast.ImportFrom) -> str:
        """The absolute name of the X in `from X import …`."""
        if not node.level:
            return node.module or ""
        parents = self.package.split(".")
        return ".".join(filter(None, (*parents[: len(parents) - node.level + 1], node.module)))

    def at(self, line: int, text: str) -> str:
        """A violation at a line of this module."""
        return f"{self.path}:{line}: {text}"


@dataclass(frozen=True)
class Code:
    """All modules below a directory that are ours."""

    root: Path
    modules: tuple[Module, ...]

    @classmethod
    def read(cls, root: Path) -> Code:
        """Parses the library, the command line, the tests, the benchmarks, the examples and the scripts of docs/."""
        files = [root / "main.py", *(file for top in (LIBRARY, "flags", *USERS) for file in sorted((root / top).rglob("*.py")))]
        modules = []
        for file in files:
            path, text = file.relative_to(root), file.read_text(encoding="utf-8")
            name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
            modules.append(Module(path.as_posix(), name, text, ast.parse(text, path.as_posix())))
        return cls(root, tuple(modules))

    @cached_property
    def names(self) -> frozenset[str]:
        """The dotted names of all modules."""
        return frozenset(module.name for module in self.modules)

    def imports(self, module: Module) -> list[Import]:
        """Every import of a module: inside functions, for type checking, and by name through importlib too."""
        found: list[Import] = []
        for node in module.nodes:
            if isinstance(node, ast.Import):
                found += [Import(node.lineno, alias.name, node not in module.for_types) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = module.imported_from(node)
                targets = (self._module(base, alias.name) for alias in node.names)
                found += [Import(node.lineno, target, node not in module.for_types) for target in targets]
            elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__") and node.args:
                target = _literal(node.args[0])
                if target.startswith("."):
                    target = ".".join(filter(None, (module.package, target.lstrip("."))))
                found += [Import(node.lineno, target, always=False)] if target else []
        return sorted(set(found))

    def _module(self, base: str, name: str) -> str:
        """The module of ours that `from base import name` loads; of others, whose modules are not known, the whole name."""
        return f"{base}.{name}" if f"{base}.{name}" in self.names or not is_ours(base) else base


def part_of(name: str) -> str:
    """The entry in `LEVELS`, or the one of `USERS`, to which a dotted name belongs."""
    first, *rest = name.split(".")
    return rest[0] if first == LIBRARY and rest else first


def _called(node: ast.Call) -> str:
    """The last name of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _literal(node: ast.expr) -> str:
    """A string as it stands in the source; of one that is put together, the whole dotted names that it starts with."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    start = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else getattr(node, "left", None)
    return _literal(start).rpartition(".")[0] if isinstance(start, ast.expr) else ""


def upward_imports(code: Code) -> list[str]:
    """Imports that do not go downwards in `LEVELS`, and modules that have no place there."""
    level = {part: number for number, parts in enumerate(LEVELS) for part in parts}
    found = []
    for module in code.modules:
        if module.part in USERS:
            continue
        if module.part not in level:
            found.append(module.at(1, f"expected a package of {LIBRARY} that the levels name, found {module.part}"))
            continue
        for line, target, _ in code.imports(module):
            ours = target.split(".")[0] in (LIBRARY, "flags", "main", *USERS)
            part = part_of(target)
            if ours and part != module.part and level.get(part, len(LEVELS)) >= level[module.part]:
                found.append(module.at(line, f"{module.part} imports {target}, which is not below it"))
    return found


def circular_imports(code: Code) -> list[str]:
    """Imports by which a module of the library leads back to itself; those for types only, or by name, may."""
    library = [module for module in code.modules if module.name.startswith(f"{LIBRARY}.")]
    imports = {
        module.name: [found for found in code.imports(module) if found.always and found.target in code.names]
        for module in library
    }

    def reached(start: str) -> set[str]:
        seen, waiting = set(), [start]
        while waiting:
            if (name := waiting.pop()) not in seen:
                seen.add(name)
                waiting += [target for _, target, _ in imports.get(name, ())]
        return seen

    return [
        module.at(line, f"{module.name} imports {target}, which leads back to it")
        for module in library
        for line, target, _ in imports[module.name]
        if module.name in reached(target)
    ]


def _is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__")) and name not in _PUBLIC


def is_ours(dotted: str) -> bool:
    """Whether a dotted name is below one of our top-level names."""
    return dotted.split(".")[0] in (LIBRARY, "flags", "main", *USERS)


def _dotted(node: ast.AST, bound: dict[str, str]) -> str | None:
    """`a.b.c` as the dotted name it stands for, None where `a` is not imported."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in bound:
        return None
    return ".".join((bound[node.id], *reversed(names)))


def _uses_of_attributes(module: Module) -> Iterator[tuple[int, ast.expr, str]]:
    """Line, object and name of every attribute used, as `a.b`, `getattr(a, "b")` or `patch.object(a, "b")`."""
    for node in module.nodes:
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.value, node.attr
        elif isinstance(node, ast.Call) and _called(node) in _TAKE_ATTRIBUTES and len(node.args) > 1:
            yield node.lineno, node.args[0], _literal(node.args[1])


def private_names_of_ours(code: Code) -> list[str]:
    """Underscore names of one of our modules that another one imports, reads, replaces or names in a string."""
    found = []
    for module in code.modules:
        bound = module.bound
        for node in module.nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                base = module.imported_from(node) if isinstance(node, ast.ImportFrom) else ""
                for name in (".".join(filter(None, (base, alias.name))) for alias in node.names):
                    if is_ours(name) and any(map(_is_private, name.split("."))):
                        found.append(module.at(node.lineno, f"imports {name}"))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = node.value.split(".")
                if (
                    len(parts) > 1
                    and all(map(str.isidentifier, parts))
                    and is_ours(node.value)
                    and any(map(_is_private, parts))
                ):
                    found.append(module.at(node.lineno, f"names {node.value}"))
        for line, of, name in _uses_of_attributes(module):
            dotted = _dotted(of, bound)
            if _is_private(name) and dotted and is_ours(dotted):
                found.append(module.at(line, f"uses {dotted}.{name}"))
    return found


def _own_attributes(module: Module) -> list[str]:
    """Names that the module's classes define or that its methods assign to self, once for each time."""
    names = []
    for node in module.nodes:
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    names.append(statement.name)
                targets = getattr(statement, "targets", [getattr(statement, "target", None)])
                names += [target.id for target in targets if isinstance(target, ast.Name)]
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and getattr(node.value, "id", "") in ("self", "cls")
        ):
            names.append(node.attr)
    return names


def private_names_of_others(code: Code) -> list[str]:
    """Private names of TensorFlow, Keras and other libraries, outside runtime/.

    The source does not tell an object's type, so this takes every `x._name` whose `_name` no class of the module defines for
    one; of `self` too, which inherits from Keras. What a class overrides and its `super()` has counts as inherited.
    """
    found = []
    for module in code.modules:
        if module.part == "runtime":
            continue
        bound, own = module.bound, _own_attributes(module)
        for line, target, _ in code.imports(module):
            if _is_internal(target):
                found.append(module.at(line, f"imports {target}"))
        for line, of, name in _uses_of_attributes(module):
            dotted = _dotted(of, bound)
            if dotted and is_ours(dotted):
                continue
            by_super = isinstance(of, ast.Call) and _called(of) == "super"
            if _is_private(name) and own.count(name) <= by_super:
                found.append(module.at(line, f"uses {ast.unparse(of)}.{name}, which no class of this module defines"))
            elif dotted and _is_internal(f"{dotted}.{name}") and not _is_internal(dotted):
                found.append(module.at(line, f"uses {dotted}.{name}"))
    return found


def _is_internal(dotted: str) -> bool:
    """Whether a dotted name lies in those parts of TensorFlow or Keras that are not public."""
    first, *rest = dotted.split(".")
    return first in ("tensorflow", "keras") and any(name in ("python", "src", "__internal__") for name in rest)


def absl_flags(code: Code) -> list[str]:
    """Uses of absl's flags outside flags/; the tests of the command line excepted."""
    found = []
    for module in code.modules:
        if module.part not in ("flags", "tests"):
            bound = module.bound
            used = [(line, target) for line, target, _ in code.imports(module)]
            used += [
                (node.lineno, _dotted(node, bound) or "") for node in module.nodes if isinstance(node, ast.Name | ast.Attribute)
            ]
            lines = {line for line, name in used if f"{name}.".startswith("absl.flags.")}
            found += [module.at(line, "uses absl's flags") for line in sorted(lines)]
    return found


def processor_lore(code: Code) -> list[str]:
    """Words about processors, kernels and threads in the library outside runtime/, in code or in comments."""
    return [
        module.at(line, f"names {found[0]}, which only runtime knows")
        for module in code.modules
        if module.path.startswith((f"{LIBRARY}/", "flags/", "main.py")) and module.part != "runtime"
        for line, text in enumerate(module.text.splitlines(), 1)
        if (found := _OF_PROCESSORS.search(text))
    ]


def long_modules(code: Code) -> list[str]:
    """Modules that have grown too long; a paper's, which hold its statements, may."""
    return [
        module.at(lines, f"{lines} lines, expected at most {LONGEST_MODULE}")
        for module in code.modules
        if (lines := module.text.count("\n")) > LONGEST_MODULE
        and module.part not in ("tests", "docs", "examples")
        and not (module.part == "papers" and not module.path.endswith("__init__.py"))
    ]


def replacements(code: Code) -> list[str]:
    """Where the tests replace a part of the library: `setattr`, `patch` and plain assignment.

    Only what is known to be of another library, by the import of its name, is left out.
    """
    found = []
    for module in code.modules:
        if module.part != "tests":
            continue
        bound = module.bound
        for node in module.nodes:
            if isinstance(node, ast.Call) and _replaces(node, bound):
                target = node.args[0] if node.args else node.keywords[0].value
                # The built-in setattr is used on objects that the tests made; those of monkeypatch and mock on anything.
                unknown = "" if isinstance(node.func, ast.Name) else LIBRARY
                dotted = _dotted(target, bound) or _literal(target) or unknown
                found += [module.at(node.lineno, f"replaces {ast.unparse(target)}")] if dotted and is_ours(dotted) else []
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                dotted = _dotted(node.value, bound)
                found += [module.at(node.lineno, f"replaces {dotted}.{node.attr}")] if dotted and is_ours(dotted) else []
    return found


def _replaces(node: ast.Call, bound: dict[str, str]) -> bool:
    dotted = _dotted(node.func, bound) or ""
    return _called(node) == "setattr" or dotted.startswith("unittest.mock.patch") or dotted.endswith(".patch.object")


def early_loads(code: Code) -> list[str]:
    """Where a large library would be loaded by importing what only declares; the first such place, as it ends there."""
    names = [name for pattern in DECLARATIONS for name in fnmatch.filter(sorted(code.names), pattern) or [pattern]]
    # The checkout is first on the path of `-c`, whatever else of the same name is installed.
    done = subprocess.run([sys.executable, "-c", _LOADS, *names], cwd=code.root, capture_output=True, text=True)
    return [*done.stdout.splitlines(), *(done.stderr.splitlines()[-1:] if done.returncode else ())]


_LOADS = """
import importlib, importlib.abc, importlib.machinery, os, sys, traceback

LARGE = ("tensorflow", "keras", "numpy", "scipy", "PIL")

class Watch(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name in LARGE else None

    def exec_module(self, module):
        ours = [frame for frame in traceback.extract_stack() if frame.filename.startswith(os.getcwd())]
        print(f"{os.path.relpath(ours[-1].filename)}:{ours[-1].lineno}: loads {module.__name__} when {declared} is imported")
        sys.exit()

sys.meta_path.insert(0, Watch())
for declared in sys.argv[1:]:
    importlib.import_module(declared)
"""
