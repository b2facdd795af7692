"""The operation that bounds a model's outputs, found in its graph, whatever layers, functions or names it is written with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from adv_networks.lazy import keras, tf
from adv_networks.runtime.compiled import failure

# Operations of TensorFlow whose results lie between two numbers, by the usual names of their functions.
_BOUNDING = {
    "Softmax": "softmax", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softsign": "softsign", "Relu6": "relu6 or hard_sigmoid",
    "Atan": "arctan", "Erf": "erf", "Sin": "sin", "Cos": "cos", "ClipByValue": "clip",
}  # fmt: skip
_AT_LEAST = frozenset({"Relu", "Elu", "Selu", "Exp", "Softplus", "Abs", "Square"})
# Those among them that grow at both ends of their operand.
_OF_BOTH_ENDS = frozenset({"Abs", "Square"})
# Operations whose results are bounded on a side if all operands are; and those that may exchange the sides.
_KEEPING = frozenset(
    {
        "Add", "AddN", "AddV2", "BiasAdd", "Cast", "CheckNumerics", "ConcatV2", "EnsureShape", "ExpandDims", "GatherV2",
        "Identity", "Mean", "Pack", "PreventGradient", "Reshape", "Squeeze", "StopGradient", "StridedSlice", "Transpose",
    }
)  # fmt: skip
_TURNING = frozenset({"Mul", "RealDiv", "Sub"})
# Operations whose results do not depend on the values of their operand.
_OF_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})


class _Bounds(NamedTuple):
    """Whether a tensor is bounded from below and from above, and the function that does it."""

    below: bool = False
    above: bool = False
    by: str = ""


_CONSTANT = _Bounds(below=True, above=True)


def bounding_operation(model: keras.Model) -> str | None:
    """The function that bounds a classifier's only output, such as softmax, tanh or clip; None if none is seen.

    It is the last operation of the model's graph, apart from those that scale, shift, cast, average or reshape its results. A
    matrix product or convolution ends the search, because its results are logits again. What is written as a quotient or
    comparison, such as 1 / (1 + exp(-x)), is not seen, and neither is code outside of TensorFlow's graph.

    Raises:
        UserError: the model fails.

    Examples:
        >>> import keras
        >>> from adv_networks import runtime
        >>> dense, bound = keras.layers.Dense(3), keras.layers.Lambda(lambda x: 5 * keras.ops.tanh(x) + 1)
        >>> [runtime.bounding_operation(keras.Sequential([keras.Input((2,)), *some])) for some in ([dense], [dense, bound])]
        [None, 'tanh']
    """
    taken = getattr(model, "inputs", None)
    shape = taken[0].shape if taken else (model.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, (tuple, list)):
        return None
    call = tf.function(lambda images: model(images, training=False), autograph=False)
    try:
        graph = call.get_concrete_function(tf.TensorSpec(shape, model.variable_dtype)).graph
    except Exception as error:  # The user's code may raise anything.
        raise failure(model.name, error) from error
    if len(graph.outputs) != 1:
        return None
    found = _Search(graph.inputs[:1]).bounds(graph.outputs[0])
    return found.by if found.below and found.above else None


class _Search:
    """The bounds of the tensors of one graph.

    Args:
        images: the inputs of the graph that are not known; all other inputs are weights, which are as good as constants.
        known: the bounds of these inputs, where they have any.
    """

    def __init__(self, images: Iterable[Any], known: Iterable[_Bounds] = ()):
        images = list(images)
        self._known = {id(image): bounds for image, bounds in zip(images, known, strict=False)}
        self._depending = {id(image.op) for image in images}
        while images:
            users = [user for user in images.pop().consumers() if id(user) not in self._depending]
            for user in users:
                if user.type not in _OF_SHAPES:
                    self._depending.add(id(user))
                    images += user.outputs

    def bounds(self, tensor: Any) -> _Bounds:
        """The bounds of a tensor; none where they are not known."""
        operation = tensor.op
        if id(operation) not in self._depending:
            return _CONSTANT
        if id(tensor) not in self._known:
            self._known[id(tensor)] = _Bounds()  # of a graph that contains itself
            self._known[id(tensor)] = self._of(operation, tensor.value_index)
        return self._known[id(tensor)]

    def _of(self, operation: Any, output: int) -> _Bounds:
        kind = operation.type
        if kind in _BOUNDING:
            return _Bounds(below=True, above=True, by=_BOUNDING[kind])
        if kind in _AT_LEAST:
            own = self.bounds(operation.inputs[0])
            return own._replace(below=True, above=own.above and (own.below or kind not in _OF_BOTH_ENDS))
        if kind == "Neg":
            own = self.bounds(operation.inputs[0])
            return _Bounds(own.above, own.below, own.by or "clip")
        if kind == "IdentityN":
            return self.bounds(operation.inputs[output])
        if kind in ("PartitionedCall", "StatefulPartitionedCall"):
            return self._of_call(operation, output)
        if kind not in {"Minimum", "Maximum"} | _KEEPING | _TURNING:
            return _Bounds()
        operands = [self.bounds(operand) for operand in operation.inputs]
        below, above = (all(getattr(own, side) for own in operands) for side in ("below", "above"))
        by = next((own.by for own in operands if own.by), "")
        if kind == "Minimum":
            return _Bounds(below, any(own.above for own in operands), by or "clip")
        if kind == "Maximum":
            return _Bounds(any(own.below for own in operands), above, by or "clip")
        if kind in _TURNING:
            by_constant = kind != "RealDiv" or id(operation.inputs[1].op) not in self._depending
            below = above = below and above and by_constant
        return _Bounds(below, above, by)

    def _of_call(self, operation: Any, output: int) -> _Bounds:
        """The bounds of an output of a function that the graph calls."""
        graph = operation.graph._get_function(operation.get_attr("f").name).graph
        given = [
            (inner, self.bounds(outer))
            for inner, outer in zip(graph.inputs, operation.inputs, strict=True)
            if id(outer.op) in self._depending
        ]
        images, known = zip(*given, strict=True) if given else ((), ())
        return _Search(images, known).bounds(graph.outputs[output])
