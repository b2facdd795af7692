"""Keras' SGD and Adam with one TensorFlow operation per parameter update: the same rules, slots and settings.

Keras composes an update from single operations, about thirty for Adam. They were most of the graph of G's step, and each must
be traced and, on a GPU, launched as a kernel.
"""

from __future__ import annotations

from adv_networks.lazy import keras, tf


class SGD(keras.optimizers.SGD):
    """m ← μm − ηg, w ← w + m; Keras' own update without momentum or with Nesterov momentum."""

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
    """m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², w ← w − η √(1−β₂ᵗ)/(1−β₁ᵗ) · m/(√v + ε̂); Keras' own update with AMSGrad."""

    def _backend_update_step(self, gradients, variables, learning_rate) -> None:
        """Passes on η √(1−β₂ᵗ)/(1−β₁ᵗ), which is the same for all parameters, as the learning rate."""
        if not self.amsgrad:
            # In single precision 1 − β₂ would have a relative error of up to 6e-5.
            count = tf.cast(keras.ops.convert_to_tensor(self.iterations), tf.float64) + 1
            learning_rate = tf.cast(learning_rate, tf.float64) * tf.sqrt(1 - self.beta_2**count) / (1 - self.beta_1**count)
        super()._backend_update_step(gradients, variables, learning_rate)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Moves a parameter and its slots by a gradient of the parameter's shape."""
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        index, dtype = self._get_variable_index(variable), variable.dtype
        beta_1, beta_2, epsilon, zero = (tf.constant(value, dtype) for value in (self.beta_1, self.beta_2, self.epsilon, 0))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=zero,  # The learning rate is already corrected.
            beta2_power=zero,
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=tf.cast(gradient, dtype),
        )
