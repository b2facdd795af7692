"""Describes what the runtime chose for this process, for the records of results."""

from __future__ import annotations

import os

from adv_networks.runtime import processor, settings, splitting, start


def choices() -> str:
    """One line that names every choice that can change results by rounding. Loads TensorFlow.

    Examples:
        >>> from adv_networks import runtime
        >>> runtime.choices()
        'auto: oneDNN ..., batches ..., fast layers, fused updates'
    """
    words = [f"oneDNN {'on' if uses_onednn() else 'off'}"]
    if settings.is_plain():
        return f"plain: {words[0]}"
    parts = splitting.parts_per_batch()
    words.append(f"batches in {parts} parts" if parts > 1 else "batches whole")
    from adv_networks.runtime import normalisation  # which loads TensorFlow

    words += ["fast layers", "fused updates"]
    if normalisation.is_fused_slow():
        words.append("BN of single operations")
    return f"auto: {', '.join(words)}"


def uses_onednn() -> bool:
    """Whether TensorFlow uses oneDNN, as far as the environment and the processor show; True if in doubt."""
    given = os.environ.get(start.ONEDNN)
    if given is not None:
        return given.lower() not in ("0", "false")
    known = processor.features()
    return not known or processor.has_onednn_by_default(known)
