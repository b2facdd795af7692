"""The operations of a step in TensorFlow, alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adv_networks.lazy import keras, tf
from benchmarks import operations
from benchmarks.operations import BN, BY_INPUT, BY_KERNEL, FORWARD, POOLING, RELU, Operation


def seconds_by_kind(dataset: str, method: str, batch: int, repeats: int) -> dict[str, float]:
    """The seconds of a step's operations by kind, with the threads and kernels of `start_tensorflow`.

    As in our steps, each core takes some of the images where the batch is split. Convolutions are TensorFlow's own; BN has the
    form of the runtime, `normalisation.normalise`, with the moments of the whole batch.
    """
    from adv_networks.runtime import splitting
    from adv_networks.runtime.start import start_tensorflow

    start_tensorflow()
    parts = splitting.parts_per_batch()
    return operations.seconds_by_kind(dataset, method, batch, lambda operation: call_of(operation, parts), repeats)


def call_of(operation: Operation, parts: int = 1) -> Callable[[], object]:
    """An operation on random numbers; the batch goes through it in so many parts at once."""
    own = operation.of_batch(operation.inputs[0] // parts)
    if operation.kind in (BN, RELU, POOLING):
        return _layer(own, parts)
    calls = [_product(own) for _ in range(parts)]
    if operation.kind == BY_KERNEL:  # of the whole batch
        return tf.function(lambda: tf.add_n([call() for call in calls]), autograph=False)
    return tf.function(lambda: [call() for call in calls], autograph=False)


def _random(*shapes: tuple[int, ...]) -> list[tf.Tensor]:
    random = np.random.default_rng(0)
    return [tf.constant(random.normal(size=shape), tf.float32) for shape in shapes]


def _product(product: Operation) -> Callable[[], tf.Tensor]:
    x, y, kernel = _random(product.inputs, product.outputs, product.kernel)
    options = dict(strides=[1, product.stride, product.stride, 1], padding="SAME")
    if len(product.inputs) == 2:
        return {
            FORWARD: lambda: tf.matmul(x, kernel),
            BY_INPUT: lambda: tf.matmul(y, kernel, transpose_b=True),
            BY_KERNEL: lambda: tf.matmul(x, y, transpose_a=True),
        }[product.kind]
    return {
        FORWARD: lambda: tf.nn.conv2d(x, kernel, **options),
        BY_INPUT: lambda: tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=kernel, out_backprop=y, **options),
        BY_KERNEL: lambda: tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, out_backprop=y, **options),
    }[product.kind]


def _layer(operation: Operation, parts: int) -> Callable[[], object]:
    """A layer on the parts of a batch, with its gradients by what it reads if the operation has them."""
    images = [image for _ in range(parts) for image in _random(operation.inputs)]
    upstream = [part for _ in range(parts) for part in _random(operation.outputs)]
    forward, weights = _forward(operation)

    def call() -> object:
        if not operation.backward:
            return forward(images)
        sources = [*images, *weights]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs = forward(images)
        return outputs, tape.gradient(outputs, sources, upstream)

    return tf.function(call, autograph=False)


def _forward(operation: Operation) -> tuple[Callable[[list[tf.Tensor]], list[tf.Tensor]], list[tf.Variable]]:
    """What a layer does with the parts of a batch, and its weights."""
    if operation.kind == BN:
        from adv_networks.runtime import normalisation

        layer = keras.layers.BatchNormalization(momentum=0.997, epsilon=1e-5)
        layer.build(operation.inputs)
        return lambda images: normalisation.normalise(layer, images), [layer.gamma.value, layer.beta.value]
    if operation.kind == RELU:
        return lambda images: [tf.nn.relu(part) for part in images], []
    if not operation.stride:
        return lambda images: [tf.reduce_mean(part, [1, 2]) for part in images], []
    return lambda images: [tf.nn.max_pool2d(part, operation.stride, operation.stride, "VALID") for part in images], []
