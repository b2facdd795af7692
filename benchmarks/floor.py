"""The least time that a step can take on this machine.

It is the sum over all convolutions and matrix products of the step, each at the best time that TensorFlow or PyTorch takes for
this operation alone. The rest of a step (BN, ReLU, pooling, optimisers) counts as free.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import operations_tensorflow
from benchmarks.operations import PRODUCTS, Operation, best, operations_of


def products_of(dataset: str, method: str, batch: int, **options: Any) -> Counter[Operation]:
    """All convolutions and matrix products of a step of a method; the options are those of `operations_of`."""
    found = operations_of(dataset, method, batch, **options)
    return Counter({operation: count for operation, count in found.items() if operation.kind in PRODUCTS})


def least_seconds(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The least time of each step, which is given as arguments of `products_of`; each operation is timed only once."""
    products = {name: products_of(**step) for name, step in steps.items()}
    makers = _makers()
    known = {product: min(best(make(product)) for make in makers) for product in set().union(*products.values())}
    return {name: sum(count * known[product] for product, count in own.items()) for name, own in products.items()}


def _makers() -> list[Callable[[Operation], Callable[[], object]]]:
    if importlib.util.find_spec("torch") is None:
        return [operations_tensorflow.call_of]
    from benchmarks import operations_pytorch

    return [operations_tensorflow.call_of, operations_pytorch.call_of]
