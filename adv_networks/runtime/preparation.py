"""Prepares a model so that its calls are as fast as possible."""

from __future__ import annotations

from adv_networks.lazy import keras
from adv_networks.runtime import dropout, faults, folding, graphs, moments, replacements, settings, splitting


def prepare(model: keras.Model, *, replicas: int = 1, double_backprop: bool = False, share_graphs: bool = False) -> keras.Model:
    """Makes a model's calls and gradients as fast as possible here, in place; outputs stay the same, up to rounding.

    Layers get faster forms (`kernels`), and in inference BN is folded into convolutions (`folding`). If each operation has one
    thread, batches are split among the cores (`splitting`). `model.save` writes the same file as before. Preparing a model
    again replaces the first preparation. In mode `plain`, only the changes that results depend on are made.

    Args:
        model: a built Keras model.
        replicas: how many replicas train it together; with several, BN uses the moments of all their batches, and batches are
            not split.
        double_backprop: whether second derivatives are taken through its training mode. Those of BN are then correct, which
            they are not in Keras, but BN does not get its faster form.
        share_graphs: whether it may use the compiled graphs of others of its architecture. Only for networks of `networks`,
            whose configuration describes all that they compute.

    Returns:
        The model itself.

    Examples:
        >>> import keras
        >>> from adv_networks import runtime
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
        >>> runtime.prepare(model) is model
        True
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
        folding.fold_normalisations(model)
    if not plain and replicas == 1:
        splitting.split_batches(model)
    if not plain and share_graphs:
        graphs.share(model)
    return model
