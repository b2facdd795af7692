"""The networks in training and their optimisers: everything that a step changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from adv_networks import networks, runtime
from adv_networks.experiments import GENERATORS, METHODS, Experiment, find_classifier, generator_file
from adv_networks.lazy import keras, tf

if TYPE_CHECKING:
    from adv_networks.defences.regulariser_comparison import RegulariserComparison


@dataclasses.dataclass(eq=False, kw_only=True)
class TrainingState:
    """Networks in training and their optimisers. A defence that trains parts other than `Players` has its own subclass.

    Attributes:
        graphs: the compiled update rules, by rule and experiment (`updates.compiled`).
        strategy: the distribution strategy in whose scope the variables were created.
        class_weights: the factor of the loss for each label; None for 1 each.

    Examples:
        >>> from adv_networks import defences
        >>> state = defences.TrainingState()
        >>> state.weigh_classes([1, 2])
        >>> state.class_weights
        (1.0, 2.0)
    """

    graphs: dict[tuple[Callable, Experiment], Callable] = dataclasses.field(default_factory=dict, repr=False)
    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=lambda: tf.distribute.get_strategy(), repr=False)
    class_weights: tuple[float, ...] | None = None

    def weigh_classes(self, weights: Sequence[float] | None) -> None:
        """Sets the class weights of the loss from now on; None for equal weights."""
        weights = None if weights is None else tuple(map(float, weights))
        if weights != self.class_weights:
            self.graphs.clear()  # The weights are constants in them.
            self.class_weights = weights

    def networks(self) -> dict[str, keras.Model]:
        """The networks that are trained, by the name of the file that keeps each."""
        raise NotImplementedError

    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """The optimisers, by the name under which their learning rates are logged."""
        raise NotImplementedError

    def variables(self) -> list[tf.Variable]:
        """The whole state in a fixed order: parameters, BN averages and optimiser slots. It is what checkpoints hold."""
        parts = (*self.networks().values(), *self.optimizers().values())
        return [variable.value for part in parts for variable in part.variables]

    def take_weights(self, other: TrainingState) -> None:
        """Copies the weights, including BN averages, from the networks of another state, which have the same shapes."""
        for model, source in zip(self.networks().values(), other.networks().values(), strict=True):
            model.set_weights(source.get_weights())

    def shares(self, x: tf.Tensor) -> int:
        """The number of consecutive parts into which the rules divide a minibatch; every replica gets a piece of each part."""
        return 1


@dataclasses.dataclass(eq=False)
class Players(TrainingState):
    """The players of the paper's game: D and G with their optimisers; networks that a method does not train have no optimiser.

    Further generators share G's optimiser, which treats each parameter separately. `comparison` measures the regulariser during
    training, once it has been asked for.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "advnet", scale="tiny", generators=("g1", "g3"))
        >>> sorted(defences.make_players(spec).networks())
        ['d.keras', 'g-2.keras', 'g.keras']
    """

    d: keras.Model
    d_optimizer: keras.optimizers.Optimizer | None
    g: keras.Model | None = None
    g_optimizer: keras.optimizers.Optimizer | None = None
    further: tuple[keras.Model, ...] = ()
    comparison: RegulariserComparison | None = None

    @property
    def classifiers(self) -> tuple[keras.Model, ...]:
        """The classifiers in the game: D, or the classifiers whose mean is D."""
        return (self.d,)

    @property
    def generators(self) -> tuple[keras.Model, ...]:
        """All generators, in the order in which they divide a minibatch."""
        return () if self.g is None else (self.g, *self.further)

    def networks(self) -> dict[str, keras.Model]:
        """D, unless it is frozen, and the generators."""
        found = {} if self.d_optimizer is None else {"d.keras": self.d}
        return found | {generator_file(position): g for position, g in enumerate(self.generators)}

    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """The optimisers of D and G; the first has the run's `learning_rate`."""
        named = {"learning_rate": self.d_optimizer or self.g_optimizer, "generator_learning_rate": self.g_optimizer}
        return {name: optimizer for name, optimizer in named.items() if optimizer is not None}

    def variables(self) -> list[tf.Variable]:
        """See `TrainingState.variables`; includes a frozen D."""
        parts = (self.d, self.d_optimizer, self.g, self.g_optimizer, *self.further)
        return [variable.value for part in parts if part is not None for variable in part.variables]

    def take_weights(self, other: Players) -> None:
        """See `TrainingState.take_weights`; a frozen D is shared, because it may be your own with another architecture."""
        super().take_weights(other)
        if self.d_optimizer is None:
            self.d = other.d

    def shares(self, x: tf.Tensor) -> int:
        """One for each generator, and one more for static examples if there are generators."""
        return max(1, len(self.generators) + bool(self.generators) * (x.shape.rank == 5))


