"""`--table --plan`: what tables need trained, as commands that can be run anywhere."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from adv_networks.commands.base import Request, Unchecked
from adv_networks.commands.planning import Plan
from adv_networks.experiments import DATASETS, SETTINGS, TABLES, Experiment
from adv_networks.networks import costs
from adv_networks.tables.evaluate import check_attacks
from adv_networks.training import Workspace


def shell_word(text: str) -> str:
    """Quotes any text as one word of bash on one line; a newline in a path, for example, must not begin another command.

    Examples:
        >>> print(shell_word("a b"), shell_word("a\\nb"))
        'a b' $'a\\nb'
    """
    if text.isprintable():
        return shlex.quote(text)
    return f"$'{''.join(map(_escaped, text))}'"


def _escaped(character: str) -> str:
    """A character inside $'…': itself, escaped by a backslash, or as its bytes in octal."""
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    octal = "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))
    return {"\n": "\\n", "\t": "\\t"}.get(character, octal)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrintPlan(Unchecked):
    """Prints the command of every training that tables need, once, in a possible order, with its state and estimated time.

    Shell comments say how many further runs other tables (ablations) need besides the numbered ones, and how to run the plan.
    The commands have all overrides; those that the training does not read are for its evaluation.

    Attributes:
        names: keys of `experiments.TABLES`.
        request: the settings that all tables share.
        workspace: the directories of runs and results.
        run_flags: further flags of each command.
        invocation: the words that start the program.
    """

    needs_tensorflow: ClassVar[bool] = False

    names: tuple[str, ...]
    request: Request
    workspace: Workspace
    run_flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    invocation: tuple[str, ...] = ("python", "main.py")

    def run(self) -> Iterator[str]:
        """See `Command.run`."""
        wanted: dict[str, list[Experiment]] = {}
        for name in self.names:
            plan = Plan.of(TABLES[name], self.request, self.workspace)
            check_attacks(plan.every_cell)
            wanted[name] = plan.trainings(self.workspace)
        numbered = [name for name in self.names if name.isdigit()]
        listed = {spec.name: spec for name in numbered or self.names for spec in wanted[name]}
        lines = [f"{self._command(spec)}  # {self._state(spec)}" for spec in listed.values()]
        others = [name for name in self.names if numbered and name not in numbered]
        further = {spec.name for name in others for spec in wanted[name]} - listed.keys()
        if further:
            tables_of_them = " and ".join(f"--table={name} --plan" for name in others)
            lines.append(f"# {len(further)} further runs are not for a table of the paper: {tables_of_them}")
        lines.append(
            "# 4 at a time, one run per GPU (CUDA_VISIBLE_DEVICES): append | examples/run_plan.sh 4; "
            "Slurm: examples/slurm_array.sh"
        )
        yield "\n".join(lines)

    def _command(self, spec: Experiment) -> str:
        workspace = self.workspace
        dataset = DATASETS[spec.dataset]
        named = dict(
            dataset=dataset.path or spec.dataset, **dataset.options, method=spec.method, scale=spec.scale, seed=spec.seed
        )
        if spec.protocol != "paper":
            named["protocol"] = spec.protocol
        overrides = {key: value for key, value in self.request.overrides.items() if key in SETTINGS}
        evaluated = {key: value for key, value in overrides.items() if not spec.trains_with(key)}
        for key, value in sorted({**evaluated, **dict(spec.overrides)}.items()):
            named[key] = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else value
        named |= self.run_flags
        named |= {"runs": workspace.runs, "results": workspace.results}
        named |= {"data_dir": workspace.data_dir} if workspace.data_dir else {}
        words = [f"--{key}={value}" for key, value in named.items()] + ["--download"] * workspace.download
        return " ".join(map(shell_word, [*self.invocation, *words]))

    def _state(self, spec: Experiment) -> str:
        return "done" if self.workspace.is_finished(spec) else f"to do, {costs.describe(spec)}"
