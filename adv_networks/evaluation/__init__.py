"""Accuracies under attack: one classifier, or a grid of targets against sources, as records with their provenance.

In the scope of a strategy its devices take the batches in turn. The models' variables must have been made in that scope. A
batch is never split, so that no result depends on how many devices there are.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import os
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from adv_networks import attacks as attack_functions
from adv_networks import data, runtime
from adv_networks.attacks import strong_attacks
from adv_networks.attacks.foreign import foreign_attacks
from adv_networks.errors import UsageError, UserError
from adv_networks.experiments import ATTACKS, BATCH_STATISTICS_SIZE, STRONG_ATTACKS, Attack, find_dataset
from adv_networks.storage.files import reason
from adv_networks.storage.provenance import commit, versions
from adv_networks.storage.records import Record, hash_of_parts, record_key

BATCH_SIZE = 250


def load_model(file: str | os.PathLike) -> keras.Model:
    """Loads a `.keras` file, or raises a UserError where it is missing or damaged."""
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file}: expected a .keras file, found none")
    try:
        model = keras.models.load_model(file, compile=False)
    except (ValueError, OSError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{file}: expected a Keras model, found: {reason(error)}") from None
    return runtime.prepare(model)


def load_classifier(path: str | os.PathLike, dataset: str | None = None) -> keras.Model:
    """Loads the classifier of a run directory, or of a `.keras` file.

    Args:
        path: a run's directory (its `d.keras` is read) or a file.
        dataset: where given, the classifier must be one of that data set: images of its shape to logits of its classes.

    Raises:
        UserError: no such file, not a Keras model, or not a classifier of `dataset`.
    """
    path = Path(path)
    file = path / "d.keras" if path.is_dir() else path
    model = load_model(file)
    if dataset is not None:
        check_classifier(model, dataset, str(file))
    return model


def check_classifier(model: keras.Model, dataset: str, where: str) -> None:
    """Raises a UserError where the model, found at `where`, does not take images of `dataset` to logits of its classes."""
    if not model.built:
        raise UserError(f"{where}: expected a classifier of {dataset}, found a model that was never built")
    expected = find_dataset(dataset)
    wanted = f"{(None, *expected.image_shape)} to {(None, expected.classes)}"
    found = f"{_shapes(model.inputs)} to {_shapes(model.outputs)}"
    if found != wanted:
        raise UserError(f"{where}: expected a classifier of {dataset}, {wanted}, found {found}")


def _shapes(tensors: Sequence[Any]) -> str:
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors)


def is_generator(model: keras.Model) -> bool:
    """Whether the model returns images rather than logits."""
    return len(model.outputs[0].shape) == 4


def weights_hash(model: keras.Model) -> str:
    """16 hexadecimal digits of SHA-256 over all weights, BN averages included."""
    return _digest(*(np.ascontiguousarray(weight) for weight in model.get_weights()))


def file_hash(file: Path) -> str:
    """16 hexadecimal digits of SHA-256 over the bytes of a file."""
    return _digest(file.read_bytes())


def _digest(*parts: np.ndarray | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(str(getattr(part, "shape", "")).encode())
        total.update(part)
    return total.hexdigest()[:16]


def images_hash(images: np.ndarray, labels: np.ndarray) -> str:
    """16 hexadecimal digits of SHA-256 over the images and labels."""
    return _digest(np.ascontiguousarray(images), np.ascontiguousarray(labels))


def craft(attack: Attack, source: keras.Model, x, y, *, seed: attack_functions.Seed = 0, training: bool = False) -> tf.Tensor:
    """Adversarial images of a batch: `attack` run on `source`, a classifier or, for the generator's attack, a generator."""
    epsilon, options = attack.epsilon, dict(training=training, norm=attack.norm)
    if epsilon is None:
        raise ValueError(f"attack {attack.name}: expected an ε, received None")
    match attack.kind:
        case "clean":
            return tf.convert_to_tensor(x)
        case "fgs":
            return attack_functions.fgs(source, x, y if attack.label == "true" else None, epsilon, **options)
        case "least_likely":
            return attack_functions.least_likely(source, x, epsilon, **options)
        case "pgd":
            options |= dict(step_size=epsilon * attack.step_fraction, steps=attack.steps, restarts=attack.restarts)
            return attack_functions.pgd(source, x, y, epsilon, seed=seed, clip_start=attack.clip_start, **options)
        case "generator":
            return attack_functions.generator(source, x, y, epsilon, seed=seed, **options)
        case "foreign":
            return foreign_attacks.craft(attack, source, x, y, seed=seed, training=training)
    return _craft_strongly(attack, source, x, y, seed=seed, training=training)


