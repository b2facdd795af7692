"""An estimate of the time of an advnet step on GPUs on which this project was not run.

A convolution or matrix product takes the longer of two times: its arithmetic at the peak rate, and its memory traffic at the
peak bandwidth. The operations between them (BN, ReLU, sums) read and write each output PASSES times more. Every kernel must be
launched, which takes a fixed time if the GPU waits for it. Replicas split the minibatch, and sum the gradients of D and G over
the slower link between them once for every update.
"""

from __future__ import annotations

import dataclasses
import math

from adv_networks import networks
from benchmarks.contenders import spec_of
from benchmarks.floor import products_of
from benchmarks.operations import Operation

PASSES = 4
KERNELS_PER_PRODUCT = 4


@dataclasses.dataclass(frozen=True)
class Gpu:
    """Peak float32 operations and bytes a second of one GPU, seconds to launch a kernel, bytes a second between replicas."""

    name: str
    flops: float
    bandwidth: float
    launch: float
    count: int = 1
    link: float = math.inf


# From the vendors' data sheets: H100 SXM (67 TFLOP/s without tensor cores, 3.35 TB/s), GTX 1080 Ti (11.3 TFLOP/s, 484 GB/s) on
# PCIe 3.0 x16 (about 12 GB/s). Launch times are those commonly measured.
GPUS = (Gpu("H100", 67e12, 3.35e12, 4e-6), Gpu("4 x GTX 1080 Ti", 11.3e12, 484e9, 6e-6, 4, 12e9))


def flops(product: Operation) -> float:
    """The number of operations, two per multiply-add. A gradient of a convolution takes as many as the convolution."""
    return 2.0 * math.prod(product.outputs) * math.prod(product.kernel[:-1])


def _seconds_of(product: Operation, gpu: Gpu) -> float:
    """The seconds of a product and the operations that follow it, without launches."""
    touched = 4 * sum(map(math.prod, (product.inputs, product.outputs, product.kernel)))
    return max(flops(product) / gpu.flops, touched / gpu.bandwidth) + PASSES * 4 * math.prod(product.outputs) / gpu.bandwidth


def estimates(dataset: str, width: int) -> dict[str, float]:
    """The seconds of a step by GPU."""
    parts = {gpu.name: seconds(dataset, width, gpu) for gpu in GPUS}
    return {name: max(computing, launching) + moving for name, (computing, launching, moving) in parts.items()}


def seconds(dataset: str, width: int, gpu: Gpu, batch: int = 64) -> tuple[float, float, float]:
    """The seconds of a step for arithmetic and memory, for launches, and between replicas; the first two overlap."""
    products = products_of(dataset, "advnet", batch // gpu.count, generator_width=width)
    computing = sum(count * _seconds_of(product, gpu) for product, count in products.items())
    launching = products.total() * KERNELS_PER_PRODUCT * gpu.launch
    spec = spec_of(dataset, generator_width=width)
    d, g = networks.classifier(spec).count_params(), networks.generators(spec)[0].count_params()
    # A ring moves twice the gradients' bytes. φ has one gradient for each ascent and one as v; θ has those of three passes.
    moved = 4 * 2 * (gpu.count - 1) / gpu.count * ((spec.generator_steps + 1) * g + 3 * d)
    return computing, launching, moved / gpu.link
