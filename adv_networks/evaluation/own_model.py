"""A user's own classifier: loads it from a file or a function, adapts it to images in [0,1], and checks its pixel range."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from adv_networks import data, evaluation, runtime
from adv_networks.data.sources.folder import ordered
from adv_networks.errors import UserError, printable
from adv_networks.evaluation import random_classifiers
from adv_networks.experiments import Dataset, find_dataset
from adv_networks.lazy import keras, np
from adv_networks.networks.adaptation import as_classifier, mapped_by_name, outputs_of, with_unit_range
from adv_networks.networks.files import made_by

__all__ = ["COMMON_RANGES", "check_range", "load", "made_by", "run_name", "title", "with_unit_range"]

Range = tuple[float, float]
# A file, a run's directory or `module:function`; or a Keras model.
Source = Any

# The pixel ranges that classifiers are commonly trained on.
COMMON_RANGES: tuple[Range, ...] = ((0, 1), (-1, 1), (0, 255))
CHECKED_IMAGES = 500
# A range counts as wrong if another one is better by this many points of accuracy and this many standard errors.
_POINTS, _STANDARD_ERRORS = 5, 4


def load(source: Source, dataset: str) -> keras.Model:
    """The classifier from a `.keras` file, a run's directory or `module:function`, or the given model itself.

    A model that does not map images to logits [batch, classes] is adapted (`adaptation.as_classifier`). If a run or its file
    names the classes, the logits are put into the data set's order of classes.

    Raises:
        UserError: there is none, or it is not a classifier of `dataset`.
    """
    declared = find_dataset(dataset)
    if isinstance(source, keras.Model):
        return as_classifier(source, declared, source.name)
    if not re.fullmatch(r"[\w.]+:\w+", str(source)) or Path(source).exists():
        file = Path(source) / "d.keras" if (Path(source) / "d.keras").is_file() else Path(source)
        model = as_classifier(evaluation.load_model(file), declared, str(source))
        return runtime.prepare(mapped_by_name(model, evaluation.class_names_of(file), declared, str(source)))
    return runtime.prepare(as_classifier(made_by(str(source)), declared, str(source)))


def check_range(model: keras.Model, input_range: Range, examples: data.Images, dataset: str | None = None) -> None:
    """Raises a UserError if the classifier was evidently trained on a pixel range other than the declared one.

    If the data set is given, it also does so if the class folders were evidently numbered in the other common order.

    Evidently means: with another of `COMMON_RANGES` or another order, it labels more of the examples correctly, by 5 points
    and 4 standard errors of the difference, and more than an untrained classifier could by chance. A folder whose class names
    are numbers has two possible orders. For a random classifier it means twice as many, because a larger range makes its noise
    smaller and so helps it in any case.

    Args:
        model: the classifier, for inputs in its own range.
        input_range: the declared range.
        examples: images uint8 and labels, not from the test set.
        dataset: the data set that the examples are from.
    """
    orders = {} if dataset is None else _other_orders(find_dataset(dataset))
    declared = (input_range, "")
    predicted = {input_range: _predicted(model, input_range, examples)}
    unsound = int((predicted[input_range] < 0).sum())
    if unsound:
        raise UserError(
            f"classifier: expected finite logits for inputs in {_written(input_range)}, found infinite or NaN ones for "
            f"{unsound} of {len(examples.images)} images"
        )
    _check_logit(model, input_range, examples)
    predicted |= {other: _tried(model, other, examples) for other in COMMON_RANGES if other != input_range}
    correct = {
        (tried, name): own == (examples.labels if order is None else order[examples.labels])
        for tried, own in predicted.items()
        for name, order in {"": None, **orders}.items()
    }
    best = max(correct, key=lambda tried: int(correct[tried].sum()))
    if not _evidently_better(correct[best], correct[declared]) or not _has_learned(correct[best], examples.labels):
        return
    twice = correct[best].sum() > 2 * correct[declared].sum()
    if not twice and random_classifiers.is_random(with_unit_range(model, input_range), examples.images):
        return
    better = [f"with {_written(best[0])}"] * (best[0] != input_range) + [f"with --class_order={best[1]}"] * bool(best[1])
    what, received = "input_range: expected the range", _written(input_range)
    if best[0] == input_range:
        what, received = "class_order: expected the order", find_dataset(dataset).options.get("class_order", "numbers")
    raise UserError(
        f"{what} that the classifier was trained on, received {received}, where it labels {correct[declared].mean():.0%} of "
        f"{len(examples.labels)} training images correctly ({correct[best].mean():.0%} {' and '.join(better)})"
    )


def _check_logit(model: keras.Model, input_range: Range, examples: data.Images) -> None:
    """Raises a UserError if a single logit, which `as_classifier` turned into two, has evidently gone through a sigmoid."""
    if model.output_shape[1] != 2:
        return
    zeros, values = _logits(model, input_range, examples).T
    if not zeros.any() and values.min() >= 0 and values.max() <= 1:
        correct, of_halves = ((values > border) == examples.labels for border in (0, 0.5))
        if _evidently_better(of_halves, correct):
            raise UserError(
                f"classifier: expected one logit, found values from {values.min():.3g} to {values.max():.3g}, which are right "
                f"for {of_halves.mean():.0%} of {len(correct)} training images as probabilities and for {correct.mean():.0%} "
                "as logits (return the values before the sigmoid)"
            )


def _evidently_better(other: np.ndarray, declared: np.ndarray) -> bool:
    """Whether the other mask has more correct labels than the declared one, by more than chance explains."""
    gained = int(other.sum()) - int(declared.sum())
    return 100 * gained > _POINTS * len(declared) and gained > _STANDARD_ERRORS * int((other != declared).sum()) ** 0.5


def _has_learned(correct: np.ndarray, labels: np.ndarray) -> bool:
    """Whether more labels are correct than an untrained classifier gets by chance; it gives most images the same few labels.

    The bar is three times the share of the commonest class, or halfway from that share to 1, whichever is lower.
    """
    one_class = np.bincount(labels).max() / len(labels)
    return bool(correct.mean() >= min(3 * one_class, (1 + one_class) / 2))


def _other_orders(dataset: Dataset) -> dict[str, np.ndarray]:
    """The common orders of class folders that the data set does not use: by name, arrays from its labels to theirs."""
    names = list(dataset.class_names)
    orders = {name: ordered(names, (name,)) for name in ("numbers", "names")} if dataset.split and names else {}
    return {name: np.array([own.index(one) for one in names]) for name, own in orders.items() if own != names}


def _written(input_range: Range) -> str:
    return ",".join(f"{bound:g}" for bound in input_range)


def _predicted(model: keras.Model, input_range: Range, examples: data.Images) -> np.ndarray:
    """The predicted class of each image, or -1 if its logits are not finite."""
    logits = _logits(model, input_range, examples)
    return np.where(np.isfinite(logits).all(1), logits.argmax(1), -1)


def _tried(model: keras.Model, input_range: Range, examples: data.Images) -> np.ndarray:
    """The same for a range that the classifier may not be made for, so that it may fail; then no class is predicted."""
    try:
        return _predicted(model, input_range, examples)
    except UserError:
        return np.full(len(examples.images), -1)


def _logits(model: keras.Model, input_range: Range, examples: data.Images) -> np.ndarray:
    low, high = input_range
    found = []
    for start in range(0, len(examples.images), evaluation.BATCH_SIZE):
        x = examples.images[start : start + evaluation.BATCH_SIZE] / np.float32(255)
        found.append(outputs_of(model, x * (high - low) + low, "classifier"))
    return np.concatenate(found)


def title(source: Source) -> str:
    """The name of the classifier in messages."""
    return printable(source.name if isinstance(source, keras.Model) else str(source))


def run_name(source: Source, input_range: Range, model: keras.Model) -> str:
    """The classifier's part of a run's name: its own name, a hash of its weights, and its pixel range."""
    name = source.name if isinstance(source, keras.Model) else str(source)
    name = re.sub(r"[^A-Za-z0-9_.]+", "_", Path(name).stem if Path(name).exists() else name)
    return f"{name}-{evaluation.weights_hash(model)[:8]}-inputs={_written(input_range).replace(',', '_')}"
