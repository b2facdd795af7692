"""The operations of a step in PyTorch, alone: channels last, with its default threads (optional: pip install torch)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from benchmarks import operations
from benchmarks.operations import BN, BY_INPUT, BY_KERNEL, FORWARD, POOLING, RELU, Operation


def seconds_by_kind(dataset: str, method: str, batch: int, repeats: int) -> dict[str, float]:
    """The seconds of a step's operations by kind."""
    return operations.seconds_by_kind(dataset, method, batch, call_of, repeats)


def call_of(operation: Operation) -> Callable[[], object]:
    """An operation on random numbers."""
    return _layer(operation) if operation.kind in (BN, RELU, POOLING) else _product(operation)


def _random(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    random = np.random.default_rng(0)
    return [torch.from_numpy(random.normal(size=shape).astype(np.float32)) for shape in shapes]


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    """Images [batch, height, width, channels] as PyTorch takes them; other values unchanged."""
    if images.ndim != 4:
        return images
    return images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _product(product: Operation) -> Callable[[], object]:
    x, y, kernel = _random(product.inputs, product.outputs, product.kernel)
    if len(product.inputs) == 2:
        return {FORWARD: lambda: x @ kernel, BY_INPUT: lambda: y @ kernel.T, BY_KERNEL: lambda: x.T @ y}[product.kind]
    x, y = _channels_last(x), _channels_last(y)
    kernel = kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    padding = [product.kernel[0] // 2] * 2
    if product.kind == FORWARD:
        return lambda: functional.conv2d(x, kernel, None, product.stride, padding)
    mask = [product.kind == BY_INPUT, product.kind == BY_KERNEL, False]
    strides = [product.stride] * 2
    return lambda: torch.ops.aten.convolution_backward(y, x, kernel, None, strides, padding, [1, 1], False, [0, 0], 1, mask)


def _layer(operation: Operation) -> Callable[[], object]:
    """A layer with its gradients by what it reads if the operation has them."""
    images, upstream = (_channels_last(values) for values in _random(operation.inputs, operation.outputs))
    forward, weights = _forward(operation)
    sources = [images, *weights]

    def both() -> object:
        return torch.autograd.grad(forward(images), sources, upstream)

    if not operation.backward:
        return lambda: forward(images)
    for source in sources:
        source.requires_grad_()
    return both


def _forward(operation: Operation) -> tuple[Callable[[torch.Tensor], torch.Tensor], list[torch.Tensor]]:
    """What a layer does with images, and its weights."""
    if operation.kind == BN:
        channels = operation.inputs[-1]
        mean, variance, weight, bias = (torch.zeros(channels), *(torch.ones(channels) for _ in range(3)))
        options = dict(training=True, momentum=0.003, eps=1e-5)
        return lambda images: functional.batch_norm(images, mean, variance, weight, bias, **options), [weight, bias]
    if operation.kind == RELU:
        return functional.relu, []
    if not operation.stride:
        return lambda images: images.mean((2, 3)), []
    return lambda images: functional.max_pool2d(images, operation.stride), []
