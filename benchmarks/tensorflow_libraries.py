"""Attacks of other libraries on the Keras D1, with TensorFlow's default settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adv_networks import runtime
from adv_networks.lazy import tf
from benchmarks.contenders import PGD_IMAGES, classifier, minibatch, spec_of, trained


def foolbox(name: str) -> Callable[[], None]:
    """FGS or PGD-10 of Foolbox, called as its documentation shows."""
    runtime.configure("plain")
    from foolbox import TensorFlowModel, attacks

    spec = spec_of("mnist", "standard")
    x, y = minibatch(spec, PGD_IMAGES)
    model, x, y = TensorFlowModel(classifier(), bounds=(0, 1), device="/CPU:0"), tf.constant(x), tf.constant(y, tf.int64)
    made = attacks.FGSM() if name == "fgs" else attacks.LinfPGD(abs_stepsize=spec.epsilon / 4, steps=10)
    return lambda: made.run(model, x, y, epsilon=spec.epsilon).numpy()


def art(name: str) -> Callable[[], None]:
    """FGS or PGD-10 of the Adversarial Robustness Toolbox."""
    runtime.configure("plain")
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import TensorFlowV2Classifier

    spec = spec_of("mnist", "standard")
    x, y = minibatch(spec, PGD_IMAGES)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    wrapped = TensorFlowV2Classifier(classifier(), 10, (28, 28, 1), loss_object=loss, clip_values=(0, 1))
    options = dict(eps=spec.epsilon, batch_size=PGD_IMAGES)
    made = (
        FastGradientMethod(wrapped, **options)
        if name == "fgs"
        else ProjectedGradientDescent(
            wrapped, eps_step=spec.epsilon / 4, max_iter=10, num_random_init=1, verbose=False, **options
        )
    )
    return lambda: made.generate(x, y)


def foolbox_minimum_norm(kind: str, images: int, options: dict[str, Any]) -> Callable[[], None]:
    """An attack of Foolbox that has no ball, on a trained D1."""
    runtime.configure("plain")
    import foolbox

    model, x, y = trained(images)
    model, x, y = foolbox.TensorFlowModel(model, bounds=(0, 1), device="/CPU:0"), tf.constant(x), tf.constant(y, tf.int64)
    made = getattr(foolbox.attacks, kind)(**options)
    return lambda: made(model, x, y, epsilons=None)[1].numpy()


def art_minimum_norm(kind: str, images: int, options: dict[str, Any], labels: int) -> Callable[[], None]:
    """An attack of the Adversarial Robustness Toolbox that has no ball; its labels are the true classes plus `labels`."""
    runtime.configure("plain")
    import art.attacks.evasion
    from art.estimators.classification import TensorFlowV2Classifier

    model, x, y = trained(images)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    wrapped = TensorFlowV2Classifier(model, 10, (28, 28, 1), loss_object=loss, clip_values=(0, 1))
    made = getattr(art.attacks.evasion, kind)(wrapped, verbose=False, **options)
    return lambda: made.generate(x, (y + labels) % 10)
