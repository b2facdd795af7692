"""Turns the parsed flags into one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from adv_networks import data
from adv_networks.commands.base import Command, Request
from adv_networks.experiments import bundles, experiment, find_dataset
from flags.recipe import OF_SETTINGS
from flags.rules import OF_RUNS

if TYPE_CHECKING:
    from adv_networks.evaluation.exports import Exports
    from adv_networks.training import Workspace

# Each command is imported when it is built, because it imports all that trains and evaluates. Refusing a wrong flag needs none.


def command(invocation: tuple[str, ...]) -> Command:
    """The command that the command line asks for, with plain arguments. `invocation`: the words that start the program."""
    values = flags.FLAGS
    if values.demo:
        from adv_networks.commands.demo import Demo

        return Demo(workspace=_workspace())
    if values.list:
        from adv_networks.commands.listing import List

        return List(request=_request(), workspace=_workspace())
    if values.report:
        from adv_networks.commands.write_report import WriteReport

        return WriteReport(request=_request(), workspace=_workspace(), opened=values.open)
    if values.verify:
        from adv_networks.commands.verify import Verify

        return Verify(scale=values.scale, workspace=_workspace())
    if values.model is not None:
        return _of_model()
    return _of_one_run() if values.table is None else _of_table(invocation)


def _of_model() -> Command:
    """The command for --model: evaluate a classifier from elsewhere."""
    from adv_networks.commands.evaluate_model import EvaluateModel

    values = flags.FLAGS
    return EvaluateModel(
        model=values.model,
        dataset=_dataset(),
        input_range=tuple(map(float, values.input_range)),
        workspace=_workspace(),
        method=values.method,
        defence=values.defence,
        seed=values.seed,
        overrides=_overrides(),
        attack_suite=values.attack_suite,
        attacks=tuple(values.attack or ()),
        exports=_exports(),
        protocol=values.protocol,
        scale=values.scale,
    )


def _of_one_run() -> Command:
    """The command without --table and --model: train one experiment. A setting that is out of range is refused here."""
    values = flags.FLAGS
    names = dict(protocol=values.protocol, scale=values.scale, seed=values.seed)
    spec = experiment(_dataset() or "digits", values.method or "advnet", **names, **_overrides())
    from adv_networks.commands.run_experiment import RunExperiment

    return RunExperiment(
        spec=spec,
        workspace=_workspace(),
        attack_suite=values.attack_suite,
        attacks=tuple(values.attack or ()),
        workdir=Path(values.workdir) if values.workdir is not None else None,
        exports=_exports(),
    )


def _of_table(invocation: tuple[str, ...]) -> Command:
    """The command for --table: make one table, several or all, or the claims about them."""
    values, request, workspace = flags.FLAGS, _request(), _workspace()
    if values.table == "claims":
        from adv_networks.commands.make_claims import MakeClaims

        return MakeClaims(request=request, workspace=workspace, tables_from=tuple(map(Path, values.tables_from or ())))
    from adv_networks.commands.make_tables import MakeTables, names_of_all

    names = names_of_all(request) if values.table == "all" else bundles().get(values.table, (values.table,))
    if values.plan:
        from adv_networks.commands.print_plan import PrintPlan

        given = {name: values[name].value for name in OF_RUNS if values[name].present}
        return PrintPlan(names=names, request=request, workspace=workspace, run_flags=given, invocation=invocation)
    if values.epsilons is not None:
        from adv_networks.commands.sweep_epsilon import SweepEpsilon

        epsilons = tuple(map(float, values.epsilons))
        return SweepEpsilon(name=values.table, epsilons=epsilons, request=request, workspace=workspace)
    if values.by_class:
        from adv_networks.commands.split_by_class import SplitByClass

        return SplitByClass(name=values.table, request=request, workspace=workspace)
    # The claims are about the paper's attacks.
    with_claims = values.table == "all" and values.attack_suite == "paper"
    return MakeTables(names=names, request=request, workspace=workspace, with_claims=with_claims)


def _request() -> Request:
    values, dataset = flags.FLAGS, _dataset()
    return Request(
        scale=values.scale,
        protocol=values.protocol,
        seeds=tuple(map(int, values.seeds)) if values.seeds else (values.seed,),
        datasets=(dataset,) if dataset else None,
        overrides=_overrides(),
        attack_suite=values.attack_suite,
        attacks=tuple(values.attack or ()),
        finished_only=values.finished_only,
    )


def _workspace() -> Workspace:
    from adv_networks.training import Workspace

    values = flags.FLAGS
    return Workspace(
        runs=Path(values.runs),
        results=Path(values.results),
        data_dir=None if values.data_dir is None else Path(values.data_dir),
        download=values.download,
        strategy=values.strategy,
        replicas=values.replicas,
        checkpoint_seconds=values.checkpoint_seconds,
        progress=values.progress,
    )


def _exports() -> Exports:
    from adv_networks.evaluation.exports import Exports

    values = flags.FLAGS
    return Exports(*(None if file is None else Path(file) for file in (values.save_adversarial, values.save_predictions)))


def _dataset() -> str | None:
    """The name of the data set. A declared name may be in upper or lower case; a user's own data set is read here."""
    values = flags.FLAGS
    name, order, resize = values.dataset, values.class_order, values.resize
    size = None if resize is None else (int(resize[0]), int(resize[1]))
    if name is not None and name.startswith(data.prepared.PREFIX):
        return data.prepared.declare(name, values.data_dir, size).name
    if order is not None or size is not None:
        return data.own_data.opened(name, class_order=order or data.own_data.BY_NUMBERS, resize=size).name
    return None if name is None else find_dataset(name).name


def _overrides() -> dict[str, Any]:
    # With --model, input_range is an argument of the command and not a setting of an experiment.
    left_out = {"input_range"} if flags.FLAGS.model is not None else set()
    return {name: holder.value for name, holder in OF_SETTINGS.items() if holder.value is not None and name not in left_out}
