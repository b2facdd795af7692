"""The parts of this project that are timed, and a step written down literally from the paper's text.

Each contender loads TensorFlow itself, after the mode is chosen, because the runtime can choose kernels only before that.
"""

from __future__ import annotations

import os
import resource
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from adv_networks import attacks, data, defences, evaluation, networks, runtime
from adv_networks.experiments import DATASETS, METHODS, Experiment, experiment
from adv_networks.lazy import keras, tf
from adv_networks.runtime import devices
from adv_networks.runtime.start import start_tensorflow

PGD_IMAGES = 250
_WEIGHTS = Path(__file__).resolve().parents[1] / "results" / "cpu" / "weights" / "mnist-standard-cpu-s0.keras"


def spec_of(dataset: str, method: str = "advnet", **overrides: Any) -> Experiment:
    """The experiment of a benchmark: the paper's, with G of width 8."""
    return experiment(dataset, method, scale="paper", **{"generator_width": 8, **overrides})


def minibatch(spec: Experiment, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Random images in [0,1] and labels."""
    dataset, random = DATASETS[spec.dataset], np.random.default_rng(0)
    count = count or spec.batch_size
    return random.random((count, *dataset.image_shape), np.float32), random.integers(0, dataset.classes, count).astype(np.int32)


def ours(
    dataset: str, method: str = "advnet", *, replicas: int = 0, mode: str = "auto", **overrides: Any
) -> Callable[[], None]:
    """A training step of this project, on `replicas` logical CPU devices unless that is 0."""
    from adv_networks.runtime.determinism import make_deterministic

    runtime.configure(mode)
    start_tensorflow()
    make_deterministic()
    spec = spec_of(dataset, method, **overrides)
    with devices.make(replicas=replicas).scope():
        players, (x, y) = defences.make_players(spec), minibatch(spec)
    x, y = tf.constant(x), tf.constant(y)
    return lambda: float(METHODS[method].step(players, x, y, spec, (0, 0))["d_loss"])


def literal(dataset: str) -> Callable[[], None]:
    """Eq. 4-5 taken literally, in one graph, with Keras' own layers and optimisers and TensorFlow's default settings.

    G's steps are unrolled, every gradient has its own forward and backward pass, and φ is moved by hv and back.
    """
    runtime.configure("plain")
    spec = spec_of(dataset)
    (d, g), (x, y) = (networks.classifier(spec), networks.generators(spec)[0]), minibatch(spec)
    x, y = tf.constant(x), tf.constant(y)
    d_optimizer = keras.optimizers.SGD(spec.learning_rate, momentum=spec.momentum)
    g_optimizer = keras.optimizers.Adam(spec.generator_learning_rate, beta_1=spec.generator_momentum)
    d_optimizer.build(d.trainable_variables)
    g_optimizer.build(g.trainable_variables)

    def cross_entropy(images: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, d(images, training=True)))

    def adversarial() -> tf.Tensor:
        return cross_entropy(x + spec.epsilon * g(x, training=True))

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        for _ in range(spec.generator_steps):
            with tf.GradientTape() as tape:
                ascended = -adversarial()
            g_optimizer.apply(tape.gradient(ascended, g.trainable_variables), g.trainable_variables)
        theta, phi = ([variable.value for variable in model.trainable_variables] for model in (d, g))
        with tf.GradientTape() as tape:
            loss = cross_entropy(x) + spec.adversarial_weight * adversarial()
        gradient = tape.gradient(loss, theta)
        with tf.GradientTape() as tape:
            term = spec.adversarial_weight * adversarial()
        v = tape.gradient(term, phi)
        with tf.GradientTape() as tape:
            term = spec.adversarial_weight * adversarial()
        here = tape.gradient(term, theta)
        h = spec.finite_difference_step
        for variable, part in zip(phi, v, strict=True):
            variable.assign_add(h * part)
        with tf.GradientTape() as tape:
            term = spec.adversarial_weight * adversarial()
        there = tape.gradient(term, theta)
        for variable, part in zip(phi, v, strict=True):
            variable.assign_sub(h * part)
        weight = spec.gradient_penalty / h
        with tf.GradientTape() as tape:
            decay = spec.weight_decay * tf.add_n([tf.nn.l2_loss(value) for value in theta if len(value.shape) > 1])
        decays = tape.gradient(decay, theta, unconnected_gradients="zero")
        total = [a + weight * (b - c) + e for a, b, c, e in zip(gradient, there, here, decays, strict=True)]
        d_optimizer.apply(total, d.trainable_variables)
        return loss

    return lambda: float(step())


def classifier(dataset: str = "mnist", seed: int = 0) -> keras.Model:
    """D with the same weights for all attacks."""
    keras.utils.set_random_seed(seed)
    spec = spec_of(dataset, "standard", logits_initializer="glorot_uniform")
    return networks.classifier(spec)


def attack(name: str, mode: str = "auto") -> Callable[[], None]:
    """FGS or PGD-10 of this project on D1, in a mode of `runtime.configure`."""
    runtime.configure(mode)
    start_tensorflow()
    model, spec = runtime.prepare(classifier()), spec_of("mnist", "standard")
    x, y = minibatch(spec, PGD_IMAGES)
    function = getattr(attacks, name)
    return lambda: function(model, x, y, spec.epsilon).numpy()


def minimum_norm(name: str, images: int, options: dict[str, Any]) -> Callable[[], None]:
    """An attack of this project that has no ball, on a trained D1."""
    start_tensorflow()
    model, x, y = trained(images)
    model, function = runtime.prepare(model), getattr(attacks, name)
    return lambda: function(model, x, y, **options).numpy()


def trained(images: int) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """The committed D1 for MNIST, test images in [0,1], and their labels.

    MNIST is read from the directory that TFDS_DATA_DIR names.
    """
    x, y = data.load("mnist", "test", data_dir=os.environ.get("TFDS_DATA_DIR"), limit=images)
    return keras.models.load_model(_WEIGHTS), x / np.float32(255), y.astype(np.int32)


def grid(mode: str = "auto") -> Callable[[], None]:
    """A grid of two D1, each a target and a source, against clean images, FGS and PGD-10 on 250 images."""
    runtime.configure(mode)
    start_tensorflow()
    models = {str(seed): runtime.prepare(classifier(seed=seed)) for seed in (0, 1)}
    spec = spec_of("mnist", "standard")
    x, y = minibatch(spec, PGD_IMAGES)
    columns = [attacks.Clean(), spec.attack("fgs"), spec.attack("pgd")]
    return lambda: evaluation.grid(models, models, columns, x, y)


def grid_overhead(images: int = 1_000, rounds: int = 7) -> float:
    """The time of accuracy under PGD-10 on D1 beyond attacks and predictions, in percent of the whole: the rounds' median."""
    start_tensorflow()
    model, spec = runtime.prepare(classifier()), spec_of("mnist", "standard")
    x, y = minibatch(spec, images)
    pgd = spec.attack("pgd")

    def attacks_alone() -> None:
        for start in range(0, images, PGD_IMAGES):
            some = slice(start, start + PGD_IMAGES)
            attacks.pgd(model, x[some], y[some], spec.epsilon).numpy()

    def seconds(call: Callable[[], Any]) -> float:
        began = perf_counter()
        call()
        return perf_counter() - began

    found = []
    for _ in range(rounds + 1):
        whole = seconds(lambda: evaluation.accuracy(model, x, y, attack=pgd))
        parts = seconds(attacks_alone) + seconds(lambda: evaluation.accuracy(model, x, y))
        found.append(100 * (whole - parts) / whole)
    return statistics.median(found[1:])


def batches(dataset: str, images: int = 20_000) -> Callable[[], None]:
    """A batch of the training stream, augmented if the recipe says so."""
    start_tensorflow()
    spec, random = spec_of(dataset, "standard"), np.random.default_rng(0)
    pixels = random.integers(0, 256, (images, *DATASETS[dataset].image_shape), dtype=np.uint8)
    stream = data.batches(pixels, np.zeros(images), spec.batch_size, training=True, augment=spec.augment_pad)
    iterator = iter(stream)
    return lambda: next(iterator)[0].numpy()


def memory_of_steps(dataset: str, generator_width: int) -> float:
    """The peak resident memory of three advnet steps, in GiB."""
    step = ours(dataset, generator_width=generator_width)
    for _ in range(3):
        step()
    return _peak()


def memory_of_batches(dataset: str, images: int) -> float:
    """The peak resident memory of fifty batches of a data set of that size, in GiB."""
    batch = batches(dataset, images)
    for _ in range(50):
        batch()
    return _peak()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
