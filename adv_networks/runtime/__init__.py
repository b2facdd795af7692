"""How TensorFlow runs: fast layers, split batches, shared graphs, fused updates, devices and determinism.

`prepare` makes a model as fast as this machine allows; `configure("plain")` leaves Keras and TensorFlow unchanged.
Private API of TensorFlow and Keras is used here and nowhere else. Importing this loads no TensorFlow.

The modules `devices`, `replicas`, `workers`, `determinism` and `start` are public too.
"""

from adv_networks.runtime.bounds import bounding_operation
from adv_networks.runtime.caching import caches
from adv_networks.runtime.chosen import choices
from adv_networks.runtime.compiled import described, failure, for_loops, run_compiled, trace_counts
from adv_networks.runtime.dropout import dropping
from adv_networks.runtime.nesting import flattened, layers_of
from adv_networks.runtime.optimizers import adam, sgd
from adv_networks.runtime.preparation import prepare
from adv_networks.runtime.randomness import DRAWS, drawing, may_draw
from adv_networks.runtime.settings import MODES, configure, is_plain, mode
from adv_networks.runtime.stateless import (
    Weighted,
    Weights,
    discarding_statistics,
    loss_scale,
    mean_over_draws,
    raw_outputs,
    returns_one_tensor,
)

__all__ = [
    "DRAWS",
    "MODES",
    "Weighted",
    "Weights",
    "adam",
    "bounding_operation",
    "caches",
    "choices",
    "configure",
    "described",
    "discarding_statistics",
    "drawing",
    "dropping",
    "failure",
    "flattened",
    "for_loops",
    "is_plain",
    "layers_of",
    "loss_scale",
    "may_draw",
    "mean_over_draws",
    "mode",
    "prepare",
    "raw_outputs",
    "returns_one_tensor",
    "run_compiled",
    "sgd",
    "trace_counts",
]
