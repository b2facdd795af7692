"""Projects images onto the images that a generator can make. Importing this loads TensorFlow."""

from __future__ import annotations

from typing import Any

from adv_networks.lazy import keras, tf

# The momentum of the descent, and the fraction of the steps after which its rate is a tenth, as in the authors' code.
MOMENTUM, DROP = 0.7, 0.8


class Projection(keras.layers.Layer):
    """A generator's reconstruction of images: G(z*), where gradient descent finds z* from the mean over pixels of (G(z) − x)².

    The descent starts from several latent vectors and keeps the best result. The starts are the same for every image, so its
    reconstruction does not depend on the other images. Gradients pass through all steps of the descent.

    Attributes:
        generator: maps latent vectors [batch, n] to images in [0,1].
        steps: L, the number of steps of the descent.
        restarts: R, the number of latent vectors to start from.
        rate: learning rate of the descent, divided by ten after 80% of the steps.
        seed: seed of the starts, which are drawn from N(0, I/n).
    """

    def __init__(self, generator: keras.Model, *, steps: int, restarts: int, rate: float, seed: int = 0, **options: Any):
        super().__init__(**options)
        self.generator, self.steps, self.restarts, self.rate, self.seed = generator, steps, restarts, rate, seed

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """The projections of images [batch, height, width, channels]."""
        return self.generator(self.latents(images))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape of the images."""
        return input_shape

    def latents(self, images: tf.Tensor) -> tf.Tensor:
        """z* of images, [batch, n]."""
        count, size = tf.shape(images)[0], self.generator.input_shape[1]
        starts = tf.random.stateless_normal([self.restarts, size], (0, self.seed), dtype=images.dtype) / size**0.5
        # Each image is repeated once for every start, in the order of the batch.
        wanted = tf.repeat(images, self.restarts, 0)
        z = tf.tile(starts, [count, 1])

        def descend(step, z, velocity):
            rate = tf.where(tf.cast(step, tf.float32) < DROP * self.steps, self.rate, self.rate / 10)
            with tf.GradientTape() as tape:
                tape.watch(z)
                total = tf.reduce_sum(self.errors(z, wanted))
            velocity = MOMENTUM * velocity + tape.gradient(total, z)
            return step + 1, z - tf.cast(rate, z.dtype) * velocity, velocity

        loop = (0, z, tf.zeros_like(z))
        _, z, _ = tf.while_loop(lambda step, *_: step < self.steps, descend, loop, parallel_iterations=1)
        errors = tf.reshape(self.errors(z, wanted), [count, self.restarts])
        best = tf.argmin(errors, 1, tf.int32)
        return tf.gather(tf.reshape(z, [count, self.restarts, size]), best, batch_dims=1)

    def errors(self, z: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        """The mean over pixels of (G(z) − x)², [batch]."""
        return tf.reduce_mean((self.generator(z, training=False) - images) ** 2, [1, 2, 3])
