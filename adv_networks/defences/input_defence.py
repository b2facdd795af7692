"""The base class of defences that stand in front of a classifier, such as MagNet and Defense-GAN."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adv_networks import evaluation
from adv_networks.defences.base import Defence
from adv_networks.evaluation import Defended
from adv_networks.experiments import Experiment
from adv_networks.storage.arrays import load_npy
from adv_networks.storage.run_directories import checked_file

if TYPE_CHECKING:
    import keras


class InputDefence(Defence):
    """A defence in front of a classifier that does not depend on it; its runs train only the defence.

    Only `wrap` reads its own settings of the part "test"; they change nothing in its run.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> defences.MagNet().behind(experiments.experiment("digits", "magnet")).name
        'digits-standard-cpu-s0'
    """

    stands_in_front = True
    trains_classifier = False

    def behind(self, spec: Experiment) -> Experiment:
        """See `Defence.behind`: the undefended classifier."""
        return spec.sibling("standard")

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """See `Defence.needs`: the classifier behind the defence, if it is known in training."""
        return {"classifier": self.behind(spec)} if self.knows_classifier else {}

    def wrap(self, classifier: keras.Model, parts: Mapping[str, Any], spec: Experiment) -> Defended:
        """The classifier behind the defence.

        Args:
            classifier: images in [0,1], [batch, height, width, channels], to logits [batch, classes].
            parts: the networks of a finished run of this method, and its arrays, by the names of their files.
            spec: the experiment of that run.
        """
        raise NotImplementedError

    def load(self, classifier: keras.Model, workdir: Path, spec: Experiment) -> Defended:
        """The classifier behind what a finished run of this method has trained (`wrap`).

        Args:
            classifier: images in [0,1] to logits [batch, classes].
            workdir: the run's directory.
            spec: the experiment of that run.

        Raises:
            UserError: a file of the run is missing or damaged.
        """
        files = [workdir / name for name in self.files(spec)]
        parts: dict[str, Any] = {file.name: evaluation.load_model(file) for file in files if file.suffix == ".keras"}
        parts |= {file.name: load_npy(checked_file(workdir, file.name)) for file in files if file.suffix == ".npy"}
        return self.wrap(classifier, parts, spec)


__all__ = ["Defended", "InputDefence"]
