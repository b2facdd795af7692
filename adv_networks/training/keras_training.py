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

Images are uint8 or floats in [0,1], whatever pixel range the classifier itself takes (`input_range`); labels are integers. The
classifier may be functional, sequential or subclassed, and returns logits. `save` writes only the classifier, for plain Keras.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from adv_networks import attacks, networks, runtime
from adv_networks.attacks.quantities import check_epsilon, check_seed
from adv_networks.defences import Players, adversarial_network_step
from adv_networks.defences.updates import compiled, descend
from adv_networks.errors import UsageError, UserError
from adv_networks.evaluation.own_model import Range
from adv_networks.experiments import Experiment, checked_setting
from adv_networks.lazy import keras, np, tf
from adv_networks.networks.own import as_generator
from adv_networks.training.hardened import Hardened

# The attacks that can be part of a training step.
_IN_STEPS = (attacks.FGS, attacks.PGD, attacks.LeastLikely)


class AdversarialTraining(Hardened):
    """Trains a classifier on adversarial images instead of clean ones (Eq. 3). Every step crafts them anew.

    Args:
        classifier: a built Keras model. Its logits [batch, classes] are the only output, or the only one with two dimensions.
        attack: text of the attack grammar: fgs, pgd or least_likely with their arguments.
        epsilon: radius of the ball, on the [0,1] pixel scale.
        norm: norm of the ball: linf, l2 or l1.
        weight_decay: wd of the term wd/2 Σ w² over the classifier's kernels.
        input_range: the classifier's pixel range: its inputs for black and white.
        seed: seed of the attack's random numbers. A step is a function of the seed, its number, the batch and the weights.

    Raises:
        UsageError: the attack is another one, or an argument is out of range.
        UserError: the model is not a classifier, or it returns probabilities.

    Source: Madry et al., 2018, "Towards deep learning models resistant to adversarial attacks".

    Examples:
        >>> import keras
        >>> import adv_networks as an
        >>> images, labels = an.data.load("digits", "train")
        >>> classifier = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> model = an.keras.AdversarialTraining(classifier, attack="pgd:steps=7", epsilon=8 / 255)
        >>> model.compile(keras.optimizers.Adam(1e-3), metrics=["accuracy"])
        >>> history = model.fit(images, labels, epochs=2, validation_split=0.1, verbose=0)
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
        spec = _spec("pgd", seed, epsilon=epsilon, norm=norm, weight_decay=weight_decay)
        super().__init__(classifier, spec, input_range, **options)
        crafted.check(classes=self.unit_classifier.output_shape[1])

        @compiled
        def step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Mapping[str, Any]:
            return descend(players, crafted.craft(players.d, x, y, seed=seed, training=True), y, spec)

        self._rule = step

    def _update(self, players: Players, x: Any, y: Any, seed: tuple[int, int]) -> Mapping[str, Any]:
        return self._rule(players, x, y, self.spec, seed)


class AdversarialNetwork(Hardened):
    """Trains a classifier together with a generator that attacks it (Eq. 4-5 of the paper).

    Args:
        classifier: a built Keras model. Its logits [batch, classes] are the only output, or the only one with two dimensions.
        generator: a built Keras model from images in [0,1] to perturbations of the same shape. They are in [-1,1] for linf
            (a tanh at the end), and have norm 1 for the other norms. None for the paper's G1 of width 16, which needs image
            sides that are multiples of 4.
        epsilon: size of the perturbations, on the [0,1] pixel scale.
        norm: norm of the perturbations: linf, l2 or l1.
        generator_steps: gradient steps of the generator on each minibatch.
        adversarial_weight: λ, the weight of the adversarial loss.
        gradient_penalty: γ, the weight of the gradient regulariser.
        regulariser: its Hessian-vector product: "fd" (finite difference), "exact" (double backprop) or "none".
        weight_decay: wd of the term wd/2 Σ w² over the classifier's kernels.
        input_range: the classifier's pixel range: its inputs for black and white.
        seed: seed of all random numbers.

    Raises:
        UsageError: an argument is out of range, or the generator does not fit the classifier's images.
        UserError: the model is not a classifier or returns probabilities.

    Examples:
        >>> import keras
        >>> import adv_networks as an
        >>> images, labels = an.data.load("digits", "train")
        >>> classifier = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> generator = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 3, padding="same", activation="tanh")])
        >>> model = an.keras.AdversarialNetwork(classifier, generator, epsilon=0.1)
        >>> model.compile(keras.optimizers.SGD(0.01, momentum=0.9), generator_optimizer=keras.optimizers.Adam(0.002, 0.5))
        >>> history = model.fit(images, labels, epochs=1, verbose=0)
        >>> model.save("robust.keras")
        >>> model.generator.save("generator.keras")
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
            "advnet", seed, epsilon=epsilon, norm=norm, generator_steps=generator_steps, regulariser=regulariser,
            adversarial_weight=adversarial_weight, gradient_penalty=gradient_penalty, weight_decay=weight_decay,
        )  # fmt: skip
        super().__init__(classifier, spec, input_range, **options)
        shape = tuple(self.unit_classifier.input_shape[1:])
        if generator is None and None in shape:
            raise UsageError(f"generator: expected one, because the classifier takes images {shape} of any size, received none")
        self.generator = networks.g1(shape, 16, norm=norm) if generator is None else generator
        try:
            found = as_generator(self.generator, shape, norm, "generator")
        except UserError as error:
            raise UsageError(str(error)) from None
        # Layers are faster outside of another model, which is needed only where perturbations are cast.
        self._perturbing = self.generator if found.operations[-1] is self.generator else found

    def compile(self, optimizer: Any = None, loss: Any = None, *, generator_optimizer: Any = None, **options: Any) -> None:
        """Like `keras.Model.compile`, with an optimiser for the generator; None for the paper's Adam with rate 0.002, β1 0.5.

        The step h of the finite difference is a tenth of the generator's learning rate at this call.
        """
        with self.distribute_strategy.scope():
            adam = runtime.adam(0.002, beta_1=0.5, beta_2=0.999, epsilon=1e-8)
            self.generator_optimizer = keras.optimizers.get(generator_optimizer or adam)
            self.generator_optimizer.build(self.generator.trainable_variables)
        rate = float(np.asarray(keras.ops.convert_to_numpy(self.generator_optimizer.learning_rate)))
        self.spec = dataclasses.replace(self.spec, generator_learning_rate=rate)
        super().compile(optimizer, loss, **options)

    def _made_players(self) -> Players:
        return Players(self.unit_classifier, self.optimizer, self._perturbing, self.generator_optimizer)

    def _update(self, players: Players, x: Any, y: Any, seed: tuple[int, int]) -> Mapping[str, Any]:
        return adversarial_network_step(players, x, y, self.spec, seed)


def _spec(method: str, seed: int, **settings: Any) -> Experiment:
    """The settings that the update rules read, checked; they belong to no data set."""
    check_seed(seed)
    checked = {name: checked_setting(name, value) for name, value in settings.items()}
    check_epsilon(checked["epsilon"], checked["norm"])
    return Experiment("own", method, "paper", "paper", seed, **checked)


__all__ = ["AdversarialNetwork", "AdversarialTraining"]
