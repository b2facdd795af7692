"""The update rules: one minibatch, one update of the players.

Every rule has the arguments (players, x, y, spec, seed): images x in [0,1] [batch, height, width, channels], labels y int32
[batch], the experiment, and seed = (run seed, step), so that a step is a pure function of its arguments and the players'
state. It returns a dict of scalars to log. BN averages move only in the passes that update their own network; D sees clean
and adversarial images as separate BN batches.

Where there are several adversaries in the game, they share out the examples of the minibatch: of n, number i perturbs its
i-th n-th. Static examples are the last adversary; x is then [2, batch, …], the images and static examples of the same.

Under a strategy of several replicas the rules take the whole minibatch and do what one replica does with it (`replicas`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from adv_networks import attacks, networks, runtime
from adv_networks.experiments import METHODS, Experiment
from adv_networks.runtime import replicas

Scalars = dict[str, tf.Tensor]


@dataclasses.dataclass(eq=False)
class Players:
    """D and G with their optimisers; what a method does not train has none.

    Further generators beside G share its optimiser, which treats every parameter by itself. `graphs` are the compiled rules,
    `strategy` is where the variables were made.
    """

    d: keras.Model
    d_optimizer: keras.optimizers.Optimizer | None
    g: keras.Model | None = None
    g_optimizer: keras.optimizers.Optimizer | None = None
    further: tuple[keras.Model, ...] = ()
    graphs: dict[tuple[Callable, Experiment], Callable] = dataclasses.field(default_factory=dict, repr=False)
    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy, repr=False)

    @property
    def generators(self) -> tuple[keras.Model, ...]:
        """All generators, in the order in which they share out a minibatch."""
        return () if self.g is None else (self.g, *self.further)

    def take_weights(self, other: Players) -> None:
        """Gives the networks the weights of others of the same shapes, BN averages included; a D that is not trained is shared.

        That one may be a user's own, of another architecture.
        """
        pairs = list(zip(self.generators, other.generators, strict=True))
        if self.d_optimizer is None:
            self.d = other.d
        else:
            pairs.append((self.d, other.d))
        for model, source in pairs:
            model.set_weights(source.get_weights())

    def variables(self) -> list[tf.Variable]:
        """The whole state in a fixed order: parameters, BN averages and optimiser slots."""
        parts = (self.d, self.d_optimizer, self.g, self.g_optimizer, *self.further)
        return [variable.value for part in parts if part is not None for variable in part.variables]


def make_players(spec: Experiment) -> Players:
    """Fresh networks and optimisers of an experiment, their weights drawn from its seed, in the current strategy's scope."""
    keras.utils.set_random_seed(spec.seed)
    method = METHODS[spec.method]
    with networks.computing_in(spec.precision):
        players = Players(networks.classifier(spec), None)
        if method.trains_generator:
            players.g, *further = networks.generators(spec)
            players.further = tuple(further)
    if method.trains_classifier:
        players.d_optimizer = runtime.sgd(_classifier_schedule(spec), momentum=spec.momentum)
        players.d_optimizer.build(players.d.trainable_variables)
    if method.trains_generator:
        players.g_optimizer = _generator_optimizer(spec)
        players.g_optimizer.build(_trainable(players.generators))
    double_backprop = method.trains_classifier and spec.regulariser == "exact"
    for model in (players.d, *players.generators):
        runtime.prepare(
            model,
            replicas=players.strategy.num_replicas_in_sync,
            double_backprop=double_backprop,
            share_graphs=True,
        )
    return players


def adversaries(spec: Experiment) -> int:
    """How many share out the examples of a minibatch: generators and static examples; 1 where there is no such game."""
    method = METHODS[spec.method]
    return len(spec.generators) + method.static_examples if method.trains_generator else 1


def _trainable(models: Sequence[keras.Model]) -> list[keras.Variable]:
    return [variable for model in models for variable in model.trainable_variables]


