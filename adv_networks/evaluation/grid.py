"""A grid of targets against sources, as records with their provenance."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

from adv_networks import runtime
from adv_networks.attacks import Attack, Clean
from adv_networks.attacks.inputs import as_arrays
from adv_networks.evaluation.defended import Target, as_defended, gradient_of, target_hash
from adv_networks.evaluation.learning import Training, learn, lesson_of
from adv_networks.evaluation.measures import measure
from adv_networks.evaluation.models import is_generator
from adv_networks.evaluation.random_classifiers import worst_case
from adv_networks.lazy import np
from adv_networks.storage.hashes import images_hash
from adv_networks.storage.provenance import commit, versions
from adv_networks.storage.records import MEASURES, Record, hash_of_parts, record_key


def grid(
    targets: Mapping[str, Target],
    sources: Mapping[str, Target],
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
    measures: bool = False,
    training: Training | None = None,
) -> list[Record]:
    """Scores every target under every attack crafted on every source; each (source, attack) is crafted once for all targets.

    Args:
        targets: classifiers under attack, by name; `Defended` ones too.
        sources: models that the attacks are crafted on, by name: classifiers, and generators for the generator's attack. A
            target that is also a source under the same name is attacked white-box.
        attacks: the attacks; the clean "attack" needs no source and gives one record a target, of source "".
        images: uint8 or floats in [0,1].
        labels: integers.
        known: records computed before; those of the same weights, images and attack settings are returned unchanged.
        wanted: says of (target, source, attack) whether the record is needed.
        provenance: for each target, what to put into the other fields of its records.
        bn_evaluation: as in `accuracy`.
        on_records: called with the new records after each (source, attack), for instance to save them.
        hashes: known `target_hash`es of models, by name. Such a model is only taken out of `targets` or `sources` when a
            record is missing, so a mapping can load it then.
        outcomes: which images were labelled correctly (`correct_masks`), by the records' keys. If it is given, a record
            without one is computed again, and those of new records are added before `on_records` is called.
        measures: whether records must have measures besides accuracy; an older record without them is computed again.
        training: gives the first n training images and their labels, for attacks that learn from them; their records say
            what they learned from (`learned_from`).

    Returns:
        A record per wanted (target, source, attack).

    Raises:
        UsageError: an attack learns from training images, and there are none.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks, evaluation
        >>> models = {"mine": keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])}
        >>> x, y = np.zeros((3, 4, 4, 1), np.uint8), np.array([0, 1, 0])
        >>> records = evaluation.grid(models, models, [attacks.Clean(), attacks.FGS(epsilon=0.1)], x, y)
        >>> [(record.attack, record.source, record.images) for record in records]
        [('clean', '', 3), ('fgs', 'mine', 3)]
    """
    images, labels = as_arrays(images, labels)
    by_key = {
        record.key: record
        for record in known
        if (outcomes is None or record.key in outcomes) and not (measures and record.changed_percent is None)
    }
    before: dict[str, np.ndarray] = {}

    def right_before(target: str) -> np.ndarray:
        if target not in before:
            before[target] = measure([targets[target]], images, labels, Clean(), None, bn_evaluation)[0].right
        return before[target]

    data_hash = images_hash(images, labels)
    target_hashes, source_hashes = (
        {name: hashes[name] if hashes and name in hashes else target_hash(models[name]) for name in models}
        for models in (targets, sources)
    )
    results = []
    for attack in attacks:
        lesson = lesson_of(attack, training)
        further = {} if lesson is None else {"learned_from": lesson.name}
        for source in sources if attack.has_source else [""]:
            identities = {
                target: dict(
                    target=target,
                    source=source,
                    target_hash=own_hash,
                    source_hash=source_hashes.get(source, ""),
                    images_hash=data_hash,
                    attack_settings=attack.settings(),
                    bn_evaluation=bn_evaluation,
                    **further,
                )
                for target, own_hash in target_hashes.items()
                if wanted(target, source, attack)
            }
            keys = {target: record_key(**identity) for target, identity in identities.items()}
            results += [by_key[key] for key in keys.values() if key in by_key]
            missing = [target for target, key in keys.items() if key not in by_key]
            if not missing or not (not attack.has_source or _suits(attack, sources[source])):
                continue
            started = time.perf_counter()
            attacked, crafted_on = [targets[name] for name in missing], sources[source] if source else None
            state = learn(attack, crafted_on, lesson)
            found = measure(attacked, images, labels, attack, crafted_on, bn_evaluation, state)
            if not attack.has_source:
                before.update((target, own.right) for target, own in zip(missing, found, strict=True))
            if outcomes is not None:
                outcomes.update((keys[target], own.right) for target, own in zip(missing, found, strict=True))
            measured = dict(
                attack=attack.name,
                epsilon=attack.epsilon if math.isfinite(attack.epsilon) else 0.0,
                gradient=gradient_of(sources[source], attack) if source else "",
                seconds=round((time.perf_counter() - started) / len(missing), 2),
                commit=commit(),
                versions=versions(*attack.packages),
                runtime=runtime.choices(),
            )
            new = [
                Record(
                    key=keys[target],
                    **_counted(own.right),
                    **own.measures(right_before(target)),
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
    correct, draws = int(own.sum()), len(own) if own.ndim == 2 else 1
    return dict(correct=correct, images=own.shape[-1], draws=draws, accuracy_percent=round(100 * correct / own.size, 4))


def worst(attack: Attack, parts: Sequence[Record], outcomes: MutableMapping[str, np.ndarray]) -> Record:
    """The record of a worst case: an image counts as right only if it is right in all `parts`.

    Args:
        attack: an attack of kind "worst", whose settings the record gets.
        parts: records of one target on the same images.
        outcomes: which images were right, by the records' keys; the entry of the new record is added.

    Examples:
        >>> import keras, numpy as np
        >>> from adv_networks import attacks, evaluation
        >>> models = {"mine": keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])}
        >>> x, y, right = np.zeros((3, 4, 4, 1), np.uint8), np.array([0, 1, 0]), {}
        >>> parts = evaluation.grid(models, models, [attacks.Clean(), attacks.FGS(epsilon=0.1)], x, y, outcomes=right)
        >>> evaluation.worst(attacks.Worst(epsilon=0.1), parts, right).correct <= min(part.correct for part in parts)
        True
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
    outcomes[key] = worst_case([outcomes[record.key] for record in parts])
    seconds = round(sum(record.seconds for record in parts), 2)
    changed = dict(key=key, attack=attack.name, epsilon=attack.epsilon, seconds=seconds, commit=commit(), versions=versions())
    # Other measures than accuracy would mix several attacks.
    unmeasured = dict.fromkeys((*MEASURES, "correct_before", "destructible")) | {"gradient": ""}
    return dataclasses.replace(parts[0], **identity, **changed, **unmeasured, **_counted(outcomes[key]))


def _suits(attack: Attack, source: Target) -> bool:
    """Whether the attack can be crafted on the source: the generator's on generators, the others on classifiers."""
    return is_generator(as_defended(source).model) == (attack.access == "generator")