def check_attack(attack: Attack, bn_evaluation: str, classes: int) -> None:
    """Raises the UsageError or UserError that `craft` would raise whatever the classifier of so many classes is."""
    if attack.kind == "foreign":
        foreign_attacks.check(attack, bn_evaluation)
    elif attack.name in STRONG_ATTACKS:
        _check_strong_attack(attack, bn_evaluation)
        strong_attacks.check_classes(classes, loss=attack.loss, targets=attack.targets)


def _check_strong_attack(attack: Attack, bn_evaluation: str) -> None:
    if attack.norm != "linf":
        raise UsageError(f"norm: expected linf for attack {attack.name}, received {attack.norm}")
    if bn_evaluation != "moving":
        raise UsageError(f"bn_evaluation: expected moving for attack {attack.name}, received {bn_evaluation}")


def _craft_strongly(attack: Attack, source: keras.Model, x, y, *, seed, training: bool) -> tf.Tensor:
    _check_strong_attack(attack, "batch" if training else "moving")
    epsilon, steps = attack.epsilon, attack.steps
    match attack.kind:
        case "restarted_pgd":
            options = dict(step_size=epsilon * attack.step_fraction, restarts=attack.restarts, seed=seed)
            return strong_attacks.restarted_pgd(source, x, y, epsilon, steps=steps, **options)
        case "apgd":
            options = dict(loss=attack.loss, targets=attack.targets, restarts=attack.restarts, seed=seed)
            return strong_attacks.apgd(source, x, y, epsilon, steps=steps, **options)
        case "fab":
            return strong_attacks.fab(source, x, y, epsilon, steps=steps, targets=attack.targets)
        case "square":
            return strong_attacks.square(source, x, y, epsilon, queries=steps, seed=seed)
    raise ValueError(f"attack kind: expected one that crafts images, received {attack.kind}")


def _batch_size(bn_evaluation: str) -> int:
    return BATCH_SIZE if bn_evaluation == "moving" else BATCH_STATISTICS_SIZE


def _check_examples(images: np.ndarray, labels: np.ndarray) -> None:
    images, labels = np.asarray(images), np.asarray(labels)
    in_range = np.issubdtype(images.dtype, np.floating) and (not images.size or (images.min() >= 0 and images.max() <= 1))
    if images.dtype != np.uint8 and not in_range:
        received = f"{images.dtype} from {images.min():g} to {images.max():g}"
        raise UsageError(f"images: expected uint8, or floats in [0,1], received {received}")
    # Labels of another shape would not fail where they are compared, but be repeated.
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(f"labels: expected integers {[len(images)]}, received {labels.dtype} {list(labels.shape)}")


