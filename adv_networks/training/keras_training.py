"""Adversarial training by Keras' own `compile` and `fit`: your classifier on your images, by the update rules of `train`.

`adv_networks.keras` has what is here, and `RobustAccuracy`.

    >>> import keras, numpy as np
    >>> import adv_networks as an
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    >>> model = an.keras.AdversarialTraining(keras.Sequential(layers), attack="pgd:steps=3", epsilon=0.1)
    >>> model.compile()
    >>> x, y = np.zeros((64, 8, 8, 1), np.uint8), np.arange(64) % 10
    >>> sorted(model.fit(x, y, verbose=0).history)
    ['accuracy', 'gradient_norm', 'loss']

Images are uint8 or floats in [0,1], whatever range the classifier itself takes (`input_range`); labels are integers; the
classifier, functional, sequential or subclassed, returns logits. `save` writes it alone, as plain Keras loads it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from adv_networks import attacks, networks, runtime
from adv_networks.attacks.inputs import check_images, check_labels
from adv_networks.defences import Players, adversarial_network_step
from adv_networks.defences.updates import compiled, descend
from adv_networks.errors import UsageError
from adv_networks.evaluation.own_model import Range, with_unit_range
from adv_networks.experiments import Experiment
from adv_networks.lazy import keras, tf
from adv_networks.networks.adaptation import as_any_classifier, check_trainable

# The attacks that can be a part of a training step.
_IN_STEPS = (attacks.FGS, attacks.PGD, attacks.LeastLikely)
# What the rules call what they return, and what `fit` logs of it.
_LOGGED = {
    "d_loss": "loss",
    "d_accuracy": "accuracy",
    "d_gradient_norm": "gradient_norm",
    "d_loss_adversarial": "loss_adversarial",
    "d_accuracy_adversarial": "accuracy_adversarial",
    "g_loss": "g_loss",
    "regulariser_norm": "regulariser_norm",
}


class Hardened(keras.Model):
    """What the two ways to train have in common."""

    def __init__(self, classifier: keras.Model, spec: Experiment, input_range: Range, **options: Any):
        super().__init__(**options)
        self.classifier, self.spec = classifier, spec
        self._unit = with_unit_range(as_any_classifier(classifier), input_range)
        check_trainable(self._unit, "classifier")
        self._players: Players | None = None
        self._sums: dict[str, tf.Tensor] = {}
        self._steps = 0
        self.built = True

    @property
    def unit_classifier(self) -> keras.Model:
        """The classifier for images in [0,1], as attacks take it."""
        return self._unit

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Logits of images, uint8 or floats in [0,1]."""
        return self._unit(_as_unit(x, self._unit.variable_dtype), training=training)

    def compile(self, optimizer: Any = None, loss: Any = None, **options: Any) -> None:
        """As Keras' own.

        Args:
            optimizer: of the classifier; None for the paper's SGD of learning rate 0.01 and momentum 0.9.
            loss: what `evaluate` reports. Training is by cross-entropy always.
            **options: `metrics` and so on, as `keras.Model.compile` has them. Metrics of training are measured after each step,
                on its images as they are.
        """
        with self.distribute_strategy.scope():
            optimizer = keras.optimizers.get(optimizer or runtime.sgd(0.01, momentum=0.9))
            optimizer.build(self.classifier.trainable_variables)
            loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            super().compile(optimizer=optimizer, loss=loss, **options)
            self._players = self._made_players()
        for model in (self._unit, *self._players.generators):
            replicas, exact = self.distribute_strategy.num_replicas_in_sync, self.spec.regulariser == "exact"
            runtime.prepare(model, replicas=replicas, double_backprop=exact)
        dtype, run = self._unit.variable_dtype, self.distribute_strategy.run
        self._floats = tf.function(lambda x: run(lambda own: _as_unit(own, dtype), (x,)))
        self._measured = tf.function(self._measure)

    def _made_players(self) -> Players:
        return Players(self._unit, self.optimizer)

    def fit(self, *data: Any, class_weight: Mapping[int, float] | None = None, **options: Any) -> keras.callbacks.History:
        """As Keras' own, without `sample_weight`.

        Args:
            *data: arrays, or a `tf.data.Dataset` of batches (images, labels); `**options` as `keras.Model.fit` has them.
            class_weight: by label, what the loss of its images is multiplied by, 1 where there is none.
        """
        if options.get("sample_weight") is not None:
            raise UsageError("sample_weight: expected none (class_weight weighs classes), received some")
        if self._players is None:
            raise UsageError("fit: expected a compiled model, received one before compile()")
        weights = None
        if class_weight:
            weights = [float(class_weight.get(label, 1)) for label in range(self._unit.output_shape[-1])]
        self._players.weigh_classes(weights)
        return super().fit(*data, **options)

    def make_train_function(self, force: bool = False) -> None:
        """Lets Keras' loop call the compiled update rules, each a graph of its own, which trace in a fraction of the time."""
        if getattr(self, "train_function", None) is None or force:
            self.train_function = self._run

    def reset_metrics(self) -> None:
        """As Keras' own; what `fit` logs begins anew too."""
        super().reset_metrics()
        self._sums, self._steps = {}, 0

    def save(self, filepath: str | os.PathLike, overwrite: bool = True, **options: Any) -> None:
        """Saves the classifier alone, in its own range of inputs, as plain Keras loads it."""
        self.classifier.save(filepath, overwrite=overwrite, **options)

    def _run(self, iterator: Any) -> dict[str, Any]:
        for _ in range(self.steps_per_execution):
            logs = self._step(next(iterator))
        return logs

    def _step(self, batch: tuple[Any, ...]) -> dict[str, Any]:
        if len(batch) != 2:
            raise UsageError(f"data: expected batches (images, labels), received {len(batch)} parts")
        x, y = batch
        strategy = self.distribute_strategy
        if not self._steps:
            for images, labels in zip(*map(strategy.experimental_local_results, (x, y)), strict=True):
                check_images(images)
                check_labels(labels, images.shape[0], self._unit.output_shape[-1])
        scalars = self._update(self._floats(x), y, (self.spec.seed, int(self.optimizer.iterations.numpy())))
        self._steps += 1
        logs = {}
        for name, shown in _LOGGED.items():
            if name in scalars:
                self._sums[shown] = self._sums.get(shown, 0.0) + scalars[name]
                logs[shown] = self._sums[shown] / self._steps
        if len(self.metrics) > 1:  # The first is Keras' own mean of the loss.
            self._measured(x, y)
            logs |= {name: value for name, value in self.get_metrics_result().items() if name != "loss"}
        return logs

    def _measure(self, x: Any, y: Any) -> None:
        strategy = self.distribute_strategy
        strategy.run(lambda x, y: (self.compute_metrics(x, y, self(x, training=False)), 0)[1], (x, y))

    def _update(self, x: Any, y: Any, seed: tuple[int, int]) -> Mapping[str, Any]:
        raise NotImplementedError