def make_players(spec: Experiment, change: Callable[[keras.Model], keras.Model] = lambda d: d) -> Players:
    """Fresh networks and optimisers of an experiment, with weights drawn from its seed, in the current strategy's scope.

    `change` turns the experiment's discriminative network into D.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "pgd", classifier="mlp", classifier_width=2)
        >>> defences.make_players(spec).d.count_params()  # 64 · 2 + 2 · 10
        148
    """
    keras.utils.set_random_seed(spec.seed)
    method = METHODS[spec.method]
    with networks.computing_in(spec.precision):
        players = Players(change(networks.classifier(spec)), None)
        if method.trains_generator:
            players.g, *further = networks.generators(spec)
            players.further = tuple(further)
    if method.trains_classifier:
        players.d_optimizer = _classifier_optimizer(spec)
        players.d_optimizer.build(players.d.trainable_variables)
    if method.trains_generator:
        players.g_optimizer = _generator_optimizer(spec)
        players.g_optimizer.build(trainable(players.generators))
    double_backprop = method.trains_classifier and spec.regulariser == "exact"
    families = find_classifier(spec.classifier), *(GENERATORS[name] for name in spec.generators)
    for model, family in zip((players.d, *players.generators), families, strict=False):
        replicas = players.strategy.num_replicas_in_sync
        runtime.prepare(model, replicas=replicas, double_backprop=double_backprop, share_graphs=not family.is_own)
    return players


def adversaries(spec: Experiment) -> int:
    """The number of adversaries that divide a minibatch: generators and static examples; 1 if there is no such game.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "advnet+ensemble", generators=("g1", "g2"))
        >>> defences.adversaries(spec)  # G1, G2 and the static examples
        3
    """
    method = METHODS[spec.method]
    return len(spec.generators) + method.static_examples if method.trains_generator else 1


def trainable(models: Sequence[keras.Model]) -> list[keras.Variable]:
    """The trainable variables of models, one after the other."""
    return [variable for model in models for variable in model.trainable_variables]


def learning_rate_drops(spec: Experiment) -> list[int]:
    """The numbers of D's updates, counted from 0, after which its learning rate is divided by 10."""
    return [max(1, int(spec.steps * drop) // spec.discriminator_period) - 1 for drop in spec.learning_rate_drops]


def _classifier_schedule(spec: Experiment) -> Any:
    drops = learning_rate_drops(spec)
    if not drops:
        return spec.learning_rate
    # Keras keeps the earlier rate at the boundary itself, and counts updates from 0.
    rates = [spec.learning_rate / 10**number for number in range(len(drops) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(drops, rates)


def _classifier_optimizer(spec: Experiment) -> keras.optimizers.Optimizer:
    rate = _classifier_schedule(spec)
    if spec.optimizer == "rmsprop":
        # The ε of Theano's tutorial, which the red and blue report follows. Like the tutorial, Keras adds it inside the root.
        return keras.optimizers.RMSprop(rate, rho=spec.momentum, epsilon=1e-6)
    if spec.optimizer == "adam":
        return runtime.adam(rate, beta_1=spec.momentum, beta_2=0.999, epsilon=1e-8)
    return runtime.sgd(rate, momentum=spec.momentum)


def _generator_optimizer(spec: Experiment) -> keras.optimizers.Optimizer:
    if spec.generator_optimizer == "sgd":
        return runtime.sgd(spec.generator_learning_rate, momentum=spec.generator_momentum)
    # 1e-8 is the ε of the TensorFlow 1 optimiser that the paper used; the default of Keras is 1e-7.
    return runtime.adam(spec.generator_learning_rate, beta_1=spec.generator_momentum, beta_2=0.999, epsilon=1e-8)