def _batches(
    images: np.ndarray, labels: np.ndarray, size: int, *, filled: bool = False
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(number, images in [0,1], labels) of each batch; float images are taken as they are.

    The last one is partial, or `filled` with images from before it.

    Raises:
        UsageError: images neither uint8 nor floats in [0,1], or labels that are not one integer an image.
    """
    _check_examples(images, labels)
    for number, start in enumerate(range(0, len(images), size)):
        start = max(0, min(start, len(images) - size)) if filled else start
        x = images[start : start + size]
        yield number, x / np.float32(255) if x.dtype == np.uint8 else x, np.asarray(labels[start : start + size], np.int32)


def _on_devices(work: Callable[..., Any], batches: Iterable[tuple[int, np.ndarray, np.ndarray]]) -> Iterator[Any]:
    """`work(number, x, y)` of each batch, in their order, computed by the devices of the current strategy in turn."""
    strategy = tf.distribute.get_strategy()
    devices = strategy.extended.worker_devices if tf.distribute.has_strategy() else ()
    if len(devices) < 2:
        yield from itertools.starmap(work, batches)
        return

    def work_on(device: str, batch: tuple[int, np.ndarray, np.ndarray]) -> Any:
        # A mirrored variable is read from its copy on the current device.
        with strategy.scope(), tf.device(device):
            return work(*batch)

    batches = iter(batches)
    with ThreadPoolExecutor(len(devices)) as pool:
        while turn := list(itertools.islice(batches, len(devices))):
            yield from pool.map(work_on, devices, turn)


def accuracy(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    *,
    attack: Attack | None = None,
    source: keras.Model | None = None,
    bn_evaluation: str = "moving",
) -> float:
    """The fraction of images in [0,1] that the model labels correctly, clean or under an attack.

    Args:
        model: classifier that returns logits.
        x: images, uint8 or floats in [0,1], [N, H, W, C].
        y: labels [N].
        attack: None for the images as they are.
        source: the model that the attack is crafted on; None for `model` itself.
        bn_evaluation: "moving" averages, or "batch" statistics of 64 images (a partial batch after full ones is then left out).

    Raises:
        UsageError: images or labels of another kind.
        UserError: logits that are not finite.
    """
    return float(right([model], x, y, attack or ATTACKS["clean"], source or model, bn_evaluation)[0].mean())


def right(
    targets: Sequence[keras.Model],
    images: np.ndarray,
    labels: np.ndarray,
    attack: Attack,
    source: keras.Model | None,
    bn_evaluation: str,
) -> list[np.ndarray]:
    """Of every target, which adversarial images, each crafted once, it labels correctly: booleans [images].

    With BN on batch statistics a last partial batch is left out.

    Raises:
        UsageError: images or labels of another kind.
        UserError: a target's logits are not finite, so that it labels nothing.
    """
    training = bn_evaluation == "batch"

    def labelled(number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        adversarial = craft(attack, source, x, y, seed=(attack.seed, number), training=training)
        return np.stack([_labels_of(target, adversarial, training) for target in targets]) == y

    batches = _batches(images, labels, _batch_size(bn_evaluation))
    if training:
        batches = (batch for batch in batches if batch[0] == 0 or len(batch[1]) == BATCH_STATISTICS_SIZE)
    return list(np.concatenate(list(_on_devices(labelled, batches)), 1))


def _labels_of(target: keras.Model, images: tf.Tensor, training: bool) -> np.ndarray:
    logits = attack_functions.predict(target, images, training=training).numpy()
    if not np.isfinite(logits).all():
        unsound = int((~np.isfinite(logits)).any(1).sum())
        raise UserError(f"{target.name}: expected finite logits, found others for {unsound} of {len(logits)} images")
    return logits.argmax(1)


def grid(
    targets: Mapping[str, keras.Model],
    sources: Mapping[str, keras.Model],
    attacks: Iterable[Attack],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    known: Iterable[Record] = (),
    wanted: Callable[[str, str, Attack], bool] = lambda target, source, attack: True,
    provenance: Mapping[str, Mapping[str, Any]] | None = None,
    bn_evaluation: str = "moving",
    on_records: Callable[[list[Record]], None] = lambda records: None,
    hashes: Mapping[str, str] | None = None,
    outcomes: MutableMapping[str, np.ndarray] | None = None,
) -> list[Record]:
    """Scores every target under every attack crafted on every source; each (source, attack) is crafted once for all targets.

    Args:
        targets: classifiers under attack, by name.
        sources: models that the attacks are crafted on, by name: classifiers, and generators for the generator's attack. A
            target that is also a source under the same name is attacked white-box.
        attacks: the attacks; the clean "attack" needs no source and gives one record a target, of source "".
        images: uint8 or floats in [0,1].
        labels: integers.
        known: records computed before; those of the same weights, images and attack settings are returned as they are.
        wanted: says of (target, source, attack) whether the record is needed.
        provenance: per target what to put into its records' further fields.
        bn_evaluation: as in `accuracy`.
        on_records: called with the new records after each (source, attack), for instance to save them.
        hashes: `weights_hash` of the models whose is known, by name; such a model is only taken out of `targets` or
            `sources` when a record is missing, so that a mapping may load it then.
        outcomes: which images were labelled correctly (`right`), by the records' keys; where it is given, a record without
            one is computed again, and those of new records are added before `on_records` is called.

    Returns:
        A record per wanted (target, source, attack).
    """
    by_key = {record.key: record for record in known if outcomes is None or record.key in outcomes}
    data_hash = images_hash(images, labels)
    target_hashes, source_hashes = (
        {name: hashes[name] if hashes and name in hashes else weights_hash(models[name]) for name in models}
        for models in (targets, sources)
    )
    results = []
    for attack in attacks:
        for source in [""] if attack.kind == "clean" else sources:
            identities = {
                target: dict(
                    target=target,
                    source=source,
                    target_hash=target_hash,
                    source_hash=source_hashes.get(source, ""),
                    images_hash=data_hash,
                    attack_settings=attack.settings(),
                    bn_evaluation=bn_evaluation,
                )
                for target, target_hash in target_hashes.items()
                if wanted(target, source, attack)
            }
            keys = {target: record_key(**identity) for target, identity in identities.items()}
            results += [by_key[key] for key in keys.values() if key in by_key]
            missing = [target for target, key in keys.items() if key not in by_key]
            if not missing or not (attack.kind == "clean" or _suits(attack, sources[source])):
                continue
            started = time.perf_counter()
            found = right(
                [targets[name] for name in missing], images, labels, attack, sources[source] if source else None, bn_evaluation
            )
            if outcomes is not None:
                outcomes.update((keys[target], own) for target, own in zip(missing, found, strict=True))
            measured = dict(
                attack=attack.name,
                epsilon=attack.epsilon,
                seconds=round((time.perf_counter() - started) / len(missing), 2),
                commit=commit(),
                versions=versions(*attack.packages),
            )
            new = [
                Record(
                    key=keys[target],
                    **_counted(own),
                    **identities[target],
                    **measured,
                    **(provenance or {}).get(target, {}),
                )
                for target, own in zip(missing, found, strict=True)
            ]
            on_records(new)
            results += new
    return results


def _counted(own: np.ndarray) -> dict[str, Any]:
    correct = int(own.sum())
    return dict(correct=correct, images=len(own), accuracy_percent=round(100 * correct / len(own), 4))


def worst(attack: Attack, parts: Sequence[Record], outcomes: MutableMapping[str, np.ndarray]) -> Record:
    """The record of an image counting as right only where it is in each of `parts`: records of one target on the same images.

    Args:
        attack: of kind "worst", whose settings the record gets.
        parts: what it is composed of.
        outcomes: which images were right, by key; that of the new record is added.
    """
    identity = dict(
        target=parts[0].target,
        source="",
        target_hash=parts[0].target_hash,
        source_hash=hash_of_parts(parts),
        images_hash=parts[0].images_hash,
        attack_settings=attack.settings(),
        bn_evaluation=parts[0].bn_evaluation,
    )
    key = record_key(**identity)
    outcomes[key] = np.logical_and.reduce([outcomes[record.key] for record in parts])
    seconds = round(sum(record.seconds for record in parts), 2)
    changed = dict(key=key, attack=attack.name, epsilon=attack.epsilon, seconds=seconds, commit=commit(), versions=versions())
    return dataclasses.replace(parts[0], **identity, **changed, **_counted(outcomes[key]))


def _suits(attack: Attack, source: keras.Model) -> bool:
    """Whether the attack can be crafted on the source: the generator's on generators, the others on classifiers."""
    return is_generator(source) == (attack.kind == "generator")


def craft_all(attack: Attack, source: keras.Model, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The adversarial images that `right` scores, for BN on moving averages: floats in [0,1], [N, H, W, C]."""

    def crafted(number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return craft(attack, source, x, y, seed=(attack.seed, number)).numpy()

    return np.concatenate(list(_on_devices(crafted, _batches(images, labels, BATCH_SIZE))))


def static_examples(
    attacks: Sequence[Attack], classifier: keras.Model, training: data.Images, *, bn_evaluation: str = "moving"
) -> np.ndarray:
    """Perturbations of the training images by L∞ attacks, int8 [attacks, N, H, W, C] in units of ε/127.

    Rounding makes them off by at most ε/254, and never above ε. With BN on batch statistics the last batch is filled with
    images from before it.
    """
    batch_statistics = bn_evaluation == "batch"

    def units(attack: Attack, number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        adversarial = craft(attack, classifier, x, y, seed=(attack.seed, number), training=batch_statistics)
        return np.round(np.clip((adversarial.numpy() - x) / attack.epsilon, -1, 1) * 127).astype(np.int8)

    result = np.empty((len(attacks), *training.images.shape), np.int8)
    for kind, attack in enumerate(attacks):
        done = 0
        batches = _batches(*training, _batch_size(bn_evaluation), filled=batch_statistics)
        for part in _on_devices(functools.partial(units, attack), batches):
            new = part[done - len(training.images) :]
            result[kind, done : done + len(new)] = new
            done += len(new)
    return result
