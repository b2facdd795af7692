"""The one door to whatever makes a model's calls faster."""

from __future__ import annotations

from adv_networks.lazy import keras
from adv_networks.runtime import dropout, faults, graphs, moments, replacements, settings, splitting


def prepare(model: keras.Model, *, replicas: int = 1, double_backprop: bool = False, share_graphs: bool = False) -> keras.Model:
    """Lets a model's calls and gradients use what is fastest here, in place; outputs stay the same, up to rounding.

    Layers get faster forms (`kernels`), and on cores that have one thread for each operation batches are split among them
    (`splitting`). `model.save` writes what it would have written before. To prepare a model again replaces what was done
    first. In mode `plain` only what results depend on is done.

    Args:
        model: a built Keras model.
        replicas: how many train it together; with several, BN has the moments of all their batches, and nothing is split.
        double_backprop: whether second derivatives are taken through its training mode; BN's are then right (in Keras they
            are not), at the cost of its faster form.
        share_graphs: lets it use the compiled graphs of others of its architecture; for networks of `networks` only, whose
            configuration says all that they compute.

    Returns:
        The model itself.

    Example:
        >>> model = runtime.prepare(keras.models.load_model("d.keras"))
    """
    replacements.take_back(model)
    faults.avoid_faults(model)
    dropout.follow_seeds(model)
    plain = settings.is_plain()
    if replicas > 1 or double_backprop:
        moments.share_batch_moments(model)
    elif not plain:
        from adv_networks.runtime import kernels  # which loads TensorFlow

        kernels.accelerate(model)
    if not plain and replicas == 1:
        splitting.split_batches(model)
    if not plain and share_graphs:
        graphs.share(model)
    return model
