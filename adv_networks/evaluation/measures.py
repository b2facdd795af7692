"""What an attack did to each image, how a classifier answered, and the measures computed from both."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adv_networks.attacks import Attack, predict
from adv_networks.attacks.crafting import batch_size, batches_of, crafted, on_devices
from adv_networks.attacks.distances import distances
from adv_networks.attacks.inputs import as_arrays, classes_of
from adv_networks.errors import UserError
from adv_networks.evaluation.defended import Defended, Target, as_defended, counted_as_right, crafted_on, rejected
from adv_networks.evaluation.random_classifiers import DRAWS, drawn, is_random
from adv_networks.experiments import BATCH_STATISTICS_SIZE
from adv_networks.lazy import np, scipy, tf

_NORMS = ("l0", "l2", "linf")
# The first number of the seeds for a random target's answers.
_SCORING = 1
_HEADING = "What each attack did to the images; distances are median / mean of the successes:"
# The titles of the columns of `as_text`, and the measures that each shows.
_SHOWN = {
    "changed %": ("changed_percent",),
    "success %": ("success_percent",),
    "destroyed %": ("destruction_percent",),
    "confidence %": ("confidence_percent",),
    "L0": ("l0_median", "l0_mean"),
    "L2": ("l2_median", "l2_mean"),
    "L∞": ("linf_median", "linf_mean"),
    "queries": ("queries_mean",),
    "refused %": ("rejected_percent",),
}


@dataclasses.dataclass(frozen=True)
class PerImage:
    """The result of an attack for each image, and a target's answers; every field is an array [images].

    A random target answers several times (`random_classifiers`): its answers are arrays [draws, images].

    Attributes:
        right: whether the target labels the adversarial image correctly (`defended.counted_as_right` for refused images).
        confidence: the target's largest probability, from 0 to 1, whichever class it is for.
        changed: whether the attack changed the image, before the result was clipped to a ball.
        distances: distance from the original image, by norm: l0, l2 and linf.
        queries: number of queries to the source; None if the attack does not count them.
        right_wrapped: for an attack on another attack's images, whether the target labels those images correctly; else None.
        refused: whether a defence refuses the image; None for a target that refuses no image.

    Examples:
        >>> import numpy as np
        >>> from adv_networks import evaluation
        >>> right, distances = np.array([True, False]), {norm: np.full(2, 0.1) for norm in ("l0", "l2", "linf")}
        >>> found = evaluation.PerImage(right, confidence=np.array([0.9, 0.6]), changed=~right, distances=distances)
        >>> found.measures(right_before=np.array([True, True]))["success_percent"]
        50.0
    """

    right: np.ndarray
    confidence: np.ndarray
    changed: np.ndarray
    distances: Mapping[str, np.ndarray]
    queries: np.ndarray | None = None
    right_wrapped: np.ndarray | None = None
    refused: np.ndarray | None = None

    def measures(self, right_before: np.ndarray | None = None) -> dict[str, Any]:
        """The measures of a record besides its accuracy, rounded; a measure over no image is None.

        Distances are over the successes: images that are labelled correctly when clean, and wrongly under the attack.

        Args:
            right_before: which clean images the target labels correctly; None leaves out the measures that depend on it.
        """
        fields: dict[str, Any] = {
            "confidence_percent": _mean(100 * self.confidence),
            "wrong_confidence_percent": _mean(100 * self.confidence[~self.right]),
            "changed_percent": _mean(100.0 * self.changed),
            "queries_mean": None if self.queries is None else _mean(self.queries),
            "rejected_percent": None if self.refused is None else _mean(100.0 * self.refused),
        }
        if right_before is None:
            return fields
        fooled = right_before & ~self.right
        fields |= {
            "correct_before": int(right_before.sum()),
            "conditioned_percent": _mean(100.0 * self.right[right_before]),
            "success_percent": _mean(100.0 * fooled[right_before]),
        }
        if self.right_wrapped is not None:
            # The fraction of the other attack's adversarial examples that are labelled correctly again after this attack.
            adversarial = right_before & ~self.right_wrapped
            fields |= {
                "destructible": int(adversarial.sum()),
                "destruction_percent": _mean(100.0 * self.right[adversarial]),
            }
        for norm in _NORMS:
            own = np.broadcast_to(self.distances[norm], fooled.shape)[fooled]
            fields |= {f"{norm}_median": _rounded(np.median(own)) if len(own) else None, f"{norm}_mean": _mean(own)}
        return fields


def as_text(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The measures of attacks (`PerImage.measures`) as aligned columns under a heading, one row per attack.

    A missing measure is a dash. A column without any is left out.

    Args:
        found: measures by the attack's label.

    Examples:
        >>> from adv_networks.evaluation import measures
        >>> print(measures.as_text({"PGD": {"success_percent": 50.0, "l2_median": 1.25, "l2_mean": 1.5}}))
        What each attack did to the images; distances are median / mean of the successes:
             success %          L2
        PGD         50  1.25 / 1.5
    """
    shown = {
        title: fields
        for title, fields in _SHOWN.items()
        if any(measures.get(field) is not None for measures in found.values() for field in fields)
    }
    rows = [["", *shown]]
    for label, measures in found.items():
        rows.append([label, *(_written([measures.get(field) for field in fields]) for fields in shown.values())])
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([_HEADING, *lines])


