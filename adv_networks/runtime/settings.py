"""The runtime's mode: `auto`, or `plain`, which is unmodified Keras and TensorFlow. Loads no TensorFlow."""

from __future__ import annotations

from adv_networks.errors import UsageError

MODES = {
    "auto": "what is fastest on this processor: fast layers, batches split among cores, shared graphs",
    "plain": "Keras' own layers and optimisers, TensorFlow's own threads and kernels",
}
_mode = "auto"


def configure(mode: str) -> None:
    """Chooses how TensorFlow runs, for the whole process; models that were prepared earlier do not change.

    Args:
        mode: a key of `MODES`. To affect TensorFlow's threads and kernels too, choose before TensorFlow is imported.

    Raises:
        UsageError: an unknown mode.

    Examples:
        >>> from adv_networks import runtime
        >>> runtime.configure("plain")
        >>> runtime.is_plain()
        True
        >>> runtime.configure("auto")
    """
    global _mode
    if mode not in MODES:
        raise UsageError(f"runtime: expected one of {', '.join(MODES)}, received {mode}")
    _mode = mode


def mode() -> str:
    """The mode that was chosen: `auto` unless `configure` said otherwise.

    Examples:
        >>> from adv_networks import runtime
        >>> runtime.mode()
        'auto'
    """
    return _mode


def is_plain() -> bool:
    """Whether models, optimisers and loops are Keras' and TensorFlow's own.

    Examples:
        >>> from adv_networks import runtime
        >>> runtime.is_plain()
        False
    """
    return _mode == "plain"
