"""The game of a classifier D against generators (Section 3): G's ascent on Eq. 4 and D's descent on Eq. 5.

If there are several adversaries, they divide the minibatch into equal parts, and number i perturbs the i-th part. Static
examples are the last adversary; x is then [2, batch, …], the images and their static examples.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from adv_networks import networks
from adv_networks.attacks.quantities import as_seed
from adv_networks.defences.players import Players, trainable
from adv_networks.defences.updates import (
    Scalars,
    accuracy,
    apply_gradient,
    compiled,
    cross_entropy,
    distributed,
    gradient_of,
    half_squared_norm,
    mean_of,
    penalty,
    values,
    weight_decay,
)
from adv_networks.experiments import METHODS, Experiment
from adv_networks.lazy import keras, tf
from adv_networks.runtime import replicas

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


def _deal(players: Players, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The images, and the static examples of the last images, which no generator perturbs; None if there are none."""
    if x.shape.rank == 4:
        return x, None
    images, static = tf.unstack(x)
    generators, batch_size = len(players.generators), images.shape[0]
    return images, static[generators * batch_size // (generators + 1) :]


def _inputs(generators: Sequence[keras.Model], x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
    """The input of each generator for its share of the images."""
    bounds = [number * x.shape[0] // len(generators) for number in range(len(generators) + 1)]
    # The first generator has the same noise as a single generator would.
    seeds = [seed, *(tf.random.experimental.stateless_fold_in(seed, number) for number in range(1, len(generators)))]
    return [
        networks.generator_input(g, x[start:end], y[start:end], own_seed)
        for g, (start, end), own_seed in zip(generators, itertools.pairwise(bounds), seeds, strict=True)
    ]


def _perturb(x: tf.Tensor, perturbations: Sequence[tf.Tensor], spec: Experiment) -> tf.Tensor:
    perturbed = x + spec.epsilon * tf.concat(perturbations, 0)
    return tf.clip_by_value(perturbed, 0, 1) if spec.clip_perturbed else perturbed


@compiled
def generator_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One ascent step of the generators on F of Eq. 4, φ ← φ + η_G ∇_φ F, with θ fixed; on the mean F of several classifiers.

    If D is trained too, its BN uses the batch's statistics; if D is frozen, BN is as in its evaluation.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import defences, experiment
        >>> spec = experiment("digits", "advnet", classifier="mlp", generators=("released_mnist",))
        >>> players = defences.make_players(spec)
        >>> x, y = np.zeros((4, 8, 8, 1), np.float32), np.arange(4)
        >>> sorted(defences.generator_step(players, x, y, spec, (0, 0)))
        ['g_gradient_norm', 'g_loss']
    """
    generators = players.generators
    images, static = _deal(players, x)
    share = 1 if static is None else 1 - static.shape[0] / images.shape[0]
    if static is not None:
        images, y = images[: -static.shape[0]], y[: -static.shape[0]]
    inputs = _inputs(generators, images, y, seed)
    d_training = METHODS[spec.method].trains_classifier or spec.bn_evaluation == "batch"
    with tf.GradientTape() as tape:
        perturbations = [g(own, training=True) for g, own in zip(generators, inputs, strict=True)]
        perturbed = _perturb(images, perturbations, spec)
        logits = [networks.discarding_statistics(d, perturbed, training=d_training) for d in players.classifiers]
        loss = mean_of([cross_entropy(y, own, players.class_weights) for own in logits])
        decay = weight_decay(values(*generators), spec.generator_weight_decay)
        descended = decay - spec.adversarial_weight * share * loss
    gradient = gradient_of(tape, descended, values(*generators), *players.classifiers, *generators)
    apply_gradient(players.g_optimizer, gradient, trainable(generators))
    return {"g_loss": loss, "g_gradient_norm": tf.linalg.global_norm(gradient)}


def regularised_gradient(
    d: keras.Model,
    generators: Sequence[keras.Model],
    inputs: Sequence[tf.Tensor],
    x: tf.Tensor,
    y: tf.Tensor,
    spec: Experiment,
    static: tf.Tensor | None = None,
    class_weights: Sequence[float] | None = None,
) -> tuple[list[tf.Tensor], Scalars, list[tf.Tensor]]:
    """∇_θ F + γ ∇²_{θφ}F · v with v = ∇_φ F (Eq. 5) per trainable variable of D, what to log, and the product ∇²_{θφ}F · v.

    With `fd` the product is [∇_θ F(θ, φ + hv) − ∇_θ F(θ, φ)] / h. With `exact` it is the gradient of ½‖v‖²; with BN it is exact
    only after `runtime.prepare(…, double_backprop=True)`. With `none` it is empty. Only the adversarial term of F depends on φ,
    so the product does not need the clean term. The clean and the adversarial pass both update D's BN averages.

    Args:
        d: the classifier.
        generators: the generators, which divide the images that `static` leaves; φ are the parameters of all of them.
        inputs: the input of each generator for its share.
        x: images in [0,1].
        y: labels int32.
        spec: λ, γ, ε, the weight of the clean term, the regulariser, its sign and h.
        static: adversarial examples of the last images of the minibatch, which replace generated ones.
        class_weights: the factor of the loss for each label.

    Examples:
        >>> import tensorflow as tf
        >>> from adv_networks import defences, experiment
        >>> spec = experiment("digits", "advnet", classifier="mlp", generators=("released_mnist",))
        >>> players = defences.make_players(spec)
        >>> x, y = tf.zeros((4, 8, 8, 1)), tf.range(4)
        >>> gradient, scalars, product = defences.regularised_gradient(players.d, players.generators, [x], x, y, spec)
        >>> [part.shape.as_list() for part in product]
        [[64, 625], [625, 10]]
    """
    theta, phi = values(d), [tf.convert_to_tensor(value) for value in values(*generators)]

    def adversarial_term(phi: list[tf.Tensor], classify: Callable[[tf.Tensor], tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """The part of F that depends on φ, with its loss and logits."""
        logits = classify(_adversarial_images(generators, inputs, phi, x, spec, static))
        loss = cross_entropy(y, logits, class_weights)
        return spec.adversarial_weight * loss - weight_decay(phi, spec.generator_weight_decay), loss, logits

    with tf.GradientTape() as tape:
        clean_logits = d(x, training=True)
        clean_loss = cross_entropy(y, clean_logits, class_weights)
        weighted = clean_loss if spec.clean_weight == 1 else spec.clean_weight * clean_loss
    clean = gradient_of(tape, weighted, theta, d)
    exact = spec.regulariser == "exact"
    with tf.GradientTape() if exact else contextlib.nullcontext() as outer_tape:
        with tf.GradientTape() as tape:
            tape.watch(phi)
            term, loss, logits = adversarial_term(phi, functools.partial(d, training=True))
        gradients = gradient_of(tape, term, theta + phi, d, *generators)
        adversarial, v = gradients[: len(theta)], gradients[len(theta) :]
        penalty = half_squared_norm(v)
    scalars = {
        "d_loss": clean_loss,
        "d_loss_adversarial": loss,
        "d_accuracy": accuracy(y, clean_logits),
        "d_accuracy_adversarial": accuracy(y, logits),
    }
    total = [sum(parts) for parts in zip(clean, adversarial, strict=True)]
    if spec.regulariser == "none":
        return total, scalars, []
    if exact:
        product = replicas.mean(outer_tape.gradient(penalty, theta, unconnected_gradients="zero"))
    else:
        h = spec.finite_difference_step
        shifted_phi = [value + h * part for value, part in zip(phi, v, strict=True)]
        with tf.GradientTape() as tape:
            shifted_term, _, _ = adversarial_term(
                shifted_phi, functools.partial(networks.discarding_statistics, d, training=True)
            )
        shifted = gradient_of(tape, shifted_term, theta, d)
        product = [(there - here) / h for there, here in zip(shifted, adversarial, strict=True)]
    weight = spec.regulariser_sign * spec.gradient_penalty
    scalars["regulariser_norm"] = spec.gradient_penalty * tf.linalg.global_norm(product)
    return [gradient + weight * part for gradient, part in zip(total, product, strict=True)], scalars, product


def _adversarial_images(
    generators: Sequence[keras.Model],
    inputs: Sequence[tf.Tensor],
    phi: Sequence[tf.Tensor],
    x: tf.Tensor,
    spec: Experiment,
    static: tf.Tensor | None,
) -> tf.Tensor:
    """The images perturbed by the generators with parameters φ; static examples replace the last images."""
    rest, perturbations = list(phi), []
    for g, own in zip(generators, inputs, strict=True):
        parameters = [rest.pop(0) for _ in g.trainable_variables]
        perturbations.append(networks.discarding_statistics(g, own, training=True, parameters=parameters))
    adversarial = _perturb(x if static is None else x[: -static.shape[0]], perturbations, spec)
    return adversarial if static is None else tf.concat([adversarial, static], 0)


def regularised_gradient_of(
    players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor, d: keras.Model | None = None
) -> tuple[list[tf.Tensor], Scalars, list[tf.Tensor]]:
    """`regularised_gradient` of a minibatch, divided among the adversaries; `d` is None for the only classifier."""
    images, static = _deal(players, x)
    dynamic = images.shape[0] - (0 if static is None else static.shape[0])
    inputs = _inputs(players.generators, images[:dynamic], y[:dynamic], seed)
    weights = players.class_weights
    return regularised_gradient(d or players.d, players.generators, inputs, images, y, spec, static, weights)


@compiled
def discriminator_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One descent step of D on Eq. 5 with φ fixed. If there are several classifiers, each descends its own loss.

    The values to log are then their means.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import defences, experiment
        >>> spec = experiment("digits", "advnet", classifier="mlp", generators=("released_mnist",), regulariser="none")
        >>> players = defences.make_players(spec)
        >>> x, y = np.zeros((4, 8, 8, 1), np.float32), np.arange(4)
        >>> sorted(defences.discriminator_step(players, x, y, spec, (0, 0)))
        ['d_accuracy', 'd_accuracy_adversarial', 'd_gradient_norm', 'd_loss', 'd_loss_adversarial', 'd_weight_decay']
    """
    totals, logged = [], []
    for d in players.classifiers:
        gradient, scalars, _ = regularised_gradient_of(players, x, y, spec, seed, d)
        with tf.GradientTape() as tape:
            decay = penalty(values(d), spec)
        decay_gradient = tape.gradient(decay, values(d), unconnected_gradients="zero")
        totals += [a + b for a, b in zip(gradient, decay_gradient, strict=True)]
        logged.append({**scalars, "d_weight_decay": decay})
    apply_gradient(players.d_optimizer, totals, trainable(players.classifiers))
    means = {name: mean_of([scalars[name] for scalars in logged]) for name in logged[0]}
    return {**means, "d_gradient_norm": tf.linalg.global_norm(totals)}


def ascend(players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
    """`generator_steps` ascent steps of the generators on one minibatch, without changing D.

    The step is compiled separately from D's, so that one graph serves any number of steps.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import defences, experiment
        >>> spec = experiment("digits", "advnet", classifier="mlp", generators=("released_mnist",), generator_steps=2)
        >>> players = defences.make_players(spec)
        >>> x, y = np.zeros((4, 8, 8, 1), np.float32), np.arange(4)
        >>> sorted(defences.ascend(players, x, y, spec, (0, 0)))
        ['g_gradient_norm', 'g_loss', 'g_loss_1', 'g_loss_2']
    """
    seed = as_seed(seed)
    x, y = distributed(players, x, y)
    losses = {}
    for number in range(spec.generator_steps):
        scalars = generator_step(players, x, y, spec, seed)
        losses[f"g_loss_{number + 1}"] = scalars["g_loss"]
    return scalars | losses


def adversarial_network_step(players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
    """`generator_steps` ascent steps of G, then one descent step of D, all on one minibatch (Eq. 4-5, Section 3.2).

    With a `discriminator_period` p above 1 (the released code on MNIST), D is updated only in every p-th step.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import defences, experiment
        >>> spec = experiment("digits", "advnet", classifier="mlp", generators=("released_mnist",), discriminator_period=2)
        >>> players = defences.make_players(spec)
        >>> x, y = np.zeros((4, 8, 8, 1), np.float32), np.arange(4)
        >>> ["d_loss" in defences.adversarial_network_step(players, x, y, spec, (0, step)) for step in range(2)]
        [False, True]
    """
    seed = as_seed(seed)
    x, y = distributed(players, x, y)
    scalars = ascend(players, x, y, spec, seed)
    period = spec.discriminator_period
    if period > 1 and (int(seed[1]) + 1) % period:
        return scalars
    return {**scalars, **discriminator_step(players, x, y, spec, seed)}
