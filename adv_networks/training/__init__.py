"""Training one experiment in one directory: the loop, checkpoints, logs, stopping and resuming.

    >>> import tempfile
    >>> from adv_networks import experiments, training
    >>> spec = experiments.experiment("digits", "standard", scale="tiny", steps=10)
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     workdir = training.train(spec, f"{runs}/{spec.name}", progress=False)
    ...     training.is_finished(spec, workdir)
    True

The method of an experiment (`defences.Defence`) defines its step, its batches and the files of a finished run.
"""

from adv_networks.storage.run_directories import describe, known_weights_hash
from adv_networks.training.checkpoints import Checkpoints
from adv_networks.training.identity import is_finished
from adv_networks.training.logs import METRICS, read_metrics
from adv_networks.training.train import VALIDATION_IMAGES, train
from adv_networks.training.workspace import Workspace

__all__ = [
    "METRICS", "VALIDATION_IMAGES", "Checkpoints", "Workspace", "describe", "is_finished", "known_weights_hash", "read_metrics",
    "train",
]  # fmt: skip
