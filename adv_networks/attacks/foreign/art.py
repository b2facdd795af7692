"""Our networks and attacks in the Adversarial Robustness Toolbox (ART), and its attacks on our networks. Loads ART."""

from __future__ import annotations

import functools
import inspect

import art.attacks.evasion
from art.attacks import EvasionAttack
from art.estimators import BaseEstimator
from art.estimators.classification import TensorFlowV2Classifier
from art.estimators.classification.classifier import ClassifierMixin
from art.utils import check_and_transform_label_format

from adv_networks.attacks.base import Attack
from adv_networks.attacks.crafting import craft_all
from adv_networks.attacks.foreign.base import ForeignAttack, Runner, check_arguments, find, target_of
from adv_networks.attacks.gradient import predict
from adv_networks.attacks.inputs import as_labels
from adv_networks.attacks.targets import targets_of
from adv_networks.errors import UsageError
from adv_networks.experiments import NORMS
from adv_networks.lazy import keras, np, tf


@functools.lru_cache(maxsize=1)  # Cached because it traces the model.
def classifier(model: keras.Model) -> TensorFlowV2Classifier:
    """Wraps a Keras classifier from images in [0,1] to logits for ART: compiled, and always in inference mode."""

    @tf.autograph.experimental.do_not_convert  # ART compiles its calls: to rewrite all that they call takes seconds.
    def logits(x, training=False):
        return predict(model, x)

    return TensorFlowV2Classifier(
        logits,
        nb_classes=model.output_shape[-1],
        input_shape=model.input_shape[1:],
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
        clip_values=(0, 1),
    )


def runner(attack: ForeignAttack) -> Runner:
    """A function of (model, x, y) that runs the class that the attack names.

    If its constructor takes `eps` and `norm`, it gets those of the ball. The whole batch is attacked at once. With the argument
    `target` the attack moves towards that class, one of the names of `targets_of`. For an attack that is always targeted, the
    default is the runner-up.

    Raises:
        UsageError: there is no such attack, or it does not take the arguments.
    """
    kind = find(attack, _KINDS)
    if attack.algorithm in _REFUSED:
        raise UsageError(f"attack: expected another one than {attack.name}, {_REFUSED[attack.algorithm]}")
    accepted = inspect.signature(kind).parameters
    target = target_of(attack, accepted, can="targeted" in accepted, must=attack.algorithm in _TARGETED)
    # The first parameter is the classifier.
    check_arguments(attack, accepted.keys() - {*list(accepted)[:1], "eps", "targeted"} | ({"target"} if target else set()))
    arguments = {name: value for name, value in attack.arguments if name in accepted}

    def run(model: keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if target is not None:
            y = targets_of(model, x, as_labels(y), target).numpy()
        ours = dict(eps=attack.epsilon, norm=NORMS[attack.norm], batch_size=len(x), targeted=target is not None, verbose=False)
        options = {name: value for name, value in ours.items() if name in accepted} | arguments
        return kind(classifier(model), **options).generate(x, y)

    return run


_KINDS = {
    name: kind for name, kind in vars(art.attacks.evasion).items() if inspect.isclass(kind) and issubclass(kind, EvasionAttack)
}


# Attacks that always treat the given labels as targets.
_TARGETED = frozenset({"SaliencyMapMethod"})
# Attacks that cannot run on our classifiers, and why.
_REFUSED = {
    "TargetedUniversalPerturbation": "which asks the classifier about images outside [0,1]; our universal is untargeted",
}


class DeclaredAttack(EvasionAttack):
    """One of our attacks, including the generator's, as an attack of ART. Its images equal those of our grid bit for bit."""

    attack_params = (*EvasionAttack.attack_params, "attack", "source")
    _estimator_requirements = (BaseEstimator, ClassifierMixin)

    def __init__(self, estimator: BaseEstimator, attack: Attack, source: keras.Model):
        """Prepares the attack.

        Args:
            estimator: ART's classifier under attack; images in [0,1].
            attack: the attack, as from `experiments.Experiment.attack`.
            source: the model that it is crafted on: a generator for the generator's attack, otherwise a classifier.

        Raises:
            UsageError: the estimator's pixel range is not [0,1].
        """
        super().__init__(estimator=estimator)
        self.attack, self.source = attack, source
        limits = estimator.clip_values
        if limits is not None and (np.min(limits[0]), np.max(limits[1])) != (0, 1):
            raise UsageError(f"clip_values: expected (0, 1), received {limits}")

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **_) -> np.ndarray:
        """Adversarial images for x. y are labels, as integers or one-hot; None for the estimator's predictions."""
        y = self.estimator.predict(x) if y is None else y
        y = check_and_transform_label_format(np.asarray(y), self.estimator.nb_classes, return_one_hot=False)
        return craft_all(self.attack, self.source, np.asarray(x), y.ravel())