def _written(values: Sequence[float | None]) -> str:
    """One measure, or a median and a mean."""
    return " / ".join("-" if value is None else f"{value:.4g}" for value in values) if set(values) != {None} else "-"


def _mean(values: np.ndarray) -> float | None:
    return _rounded(np.mean(values)) if np.size(values) else None


def _rounded(value: float) -> float:
    return round(float(value), 4)


def measure(
    targets: Sequence[Target],
    images: np.ndarray,
    labels: np.ndarray,
    attack: Attack,
    source: Target | None,
    bn_evaluation: str = "moving",
    state: Any = None,
) -> list[PerImage]:
    """How every target answers to adversarial images, each crafted once.

    Args:
        targets: classifiers that return logits, `Defended` ones too.
        images: uint8 or floats in [0,1], [N, H, W, C].
        labels: integers [N].
        attack: the attack to craft.
        source: the model that the attack is crafted on; None for clean images.
        bn_evaluation: "moving", or "batch", which leaves out a last partial batch.
        state: the result of `learn`, for an attack that learns first.

    Raises:
        UsageError: images or labels are invalid, or a defence does not offer the gradient.
        UserError: a target's logits are not finite, so they name no class.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks, evaluation
        >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x, y = np.full((3, 4, 4, 1), 0.5, np.float32), np.array([0, 1, 0])
        >>> (found,) = evaluation.measure([model], x, y, attacks.FGS(epsilon=0.1), source=model)
        >>> found.right.shape, sorted(found.distances)
        ((3,), ['l0', 'l2', 'linf'])
    """
    images, labels = as_arrays(images, labels)
    training, network = bn_evaluation == "batch", crafted_on(source, attack)

    def answered(target: Target, draws: int, images: tf.Tensor, y: np.ndarray, number: int) -> tuple[np.ndarray, ...]:
        labelled, confidence = _answers(as_defended(target), draws, images, y, number, training)
        refused = rejected(target, images)
        return counted_as_right(labelled, refused, attack.has_source), confidence, refused

    def measured(number: int, x: np.ndarray, y: np.ndarray) -> list[PerImage]:
        made = crafted(attack, network, x, y, seed=(attack.seed, number), training=training, state=state)
        moved = made.images.numpy()
        original = x / np.float32(255) if x.dtype == np.uint8 else x
        original = original if made.started_from is None else made.started_from.numpy()
        shared = dict(
            changed=made.changed, distances={norm: distances(original, moved, norm) for norm in _NORMS}, queries=made.queries
        )
        draws = [DRAWS if random else 0 for random in are_random]
        found = []
        for target, count in zip(targets, draws, strict=True):
            right, confidence, refused = answered(target, count, made.images, y, number)
            wrapped = None if made.wrapped is None else answered(target, count, made.wrapped, y, number)[0]
            found.append(PerImage(right, confidence, refused=refused, right_wrapped=wrapped, **shared))
        return found

    if attack.learns and state is None:
        raise ValueError(f"attack {attack.name}: expected what it has learned, received nothing")
    classifiers = [as_defended(target).model for target in targets]
    are_random = [
        not as_defended(target).members and is_random(classifier, images, training=training)
        for target, classifier in zip(targets, classifiers, strict=True)
    ]
    batches = batches_of(images, labels, batch_size(bn_evaluation), classes=classes_of(classifiers[0], images))
    if training:
        batches = (batch for batch in batches if batch[0] == 0 or len(batch[1]) == BATCH_STATISTICS_SIZE)
    return [_joined(parts) for parts in zip(*on_devices(measured, batches), strict=True)]


def _joined(parts: Sequence[PerImage]) -> PerImage:
    """Joins the results of one target's batches."""

    def joined(values: Iterator[np.ndarray]) -> np.ndarray:
        return np.concatenate(list(values), -1)

    return PerImage(
        joined(part.right for part in parts),
        joined(part.confidence for part in parts),
        joined(part.changed for part in parts),
        {norm: joined(part.distances[norm] for part in parts) for norm in parts[0].distances},
        None if parts[0].queries is None else joined(part.queries for part in parts),
        None if parts[0].right_wrapped is None else joined(part.right_wrapped for part in parts),
        None if parts[0].refused is None else joined(part.refused for part in parts),
    )


def _answers(
    target: Defended, draws: int, images: tf.Tensor, labels: np.ndarray, number: int, training: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Which images of a batch the target labels correctly, and its confidence, [batch] or [draws, batch]."""
    if target.members:
        logits = np.stack([predict(member, images, training=training).numpy() for member in target.members])
    elif not draws:
        logits = predict(target.model, images, training=training).numpy()
    else:  # The seeds have three numbers, so they differ from those of attacks, which have two.
        logits = np.stack([drawn(target.model, images, _SCORING, number, draw, training=training) for draw in range(draws)])
    if not np.isfinite(logits).all():
        unsound = int((~np.isfinite(logits)).any(-1).reshape(-1, len(labels)).any(0).sum())
        raise UserError(
            f"{target.name}: expected finite logits, found infinite or NaN ones for {unsound} of {len(labels)} images"
        )
    return logits.argmax(-1) == labels, scipy.special.softmax(logits.astype(np.float64), -1).max(-1)