def _classifier_schedule(spec: Experiment) -> keras.optimizers.schedules.LearningRateSchedule | float:
    if not spec.learning_rate_drops:
        return spec.learning_rate
    # Keras keeps the earlier rate at the boundary itself, and counts updates from 0.
    boundaries = [max(1, int(spec.steps * drop) // spec.discriminator_period) - 1 for drop in spec.learning_rate_drops]
    rates = [spec.learning_rate / 10**drops for drops in range(len(boundaries) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def _generator_optimizer(spec: Experiment) -> keras.optimizers.Optimizer:
    if spec.generator_optimizer == "sgd":
        return runtime.sgd(spec.generator_learning_rate, momentum=spec.generator_momentum)
    # 1e-8 is the ε of the TensorFlow 1 optimiser that the paper used; Keras would take 1e-7.
    return runtime.adam(spec.generator_learning_rate, beta_1=spec.generator_momentum, beta_2=0.999, epsilon=1e-8)


def _compiled(step: Callable[..., Scalars]) -> Callable[..., Scalars]:
    """Runs a rule as one graph per experiment, which the players keep; the seed is a tensor, so that no step traces again.

    x and y are the minibatch, or what `_distributed` has made of it.
    """

    @functools.wraps(step)
    def run(players: Players, x, y, spec: Experiment, seed: attacks.Seed) -> Scalars:
        if not tf.executing_eagerly():
            return step(players, x, y, spec, seed)
        # Bound, as TensorFlow would tell experiments apart by identity, and trace equal ones again.
        graph = players.graphs.get((step, spec))
        if graph is None:
            on_replicas = functools.partial(_on_replicas, step, players, spec)
            graph = players.graphs[step, spec] = tf.function(on_replicas, autograph=False, jit_compile=spec.xla or None)
        return graph(*_distributed(players, x, y), attacks.as_seed(seed))

    return run


def _on_replicas(step: Callable[..., Scalars], players: Players, spec: Experiment, x, y, seed: tf.Tensor) -> Scalars:
    """A rule on every replica, and the mean of what it returns."""
    strategy = players.strategy
    if strategy.num_replicas_in_sync == 1:
        return step(players, x, y, spec, seed)
    scalars = strategy.run(lambda x, y: step(players, x, y, spec, seed), (x, y))
    return tf.nest.map_structure(lambda value: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None), scalars)


def _distributed(players: Players, x, y) -> tuple[Any, Any]:
    """A minibatch as the compiled rules take it: tensors, or one per replica; what is so already is left."""
    if isinstance(x, tf.distribute.DistributedValues):
        return x, y
    x, y = tf.convert_to_tensor(x), tf.cast(y, tf.int32)
    if players.strategy.num_replicas_in_sync == 1:
        return x, y
    return replicas.distribute(players.strategy, max(1, len(players.generators)) + (x.shape.rank == 5), x, y)


def _apply(optimizer: keras.optimizers.Optimizer, gradient: list[tf.Tensor], variables: list[keras.Variable]) -> None:
    """One step of the optimiser, which sums gradients over replicas; ours is the same on all."""
    optimizer.apply([part / replicas.count() for part in gradient], variables)


def _gradient(tape: tf.GradientTape, loss: tf.Tensor, sources: list[tf.Tensor], *models: keras.Model) -> list[tf.Tensor]:
    """The gradient of a loss of models, the mean over replicas; in float16 the loss is scaled, and the gradient scaled back."""
    scale = max(map(networks.loss_scale, models))
    if scale == 1:
        return replicas.mean(tape.gradient(loss, sources))
    scaled = tape.gradient(loss, sources, output_gradients=tf.constant(scale, loss.dtype))
    return [part / scale for part in replicas.mean(scaled)]


def _cross_entropy(y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))


def _weight_decay(parameters: list[tf.Tensor], amount: float) -> tf.Tensor:
    """wd/2 Σ w² over kernels: the tensors of more than one dimension, biases and BN having one."""
    return amount * _half_squared_norm([parameter for parameter in parameters if len(parameter.shape) > 1])


def _half_squared_norm(parts: list[tf.Tensor]) -> tf.Tensor:
    # add_n would not fix the order of its terms (determinism.py).
    return tf.reduce_sum([tf.nn.l2_loss(part) for part in parts])


def _values(*models: keras.Model) -> list[tf.Tensor]:
    return [variable.value for variable in _trainable(models)]


def _accuracy(y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1, tf.int32), y), tf.float32))


