"""Keras' SGD and Adam, a parameter's update being one operation of TensorFlow: the same rules, slots and settings.

Keras composes it of single operations, some thirty for Adam, which were most of the graph of G's step: as many to
trace, and on a GPU as many kernels to launch, where launches take most of the time (benchmarks).
"""

from __future__ import annotations

import keras
import tensorflow as tf


class SGD(keras.optimizers.SGD):
    """m ← μm − ηg, w ← w + m; without momentum, or with Nesterov's, as Keras has it."""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Moves a parameter and its slot by a gradient of the parameter's shape."""
        if not self.momentum or self.nesterov:
            super().update_step(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.constant(self.momentum, variable.dtype),
        )


class Adam(keras.optimizers.Adam):
    """m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², w ← w − η √(1−β₂ᵗ)/(1−β₁ᵗ) · m/(√v + ε̂); with AMSGrad, as Keras has it."""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Moves a parameter and its slots by a gradient of the parameter's shape."""
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        index, dtype = self._get_variable_index(variable), variable.dtype
        beta_1, beta_2, epsilon = (tf.constant(value, dtype) for value in (self.beta_1, self.beta_2, self.epsilon))
        count = tf.cast(self.iterations.value + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=beta_1**count,
            beta2_power=beta_2**count,
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=tf.cast(gradient, dtype),
        )
