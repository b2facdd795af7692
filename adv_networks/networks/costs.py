"""What a run costs, counted from the networks' convolutions and matrix products. Imports no TensorFlow."""

from __future__ import annotations

from adv_networks.experiments import DATASETS, METHODS, Experiment

# Estimates of what the compiled steps reach, of which only the order of magnitude counts: measured on two cores, and a
# fifth of the 11.3 TFLOP/s of the paper's GTX 1080 Ti, whose networks are narrow and batches small (not measured).
GFLOPS_OF_TWO_CORES = 100.0
GFLOPS_OF_A_GPU = 2_260.0


def _residual(side_products: int, channels_in: int, filters: int, blocks: int) -> int:
    """Multiply-adds of a stage of 3×3 residual blocks on `side_products` output pixels, its first shortcut projected."""
    first = side_products * filters * (9 * channels_in + channels_in + 9 * filters)
    return first + (blocks - 1) * side_products * 18 * filters * filters


def classifier_multiply_adds(spec: Experiment) -> int:
    """Multiply-adds of D on one image."""
    height, width, channels = DATASETS[spec.dataset].image_shape
    pixels, classes, w = height * width, DATASETS[spec.dataset].classes, spec.classifier_width
    if spec.classifier == "d1":
        return pixels * 25 * channels * w + pixels // 4 * 25 * w * 2 * w + pixels // 16 * 2 * w * classes
    stages = _residual(pixels, w, w, 3) + _residual(pixels // 4, w, 2 * w, 3) + _residual(pixels // 16, 2 * w, 4 * w, 3)
    return pixels * 9 * channels * w + stages + 4 * w * classes


def generator_multiply_adds(spec: Experiment, name: str) -> int:
    """Multiply-adds of one of the experiment's generators on one image."""
    height, width, channels = DATASETS[spec.dataset].image_shape
    pixels, k = height * width, spec.generator_width
    if name == "released_mnist":
        return pixels // 4 * 25 * channels * k + pixels // 16 * 25 * 2 * k * k * 2 + pixels // 4 * 25 * k * channels
    encoder_out = 4 * k
    encoder = 0
    if name == "g1":
        first, second, third = (multiple * k for multiple in spec.encoder_widths)
        encoder = 9 * (pixels * channels * first + pixels // 4 * first * second + pixels // 16 * second * third)
        encoder_out = third
    elif name == "g3":
        encoder = DATASETS[spec.dataset].classes * pixels // 16 * 4 * k
    decoder = 9 * (pixels // 16 * 4 * k * 2 * k + pixels // 4 * 2 * k * k + pixels * k * channels)
    return encoder + _residual(pixels // 16, encoder_out, 4 * k, 6) + decoder


def training_flops(spec: Experiment) -> float:
    """Floating-point operations of a training run, two per multiply-add.

    The method says how many passes a step makes (`Defence.multiply_adds`).
    """
    return 2.0 * METHODS[spec.method].multiply_adds(spec) * spec.batch_size * spec.steps


def describe(spec: Experiment) -> str:
    """The cost of a run in words."""
    flops = training_flops(spec)
    time = _time(flops / (GFLOPS_OF_TWO_CORES * 1e9))
    return f"{flops:.2g} FLOPs: about {time} on two cores, {flops / (GFLOPS_OF_A_GPU * 3.6e12):.2g} GPU-hours"


def _time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
