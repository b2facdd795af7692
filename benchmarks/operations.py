"""The operations of a training step: which, how often, and how long each takes alone.

Counted are convolutions and matrix products with their gradients, and BN, ReLU and pooling. Optimisers, sums and the loss are
not.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable
from time import perf_counter

from adv_networks import networks
from adv_networks.lazy import keras
from benchmarks.contenders import spec_of

FORWARD, BY_INPUT, BY_KERNEL = PRODUCTS = ("forward", "gradient by input", "gradient by kernel")
BN, RELU, POOLING = OTHERS = ("BN", "ReLU", "pooling")


@dataclasses.dataclass(frozen=True)
class Operation:
    """A convolution or matrix product of a layer, one of its gradients, or another layer.

    A deconvolution is a convolution's gradient. Other layers have no kernel, and `backward` says whether their gradient
    follows; pooling has its window as the stride, 0 for the mean of an image.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    stride: int = 1
    backward: bool = False

    def of_batch(self, batch: int) -> Operation:
        """The same operation for another number of images."""
        return dataclasses.replace(self, inputs=(batch, *self.inputs[1:]), outputs=(batch, *self.outputs[1:]))


_SWAPPED = {FORWARD: BY_INPUT, BY_INPUT: FORWARD, BY_KERNEL: BY_KERNEL}


def _operations(model: keras.Model, batch: int, kinds: tuple[str, ...], *, by_image: bool) -> Counter[Operation]:
    """The operations of one pass through a model; the first layer's gradient by its input is needed only `by_image`."""
    found: Counter[Operation] = Counter()
    first = True
    for layer in model.layers:
        other = _other(layer)
        if not (other or isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.Dense))):
            continue
        inputs, outputs = ((batch, *tensor.shape[1:]) for tensor in (layer.input, layer.output))
        if other:
            window, *_ = getattr(layer, "pool_size", (0,))
            found[Operation(other, inputs, outputs, stride=window, backward=kinds != (FORWARD,))] += 1
            continue
        transposed = isinstance(layer, keras.layers.Conv2DTranspose)
        stride = layer.strides[0] if hasattr(layer, "strides") else 1
        for kind in kinds:
            if kind == BY_INPUT and first and not by_image:
                continue
            ends = (outputs, inputs) if transposed else (inputs, outputs)
            found[Operation(_SWAPPED[kind] if transposed else kind, *ends, tuple(layer.kernel.shape), stride)] += 1
        first = False
    return found


def _other(layer: keras.layers.Layer) -> str:
    """The kind of a layer without a product that is counted; empty for the rest."""
    kinds = {
        BN: keras.layers.BatchNormalization,
        RELU: keras.layers.ReLU,
        POOLING: (keras.layers.MaxPooling2D, keras.layers.GlobalAveragePooling2D),
    }
    return next((kind for kind, types in kinds.items() if isinstance(layer, types)), "")


def _times(count: int, operations: Counter[Operation]) -> Counter[Operation]:
    return Counter({operation: count * number for operation, number in operations.items()})


def operations_of(
    dataset: str, method: str, batch: int, *, attack_only: bool = False, generator_width: int = 8
) -> Counter[Operation]:
    """All operations of a step of a method; with `attack_only`, those of PGD-10 on D."""
    spec = spec_of(dataset, method, generator_width=generator_width)
    d, every = networks.classifier(spec), PRODUCTS

    def of_d(*kinds: str, by_image: bool = False) -> Counter[Operation]:
        return _operations(d, batch, kinds, by_image=by_image)

    crafting = _times(spec.pgd_steps, of_d(FORWARD, BY_INPUT, by_image=True))
    if attack_only:
        return crafting
    if method == "pgd":
        return crafting + of_d(*every)
    if method == "standard":
        return of_d(*every)
    (g,) = networks.generators(spec)

    def of_g(*kinds: str) -> Counter[Operation]:
        return _operations(g, batch, kinds, by_image=False)

    ascent = of_g(*every) + of_d(FORWARD, BY_INPUT, by_image=True)
    clean, adversarial = of_d(*every), of_g(*every) + of_d(*every, by_image=True)
    shifted = of_g(FORWARD) + of_d(*every)
    return _times(spec.generator_steps, ascent) + clean + adversarial + shifted


def seconds_by_kind(
    dataset: str, method: str, batch: int, make: Callable[[Operation], Callable[[], object]], repeats: int
) -> dict[str, float]:
    """For each kind, the sum over a step of an operation's number and its best time alone, as a library's `make` makes it."""
    found = dict.fromkeys((*PRODUCTS, *OTHERS), 0.0)
    for operation, count in operations_of(dataset, method, batch).items():
        found[operation.kind] += count * best(make(operation), repeats)
    return {kind: seconds for kind, seconds in found.items() if seconds}


def best(call: Callable[[], object], repeats: int = 15) -> float:
    """The least seconds of a call, after a first one that is not timed."""
    call()
    least = math.inf
    for _ in range(repeats):
        began = perf_counter()
        call()
        least = min(least, perf_counter() - began)
    return least