def _as_unit(x: Any, dtype: Any) -> Any:
    """Images as floats of that type, uint8 ones over 255; inside a graph and out."""
    return tf.cast(x, dtype) / 255 if x.dtype == tf.uint8 else tf.cast(x, dtype)


class AdversarialTraining(Hardened):
    """A classifier in training on adversarial images in place of the images (Eq. 3), crafted anew in every step.

    Args:
        classifier: a built Keras model, logits [batch, classes] its only output or the only one with two dimensions.
        attack: a text of the grammar of attacks: fgs, pgd and least_likely with their arguments.
        epsilon: radius of the ball, on the [0,1] pixel scale.
        norm: of the ball: linf, l2 or l1.
        weight_decay: wd of the term wd/2 Σ w² over the classifier's kernels.
        input_range: what the classifier's own inputs for black and white are.
        seed: of what the attack draws; a step is a function of it, the number of the step, the batch and the weights.

    Raises:
        UserError: another attack, a model that is no classifier, or one that returns probabilities.

    Source: Madry et al., 2018, "Towards deep learning models resistant to adversarial attacks".

    Example:
        >>> model = an.keras.AdversarialTraining(classifier, attack="pgd:steps=7", epsilon=8 / 255)
        >>> model.compile(keras.optimizers.Adam(1e-3), metrics=["accuracy"])
        >>> model.fit(images, labels, epochs=10, validation_split=0.1)
        >>> model.save("robust.keras")
    """

    def __init__(
        self,
        classifier: keras.Model,
        attack: str = "pgd",
        *,
        epsilon: float,
        norm: str = "linf",
        weight_decay: float = 0.0,
        input_range: Range = (0, 1),
        seed: int = 0,
        **options: Any,
    ):
        crafted = attacks.named(attack, epsilon, norm=norm)
        if not isinstance(crafted, _IN_STEPS):
            raise UsageError(f"attack: expected fgs, pgd or least_likely in training, received {attack}")
        spec = _spec("pgd", seed, epsilon=float(epsilon), norm=norm, weight_decay=weight_decay)
        super().__init__(classifier, spec, input_range, **options)

        @compiled
        def step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Mapping[str, Any]:
            return descend(players, crafted.craft(players.d, x, y, seed=seed, training=True), y, spec)

        self._rule = step

    def _update(self, x: Any, y: Any, seed: tuple[int, int]) -> Mapping[str, Any]:
        return self._rule(self._players, x, y, self.spec, seed)


