"""How clever the runtime may be: `auto`, or `plain`, which is Keras and TensorFlow as they come. Loads no TensorFlow."""

from __future__ import annotations

from adv_networks.errors import UsageError

MODES = {
    "auto": "what is fastest on this processor: fast layers, batches split among cores, shared graphs",
    "plain": "Keras' own layers and optimisers, TensorFlow's own threads and kernels",
}
_mode = "auto"


def configure(mode: str) -> None:
    """Chooses how TensorFlow runs, for the whole process; models that were prepared before stay as they are.

    Args:
        mode: a key of `MODES`. To decide on TensorFlow's threads and kernels too, choose before TensorFlow is imported.

    Raises:
        UsageError: another mode.
    """
    global _mode
    if mode not in MODES:
        raise UsageError(f"runtime: expected one of {', '.join(MODES)}, received {mode}")
    _mode = mode


def mode() -> str:
    """The mode that was chosen: `auto` unless `configure` said otherwise."""
    return _mode


def is_plain() -> bool:
    """Whether models, optimisers and loops are left as Keras and TensorFlow have them."""
    return _mode == "plain"
