"""The cost of a run, counted from the networks' convolutions and matrix products. Imports no TensorFlow."""

from __future__ import annotations

from adv_networks.experiments import GENERATORS, METHODS, Experiment, find_classifier

# Estimates of what compiled steps reach; only the order of magnitude counts. The first was measured on two cores. The second
# was not measured: it is a fifth of the 11.3 TFLOP/s of the paper's GTX 1080 Ti, because networks are narrow and batches small.
GFLOPS_OF_TWO_CORES = 100.0
GFLOPS_OF_A_GPU = 2_260.0


def classifier_multiply_adds(spec: Experiment) -> int:
    """Multiply-adds of D on one image."""
    return find_classifier(spec.classifier).multiply_adds(spec)


def generator_multiply_adds(spec: Experiment, name: str) -> int:
    """Multiply-adds of one of the experiment's generators on one image."""
    return GENERATORS[name].multiply_adds(spec)


def training_flops(spec: Experiment) -> float:
    """Floating-point operations of a training run, two per multiply-add.

    The method says how many passes a step makes (`Defence.multiply_adds`).
    """
    return 2.0 * METHODS[spec.method].multiply_adds(spec) * spec.batch_size * spec.steps


def describe(spec: Experiment) -> str:
    """The cost of a run in words."""
    if find_classifier(spec.classifier).is_own or any(GENERATORS[name].is_own for name in spec.generators):
        return "your own networks, whose cost is not known"
    flops = training_flops(spec)
    time = _time(flops / (GFLOPS_OF_TWO_CORES * 1e9))
    return f"{flops:.2g} FLOPs: about {time} on two cores, {flops / (GFLOPS_OF_A_GPU * 3.6e12):.2g} GPU-hours"


def _time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
