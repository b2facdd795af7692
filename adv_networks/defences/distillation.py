"""Defensive distillation: a network trained on the soft labels of another network (Papernot et al., 2016).

Both networks are trained with their logits divided by a temperature T, so the gaps between logits become T times as large. At
test time the logits are not divided. The probabilities of all wrong classes then underflow, and so do the gradients that an
attack on cross-entropy follows. There is no other protection: an attack on the logits over T, or on their margin, finds what it
would find without the defence (Carlini and Wagner, 2017, "Towards evaluating the robustness of neural networks").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adv_networks import networks
from adv_networks.defences.base import Defence, register, setting
from adv_networks.defences.needed_run import NeededRun
from adv_networks.defences.players import Players, make_players
from adv_networks.defences.updates import Scalars, accuracy, compiled, descend_on
from adv_networks.experiments import Experiment
from adv_networks.lazy import keras, tf
from adv_networks.networks import costs

if TYPE_CHECKING:
    from adv_networks.attacks.inputs import Array, Seed


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of teacher and student."""

    temperature: float = setting(100.0, "temperature by which logits are divided in training, not at test time", above=0)


@dataclasses.dataclass(eq=False)
class Student(Players):
    """The student as D, and its teacher, which is not trained."""

    teacher: keras.Model | None = None


def soft_labels(logits: tf.Tensor, temperature: float) -> tf.Tensor:
    """The softmax [batch, classes] of logits over the temperature."""
    return tf.nn.softmax(logits / temperature)


def descend_at_temperature(players: Players, x: tf.Tensor, labels: tf.Tensor, y: tf.Tensor, spec: Experiment) -> Scalars:
    """One SGD step of D on T times the cross-entropy of its logits over T.

    The factor T cancels the 1/T of the gradient that comes from the division; a learning rate T times as large would too.

    Args:
        players: D and its optimiser.
        x: images in [0,1].
        labels: soft labels [batch, classes].
        y: true labels, for the accuracy.
        spec: the experiment; `spec.own.temperature` is T.
    """
    temperature = spec.own.temperature

    def losses() -> tuple[tf.Tensor, Scalars]:
        logits = players.d(x, training=True)
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits / temperature))
        return temperature * loss, {"d_loss": loss, "d_accuracy": accuracy(y, logits)}

    return descend_on(players, spec, losses)


@compiled
def teacher_step(players: Players, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One step of D on the true labels, at the temperature."""
    return descend_at_temperature(players, x, tf.one_hot(y, players.d.output_shape[-1]), y, spec)


@compiled
def student_step(players: Student, x: tf.Tensor, y: tf.Tensor, spec: Experiment, seed: tf.Tensor) -> Scalars:
    """One step of D on its teacher's soft labels of the same images, at the temperature."""
    said = networks.discarding_statistics(players.teacher, x, training=False)
    return descend_at_temperature(players, x, soft_labels(said, spec.own.temperature), y, spec)


@register
class Teacher(Defence):
    """The network that a distilled network learns from; it has practically no defence.

    Examples:
        >>> from adv_networks import defences
        >>> defences.Teacher.Settings().temperature
        100.0
    """

    name, letter, title = "teacher", "DT", "the teacher of defensive distillation: standard training at its temperature"
    Settings = Settings

    def step(self, players: Players, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `teacher_step`."""
        return teacher_step(players, x, y, spec, seed)


@register
class Distillation(Defence):
    """Defensive distillation: the student's training.

    Examples:
        >>> from adv_networks import defences, experiments
        >>> spec = experiments.experiment("digits", "distillation", temperature=20)
        >>> defences.Distillation().needs(spec)["teacher"].name
        'digits-teacher-cpu-s0-temperature=20'
    """

    name, letter, title = "distillation", "DD", "defensive distillation: trained on a teacher's soft labels at a temperature"
    Settings = Settings
    # Cross-entropy has no gradient if logits are far apart, but the margin has one.
    adaptive = "pgd:steps=40:step_fraction=0.1:loss=margin"

    def needs(self, spec: Experiment) -> dict[str, Experiment]:
        """The teacher, at the same temperature."""
        return {"teacher": spec.sibling("teacher")}

    def multiply_adds(self, spec: Experiment) -> float:
        """See `Defence.multiply_adds`, plus one forward pass of the teacher."""
        return super().multiply_adds(spec) + costs.classifier_multiply_adds(spec)

    def build(self, spec: Experiment, needed: Mapping[str, NeededRun]) -> Student:
        """See `Defence.build`."""
        fresh = make_players(spec)
        return Student(fresh.d, fresh.d_optimizer, teacher=needed["teacher"].classifier())

    def step(self, players: Student, x: Array, y: Array, spec: Experiment, seed: Seed) -> Scalars:
        """See `student_step`."""
        return student_step(players, x, y, spec, seed)
