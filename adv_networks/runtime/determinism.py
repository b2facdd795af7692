"""Bit-identical results on one machine, whatever its threads do."""

from __future__ import annotations

import functools

from adv_networks.lazy import tf


@functools.cache
def make_deterministic() -> None:
    """Makes what this process computes from now on depend on its inputs alone, not on the timing of threads.

    TensorFlow's own switch leaves one thing open: AddN, which sums the gradients of a tensor that is used three times (as the
    input of every BN is), begins with the first of them that nothing else holds at that moment. So gradients are summed two
    by two, and the graph optimiser is kept from merging such sums again.
    """
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    _sum_gradients_in_pairs()
    # Random operations without a seed are now refused, unless there is one for all.
    tf.random.set_seed(0)


def _sum_gradients_in_pairs() -> None:
    """Changes how tapes sum, which is no public setting."""
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import backprop

    def in_pairs(gradients: list[tf.Tensor | tf.IndexedSlices]) -> tf.Tensor | tf.IndexedSlices:
        return functools.reduce(lambda total, gradient: backprop._aggregate_grads([total, gradient]), gradients)

    pywrap_tfe.TFE_Py_RegisterVSpace(backprop._default_vspace._replace(aggregate_fn=in_pairs))