def _update_on(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment) -> Scalars:
    """One SGD step of D on the images as they are."""
    d = players.d
    with tf.GradientTape() as tape:
        logits = d(x, training=True)
        loss = _cross_entropy(y, logits)
        decay = _weight_decay(_values(d), spec.weight_decay)
        objective = loss + decay
    gradient = _gradient(tape, objective, _values(d), d)
    _apply(players.d_optimizer, gradient, d.trainable_variables)
    return {
        "d_loss": loss,
        "d_weight_decay": decay,
        "d_accuracy": _accuracy(y, logits),
        "d_gradient_norm": tf.linalg.global_norm(gradient),
    }


@_compiled
def standard_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """Standard training: cross-entropy of the images as they are."""
    return _update_on(players, x, y, spec)


# Ensemble adversarial training enlarges the training set (Section 4.4); its update is the standard one.
ensemble_step = standard_step


@_compiled
def pgd_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """Adversarial training (Eq. 3): every image is replaced by its PGD example (Eq. 7) before the update."""
    adversarial = attacks.pgd(
        players.d,
        x,
        y,
        spec.epsilon,
        step_size=spec.epsilon * spec.pgd_step_fraction,
        steps=spec.pgd_steps,
        seed=seed,
        clip_start=spec.pgd_clip_start,
        training=True,
        norm=spec.norm,
    )
    return _update_on(players, adversarial, y, spec)


