"""The least time that a step can take on this machine.

It is the sum over all convolutions and matrix products of the step, each at the best time that TensorFlow or PyTorch takes for
this operation alone. The rest of a step (BN, ReLU, pooling, optimisers) counts as free.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from time import perf_counter

import numpy as np

from adv_networks import networks
from adv_networks.lazy import keras, tf
from benchmarks.contenders import spec_of

FORWARD, BY_INPUT, BY_KERNEL = "forward", "gradient by input", "gradient by kernel"


@dataclasses.dataclass(frozen=True)
class Product:
    """A convolution or matrix product of a layer, or one of its gradients; a deconvolution is a convolution's gradient."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: int = 1


_SWAPPED = {FORWARD: BY_INPUT, BY_INPUT: FORWARD, BY_KERNEL: BY_KERNEL}


def _products(model: keras.Model, batch: int, kinds: tuple[str, ...], *, by_image: bool) -> Counter[Product]:
    """The products of one pass through a model; the first layer's gradient by its input is needed only `by_image`."""
    found: Counter[Product] = Counter()
    first = True
    for layer in model.layers:
        if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.Dense)):
            continue
        inputs, outputs = ((batch, *tensor.shape[1:]) for tensor in (layer.input, layer.output))
        transposed = isinstance(layer, keras.layers.Conv2DTranspose)
        stride = layer.strides[0] if hasattr(layer, "strides") else 1
        for kind in kinds:
            if kind == BY_INPUT and first and not by_image:
                continue
            ends = (outputs, inputs) if transposed else (inputs, outputs)
            found[Product(_SWAPPED[kind] if transposed else kind, *ends, tuple(layer.kernel.shape), stride)] += 1
        first = False
    return found


def _times(count: int, products: Counter[Product]) -> Counter[Product]:
    return Counter({product: count * number for product, number in products.items()})


def products_of(
    dataset: str, method: str, batch: int, *, attack_only: bool = False, generator_width: int = 8
) -> Counter[Product]:
    """All products of a step of a method; with `attack_only`, those of PGD-10 on D."""
    spec = spec_of(dataset, method, generator_width=generator_width)
    d, every = networks.classifier(spec), (FORWARD, BY_INPUT, BY_KERNEL)

    def of_d(*kinds: str, by_image: bool = False) -> Counter[Product]:
        return _products(d, batch, kinds, by_image=by_image)

    crafting = _times(spec.pgd_steps, of_d(FORWARD, BY_INPUT, by_image=True))
    if attack_only:
        return crafting
    if method == "pgd":
        return crafting + of_d(*every)
    if method == "standard":
        return of_d(*every)
    (g,) = networks.generators(spec)

    def of_g(*kinds: str) -> Counter[Product]:
        return _products(g, batch, kinds, by_image=False)

    ascent = of_g(*every) + of_d(FORWARD, BY_INPUT, by_image=True)
    clean, adversarial = of_d(*every), of_g(*every) + of_d(*every, by_image=True)
    shifted = of_g(FORWARD) + of_d(*every)
    return _times(spec.generator_steps, ascent) + clean + adversarial + shifted


def _tensorflow(product: Product) -> Callable[[], object]:
    random = np.random.default_rng(0)
    x, y, kernel = (
        tf.constant(random.normal(size=shape), tf.float32) for shape in (product.inputs, product.outputs, product.kernel)
    )
    options = dict(strides=[1, product.stride, product.stride, 1], padding="SAME")
    if len(product.inputs) == 2:
        calls = {
            FORWARD: lambda: tf.matmul(x, kernel),
            BY_INPUT: lambda: tf.matmul(y, kernel, transpose_b=True),
            BY_KERNEL: lambda: tf.matmul(x, y, transpose_a=True),
        }
    else:
        calls = {
            FORWARD: lambda: tf.nn.conv2d(x, kernel, **options),
            BY_INPUT: lambda: tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=kernel, out_backprop=y, **options),
            BY_KERNEL: lambda: tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, out_backprop=y, **options),
        }
    return tf.function(calls[product.kind], autograph=False)


def _pytorch(product: Product) -> Callable[[], object]:
    import torch

    random = np.random.default_rng(0)
    shapes = (product.inputs, product.outputs, product.kernel)
    x, y, kernel = (torch.from_numpy(random.normal(size=shape).astype(np.float32)) for shape in shapes)
    if len(product.inputs) == 2:
        return {FORWARD: lambda: x @ kernel, BY_INPUT: lambda: y @ kernel.T, BY_KERNEL: lambda: x.T @ y}[product.kind]
    last = torch.channels_last
    x, y = (part.permute(0, 3, 1, 2).contiguous(memory_format=last) for part in (x, y))
    kernel, size = kernel.permute(3, 2, 0, 1).contiguous(memory_format=last), product.kernel[0]
    padding = [size // 2] * 2
    if product.kind == FORWARD:
        return lambda: torch.nn.functional.conv2d(x, kernel, None, product.stride, padding)
    mask = [product.kind == BY_INPUT, product.kind == BY_KERNEL, False]
    strides = [product.stride] * 2
    return lambda: torch.ops.aten.convolution_backward(y, x, kernel, None, strides, padding, [1, 1], False, [0, 0], 1, mask)


def _best(call: Callable[[], object], repeats: int = 15) -> float:
    call()
    seconds = []
    for _ in range(repeats):
        began = perf_counter()
        call()
        seconds.append(perf_counter() - began)
    return min(seconds)


class Floor:
    """Computes the least time of steps; each operation is timed only once."""

    def __init__(self) -> None:
        self.known: dict[Product, float] = {}

    def seconds(self, products: Counter[Product]) -> float:
        """The sum of the products' best times."""
        for product in products.keys() - self.known.keys():
            self.known[product] = min(_best(make(product)) for make in _makers())
        return sum(count * self.known[product] for product, count in products.items())


def _makers() -> list[Callable[[Product], Callable[[], object]]]:
    try:
        import torch  # noqa: F401
    except ImportError:
        return [_tensorflow]
    return [_tensorflow, _pytorch]
