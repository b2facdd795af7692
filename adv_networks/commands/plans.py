"""What is to be trained for tables, as commands that can be run anywhere."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adv_networks import training
from adv_networks.commands import measuring
from adv_networks.commands.places import Places
from adv_networks.experiments import DATASETS, SETTINGS, TABLES, Cell, Experiment, experiments_of
from adv_networks.networks import costs


def plan(
    names: Sequence[str],
    places: Places,
    *,
    scale: str,
    seeds: Sequence[int] = (0,),
    attack_suite: str = "paper",
    run_flags: Mapping[str, Any] | None = None,
    **options: Any,
) -> str:
    """Every training that the tables need, once, in an order that can be run: command, whether done, and the time it takes.

    Lines that a shell takes for comments count the others (ablations) beside numbered tables, and say how to run them all.
    The commands have the `run_flags`, and all overrides: those that a training does not read are of its evaluation.
    """
    wanted = {}
    overrides = {key: value for key, value in options.items() if key in SETTINGS}
    for name in names:
        table = TABLES[name].on(options.get("datasets")).under(attack_suite)
        cells = [cell for seed in seeds for cell in table.cells(scale, seed=seed, **options)]
        measuring.check_attacks(cells)
        wanted[name] = trainings(cells, places)
    numbered = [name for name in names if name.isdigit()]
    listed = dict.fromkeys(spec for name in numbered or names for spec in wanted[name])
    lines = [f"{_command(spec, places, overrides, run_flags or {})}  # {_state(spec, places)}" for spec in listed]
    others = [name for name in names if numbered and name not in numbered]
    further = {spec for name in others for spec in wanted[name]} - listed.keys()
    if further:
        tables_of_them = " and ".join(f"--table={name} --plan" for name in others)
        lines.append(f"# {len(further)} further runs are of no table of the paper: {tables_of_them}")
    lines.append(
        "# 4 at a time, one run a GPU (CUDA_VISIBLE_DEVICES): append | examples/run_plan.sh 4; Slurm: examples/slurm_array.sh"
    )
    return "\n".join(lines)


def trainings(cells: Iterable[Cell], places: Places) -> list[Experiment]:
    """The runs that the cells rest on, each once, after what it builds upon; without what only finished runs built upon."""
    cells = list(cells)
    own = {spec.trained() for cell in cells for spec in (cell.target, cell.source) if spec is not None}
    needed = own | {one for spec in own if not training.is_finished(spec, places.of(spec)) for one in spec.needs().values()}
    return [spec for spec in experiments_of(cells) if spec in needed]


def _command(spec: Experiment, places: Places, overrides: Mapping[str, Any], run_flags: Mapping[str, Any]) -> str:
    named = dict(dataset=DATASETS[spec.dataset].path or spec.dataset, method=spec.method, scale=spec.scale, seed=spec.seed)
    if spec.protocol != "paper":
        named["protocol"] = spec.protocol
    evaluated = {key: value for key, value in overrides.items() if not spec.trains_with(key)}
    for key, value in sorted({**evaluated, **dict(spec.overrides)}.items()):
        named[key] = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else value
    named |= run_flags
    named |= {"runs": places.runs, "results": places.results} | ({"data_dir": places.data_dir} if places.data_dir else {})
    return shlex.join(
        ["python", "main.py", *(f"--{key}={value}" for key, value in named.items()), *["--download"] * places.download]
    )


def _state(spec: Experiment, places: Places) -> str:
    if training.is_finished(spec, places.of(spec)):
        return "done"
    return f"to do, {costs.describe(spec)}"