def _deal(players: Players, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The images, and the static examples for the share at their end that no generator perturbs (None: there is none)."""
    if x.shape.rank == 4:
        return x, None
    images, static = tf.unstack(x)
    generators, batch_size = len(players.generators), images.shape[0]
    return images, static[generators * batch_size // (generators + 1) :]


def _inputs(generators: Sequence[keras.Model], x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
    """What each generator takes for its share of the images."""
    bounds = [number * x.shape[0] // len(generators) for number in range(len(generators) + 1)]
    # The first one's noise is that of a generator that plays alone.
    seeds = [seed, *(tf.random.experimental.stateless_fold_in(seed, number) for number in range(1, len(generators)))]
    return [
        networks.generator_input(g, x[start:end], y[start:end], own_seed)
        for g, (start, end), own_seed in zip(generators, itertools.pairwise(bounds), seeds, strict=True)
    ]


def _perturb(x: tf.Tensor, perturbations: Sequence[tf.Tensor], spec: Experiment) -> tf.Tensor:
    perturbed = x + spec.epsilon * tf.concat(perturbations, 0)
    return tf.clip_by_value(perturbed, 0, 1) if spec.clip_perturbed else perturbed


@_compiled
def generator_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One ascent step of the generators on F of Eq. 4, φ ← φ + η_G ∇_φ F, with θ fixed.

    A D that is trained too has BN on the batch's statistics; one that is frozen, as in its evaluation.
    """
    d, generators = players.d, players.generators
    images, static = _deal(players, x)
    share = 1 if static is None else 1 - static.shape[0] / images.shape[0]
    if static is not None:
        images, y = images[: -static.shape[0]], y[: -static.shape[0]]
    inputs = _inputs(generators, images, y, seed)
    d_training = METHODS[spec.method].trains_classifier or spec.bn_evaluation == "batch"
    with tf.GradientTape() as tape:
        perturbations = [g(own, training=True) for g, own in zip(generators, inputs, strict=True)]
        perturbed = _perturb(images, perturbations, spec)
        loss = _cross_entropy(y, networks.discarding_statistics(d, perturbed, training=d_training))
        decay = _weight_decay(_values(*generators), spec.generator_weight_decay)
        descended = decay - spec.adversarial_weight * share * loss
    gradient = _gradient(tape, descended, _values(*generators), d, *generators)
    _apply(players.g_optimizer, gradient, _trainable(generators))
    return {"g_loss": loss, "g_gradient_norm": tf.linalg.global_norm(gradient)}


def regularised_gradient(
    d: keras.Model,
    generators: Sequence[keras.Model],
    inputs: Sequence[tf.Tensor],
    x: tf.Tensor,
    y: tf.Tensor,
    spec: Experiment,
    static: tf.Tensor | None = None,
) -> tuple[list[tf.Tensor], Scalars, list[tf.Tensor]]:
    """∇_θ F + γ ∇²_{θφ}F · v with v = ∇_φ F (Eq. 5) per trainable variable of D, what to log of it, and the product alone.

    The product is [∇_θ F(θ, φ + hv) − ∇_θ F(θ, φ)] / h (`fd`), or the gradient of ½‖v‖² (`exact`; with BN it is exact only
    after `runtime.prepare(…, double_backprop=True)`); with `none` it is empty. Only the adversarial term of F depends on φ,
    so neither needs the clean one. D's BN averages move by the clean and the adversarial pass.

    Args:
        d: classifier.
        generators: who share out the images that `static` leaves; φ is the parameters of all.
        inputs: what each takes for its share.
        x: images in [0,1].
        y: labels int32.
        spec: λ, γ, ε, the regulariser, its sign and h.
        static: adversarial examples, in place of generated ones, of the last so many images.
    """
    theta, phi = _values(d), [tf.convert_to_tensor(value) for value in _values(*generators)]
    perturbed_by_generators = x if static is None else x[: -static.shape[0]]

    def adversarial_term(phi: list[tf.Tensor], classify: Callable[[tf.Tensor], tf.Tensor]) -> tuple[tf.Tensor, ...]:
        rest, perturbations = list(phi), []
        for g, own in zip(generators, inputs, strict=True):
            parameters = [rest.pop(0) for _ in g.trainable_variables]
            perturbations.append(networks.discarding_statistics(g, own, training=True, parameters=parameters))
        adversarial = _perturb(perturbed_by_generators, perturbations, spec)
        logits = classify(adversarial if static is None else tf.concat([adversarial, static], 0))
        loss = _cross_entropy(y, logits)
        return spec.adversarial_weight * loss - _weight_decay(phi, spec.generator_weight_decay), loss, logits

    with tf.GradientTape() as tape:
        clean_logits = d(x, training=True)
        clean_loss = _cross_entropy(y, clean_logits)
    clean = _gradient(tape, clean_loss, theta, d)
    exact = spec.regulariser == "exact"
    with tf.GradientTape() if exact else contextlib.nullcontext() as outer_tape:
        with tf.GradientTape() as tape:
            tape.watch(phi)
            term, loss, logits = adversarial_term(phi, functools.partial(d, training=True))
        gradients = _gradient(tape, term, theta + phi, d, *generators)
        adversarial, v = gradients[: len(theta)], gradients[len(theta) :]
        half_squared_norm = _half_squared_norm(v)
    scalars = {
        "d_loss": clean_loss,
        "d_loss_adversarial": loss,
        "d_accuracy": _accuracy(y, clean_logits),
        "d_accuracy_adversarial": _accuracy(y, logits),
    }
    total = [sum(parts) for parts in zip(clean, adversarial, strict=True)]
    if spec.regulariser == "none":
        return total, scalars, []
    if exact:
        product = replicas.mean(outer_tape.gradient(half_squared_norm, theta, unconnected_gradients="zero"))
    else:
        h = spec.finite_difference_step
        shifted_phi = [value + h * part for value, part in zip(phi, v, strict=True)]
        with tf.GradientTape() as tape:
            shifted_term, _, _ = adversarial_term(
                shifted_phi, functools.partial(networks.discarding_statistics, d, training=True)
            )
        shifted = _gradient(tape, shifted_term, theta, d)
        product = [(there - here) / h for there, here in zip(shifted, adversarial, strict=True)]
    weight = spec.regulariser_sign * spec.gradient_penalty
    scalars["regulariser_norm"] = spec.gradient_penalty * tf.linalg.global_norm(product)
    return [gradient + weight * part for gradient, part in zip(total, product, strict=True)], scalars, product


@_compiled
def discriminator_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One descent step of D on Eq. 5 with φ fixed."""
    d = players.d
    gradient, scalars, _ = _regularised_gradient_of(players, x, y, spec, seed)
    with tf.GradientTape() as tape:
        decay = _weight_decay(_values(d), spec.weight_decay)
    decay_gradient = tape.gradient(decay, _values(d), unconnected_gradients="zero")
    total = [a + b for a, b in zip(gradient, decay_gradient, strict=True)]
    _apply(players.d_optimizer, total, d.trainable_variables)
    return {**scalars, "d_weight_decay": decay, "d_gradient_norm": tf.linalg.global_norm(total)}


def _regularised_gradient_of(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor):
    """`regularised_gradient` of a minibatch, its examples dealt out to the adversaries."""
    images, static = _deal(players, x)
    dynamic = images.shape[0] - (0 if static is None else static.shape[0])
    inputs = _inputs(players.generators, images[:dynamic], y[:dynamic], seed)
    return regularised_gradient(players.d, players.generators, inputs, images, y, spec, static)


def adversarial_network_step(
    players: Players, x: attacks.Array, y: attacks.Array, spec: Experiment, seed: attacks.Seed
) -> Scalars:
    """`generator_steps` ascent steps of G, then one descent step of D, all on one minibatch (Eq. 4-5, Section 3.2).

    The two parts are compiled apart: tracing then takes the same time for any number of G's steps. With a
    `discriminator_period` above 1 (the released code on MNIST), D is updated on every so many-th step only; a frozen D never.
    """
    seed = attacks.as_seed(seed)
    x, y = _distributed(players, x, y)
    ascent = {}
    for number in range(spec.generator_steps):
        scalars = generator_step(players, x, y, spec, seed)
        ascent[f"g_loss_{number + 1}"] = scalars["g_loss"]
    scalars |= ascent
    period = spec.discriminator_period
    if not METHODS[spec.method].trains_classifier or (period > 1 and (int(seed[1]) + 1) % period):
        return scalars
    return {**scalars, **discriminator_step(players, x, y, spec, seed)}


class RegulariserComparison:
    """How well the finite difference of an experiment agrees with the exact product, on copies of its players."""

    def __init__(self, spec: Experiment):
        self.specs = [dataclasses.replace(spec, regulariser=kind) for kind in ("fd", "exact")]
        self.twins = make_players(self.specs[1])

    def measure(self, players: Players, x: attacks.Array, y: attacks.Array, seed: attacks.Seed) -> Scalars:
        """On a minibatch: cosine and ‖fd − exact‖ / ‖exact‖ of the two products, and γ times the exact one's norm.

        Where a product is zero, as with a D that ignores its images, there is that norm only.
        """
        self.twins.take_weights(players)
        difference, exact = (_product(self.twins, x, y, spec, seed) for spec in self.specs)
        difference_norm, exact_norm = tf.linalg.norm(difference), tf.linalg.norm(exact)
        measured = {"regulariser_exact_norm": self.specs[1].gradient_penalty * exact_norm}
        if not (difference_norm and exact_norm):
            return measured
        return measured | {
            "regulariser_cosine": tf.tensordot(difference / difference_norm, exact / exact_norm, 1),
            "regulariser_relative_difference": tf.linalg.norm(difference - exact) / exact_norm,
        }


@_compiled
def _product(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> tf.Tensor:
    """The Hessian-vector product of Eq. 5 as one vector."""
    return tf.concat([tf.reshape(part, [-1]) for part in _regularised_gradient_of(players, x, y, spec, seed)[2]], 0)


STEPS: dict[str, Callable[..., Scalars]] = {
    "standard": standard_step,
    "pgd": pgd_step,
    "ensemble": ensemble_step,
    "advnet": adversarial_network_step,
    "advnet+ensemble": adversarial_network_step,
    "generator": adversarial_network_step,
}
