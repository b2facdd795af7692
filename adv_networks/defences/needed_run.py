"""A finished run that the run of a defence builds on: a teacher, a classifier, an autoencoder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from adv_networks import evaluation, networks
from adv_networks.experiments import Experiment

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class NeededRun:
    """A finished run that another run builds on.

    Attributes:
        spec: its experiment.
        workdir: its directory; None if the user's own classifier replaces the run.
        weights: the hash of the weights of its network (`storage.hashes.weights_hash`): the first of `Defence.files`.
        given: the user's own classifier.

    Examples:
        >>> from adv_networks import defences, experiments, networks
        >>> spec = experiments.experiment("digits", "standard", classifier="mlp")
        >>> defences.NeededRun(spec, None, "", given=networks.classifier(spec)).classifier().name
        'mlp'
    """

    spec: Experiment
    workdir: Path | None
    weights: str
    given: keras.Model | None = None

    def classifier(self) -> keras.Model:
        """The classifier, freshly loaded from the run, or the user's own."""
        if self.given is not None:
            return self.given
        networks.let_files_load(self.spec)
        return evaluation.load_classifier(self.workdir, self.spec.dataset)

    def network(self, file: str) -> keras.Model:
        """One of the run's networks, freshly loaded.

        Args:
            file: the name of its `.keras` file in the run's directory, one of `Defence.files`.
        """
        return evaluation.load_model(self.workdir / file)
