"""The networks of runs, loaded when they are first used."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping

from adv_networks import runtime
from adv_networks.evaluation import load_classifier, load_model
from adv_networks.evaluation.defended import Target
from adv_networks.experiments import GENERATORS, METHODS, Cell, Experiment, find_classifier, generator_file
from adv_networks.lazy import keras
from adv_networks.networks import let_files_load
from adv_networks.tables.match import source_name
from adv_networks.training import Workspace, known_weights_hash


class Networks:
    """The networks of a workspace's runs, each loaded once."""

    def __init__(self, workspace: Workspace):
        self.workspace = workspace
        self.load = functools.cache(self._load)
        self.classifier = functools.cache(self._classifier)

    def _load(self, run: str, dataset: str, file: str, share_graphs: bool) -> keras.Model:
        path = self.workspace.directory(run) / file
        model = load_classifier(path, dataset) if file == "d.keras" else load_model(path)
        return runtime.prepare(model, share_graphs=share_graphs)

    def _classifier(self, spec: Experiment) -> Target:
        """The classifier of a run: the one that it trained, or the one that it stands in front of, with the defence."""
        method = METHODS[spec.method]
        if not method.stands_in_front:
            return method.as_evaluated(self.of(spec), spec, lambda: self.workspace.training_and_validation(spec)[0])
        return method.load(self.of(spec.behind()), self.workspace.of(spec), spec)

    def of(self, spec: Experiment, file: str = "d.keras") -> keras.Model:
        """The network in this file of a run's directory."""
        let_files_load(spec)
        families = find_classifier(spec.classifier), *(GENERATORS[name] for name in spec.generators)
        # The configuration of a user's own network need not determine what it computes.
        return self.load(spec.name, spec.dataset, file, not any(family.is_own for family in families))

    def source(self, cell: Cell) -> Target:
        """The model that the cell's attack is crafted on."""
        spec, file = source_of(cell)
        return self.classifier(spec) if file == "d.keras" else self.of(spec, file)

    def targets(self, cells: Iterable[Cell]) -> NamedNetworks:
        """The classifiers under attack in these cells, by their names in records."""
        return NamedNetworks(self, {cell.target.target_name: (cell.target, "d.keras") for cell in cells})

    def sources(self, cells: Iterable[Cell]) -> NamedNetworks:
        """The models that the attacks of these cells are crafted on, by their names in records."""
        return NamedNetworks(self, {source_name(cell): source_of(cell) for cell in cells if source_name(cell)})

    def hashes(self, cells: Iterable[Cell]) -> dict[str, str]:
        """The weight hashes of the finished runs that the cells depend on, by their names in records."""
        cells = list(cells)
        return self.targets(cells).hashes() | self.sources(cells).hashes()


class NamedNetworks(Mapping):
    """A mapping of networks by name; a network is loaded when it is looked up."""

    def __init__(self, networks: Networks, files: Mapping[str, tuple[Experiment, str]]):
        self._networks, self._files = networks, files

    def __getitem__(self, name: str) -> Target:
        spec, file = self._files[name]
        return self._networks.classifier(spec) if file == "d.keras" else self._networks.of(spec, file)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def hashes(self) -> dict[str, str]:
        """The weight hashes that are known without loading the networks."""
        workspace = self._networks.workspace
        known = {
            name: known_weights_hash(workspace.of(spec), file)
            for name, (spec, file) in self._files.items()
            if not METHODS[spec.method].stands_in_front
        }
        return {name: found for name, found in known.items() if found is not None}


def source_of(cell: Cell) -> tuple[Experiment, str]:
    """The run and the file of the network that the cell's attack is crafted on."""
    file = generator_file(cell.generator) if cell.attack.access == "generator" else "d.keras"
    return cell.source or cell.target, file
