"""Bit-identical results on one machine, regardless of the timing of threads."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

from adv_networks.lazy import tf


@functools.cache
def make_deterministic() -> None:
    """Makes all later results of this process depend only on their inputs, not on the timing of threads.

    TensorFlow's own switch misses one operation. AddN sums the gradients of a tensor that is used three times, as the input of
    every BN is, and it begins with the first of them that nothing else holds at that moment. So gradients are summed in pairs
    here, and the graph optimiser is kept from merging these sums again.
    """
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    _sum_gradients_in_pairs()
    # TensorFlow now refuses random operations without a seed, unless there is a global one.
    tf.random.set_seed(0)


def _sum_gradients_in_pairs() -> None:
    """Changes how gradient tapes sum; there is no public setting for it."""
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import backprop

    def in_pairs(gradients: list[tf.Tensor | tf.IndexedSlices]) -> tf.Tensor | tf.IndexedSlices:
        return functools.reduce(lambda total, gradient: backprop._aggregate_grads([total, gradient]), gradients)

    pywrap_tfe.TFE_Py_RegisterVSpace(backprop._default_vspace._replace(aggregate_fn=in_pairs))


def is_deterministic() -> bool:
    """Whether TensorFlow's operations are deterministic now."""
    from tensorflow.python.framework import config

    return config.is_op_determinism_enabled()


@contextlib.contextmanager
def suspended() -> Iterator[None]:
    """Context in which operations need not be deterministic: XLA has no deterministic gradient of max-pooling."""
    from tensorflow.python.framework import config

    enabled = config.is_op_determinism_enabled()
    config.disable_op_determinism()
    try:
        yield
    finally:
        if enabled:
            config.enable_op_determinism()