class AdversarialNetwork(Hardened):
    """A classifier in training together with a generator that attacks it (Eq. 4-5 of the paper).

    Args:
        classifier: a built Keras model, logits [batch, classes] its only output or the only one with two dimensions.
        generator: a built Keras model from images in [0,1] to perturbations of their shape, in [-1,1] for linf (a last layer
            of tanh) or of norm 1 for the others; None for the paper's G1 of width 16, for image sides that are multiples of 4.
        epsilon: size of the perturbations, on the [0,1] pixel scale.
        norm: of the perturbations: linf, l2 or l1.
        generator_steps: gradient steps of the generator on each minibatch.
        adversarial_weight: λ, the weight of the adversarial loss.
        gradient_penalty: γ, the weight of the gradient regulariser.
        regulariser: its Hessian-vector product: "fd" (finite difference), "exact" (double backprop) or "none".
        weight_decay: wd of the term wd/2 Σ w² over the classifier's kernels.
        input_range: what the classifier's own inputs for black and white are.
        seed: of what is drawn.

    Raises:
        UserError: a model that is no classifier, or returns probabilities, or no generator of its images.

    Example:
        >>> model = an.keras.AdversarialNetwork(classifier, generator, epsilon=0.1)
        >>> model.compile(keras.optimizers.SGD(0.01, momentum=0.9), generator_optimizer=keras.optimizers.Adam(0.002, 0.5))
        >>> model.fit(dataset, epochs=10, validation_data=held_out)
        >>> model.save("robust.keras"), model.generator.save("generator.keras")
    """

    def __init__(
        self,
        classifier: keras.Model,
        generator: keras.Model | None = None,
        *,
        epsilon: float,
        norm: str = "linf",
        generator_steps: int = 5,
        adversarial_weight: float = 1.0,
        gradient_penalty: float = 0.01,
        regulariser: str = "fd",
        weight_decay: float = 0.0,
        input_range: Range = (0, 1),
        seed: int = 0,
        **options: Any,
    ):
        spec = _spec(
            "advnet", seed, epsilon=float(epsilon), norm=norm, generator_steps=generator_steps, regulariser=regulariser,
            adversarial_weight=float(adversarial_weight), gradient_penalty=float(gradient_penalty), weight_decay=weight_decay,
        )  # fmt: skip
        super().__init__(classifier, spec, input_range, **options)
        shape = tuple(self._unit.input_shape[1:])
        if generator is None and None in shape:
            raise UsageError(f"generator: expected one, as the classifier takes images {shape} of any size, received none")
        self.generator = generator or networks.g1(shape, 16, norm=norm)
        if self.generator.output_shape != (None, *shape):
            raise UsageError(f"generator: expected perturbations {(None, *shape)}, received {self.generator.output_shape}")

    def compile(self, optimizer: Any = None, loss: Any = None, *, generator_optimizer: Any = None, **options: Any) -> None:
        """As Keras' own, with an optimiser of the generator; None for the paper's Adam of 0.002, β1 0.5.

        h of the finite difference is a tenth of the generator's learning rate here.
        """
        with self.distribute_strategy.scope():
            adam = runtime.adam(0.002, beta_1=0.5, beta_2=0.999, epsilon=1e-8)
            self.generator_optimizer = keras.optimizers.get(generator_optimizer or adam)
            self.generator_optimizer.build(self.generator.trainable_variables)
        rate = float(np.asarray(keras.ops.convert_to_numpy(self.generator_optimizer.learning_rate)))
        self.spec = dataclasses.replace(self.spec, generator_learning_rate=rate)
        super().compile(optimizer, loss, **options)

    def _made_players(self) -> Players:
        return Players(self._unit, self.optimizer, self.generator, self.generator_optimizer)

    def _update(self, x: Any, y: Any, seed: tuple[int, int]) -> Mapping[str, Any]:
        return adversarial_network_step(self._players, x, y, self.spec, seed)


def _spec(method: str, seed: int, **settings: Any) -> Experiment:
    """The settings that the update rules read, of no data set."""
    return Experiment("own", method, "paper", "paper", seed, **settings)


__all__ = ["AdversarialNetwork", "AdversarialTraining", "Hardened"]
