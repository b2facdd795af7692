"""Networks of one architecture share graphs, which take the weights as arguments: to trace D2's attacks takes seconds.

That would be spent again on every classifier of a table. Only networks that this package made itself take part (`share`): what
others compute, their configuration need not tell.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import NamedTuple

from adv_networks.lazy import keras
from adv_networks.runtime import replacements
from adv_networks.runtime.snapshots import Snapshot


class _Shared(NamedTuple):
    """What a network computes, and a snapshot from when that was so."""

    architecture: Hashable
    snapshot: Snapshot


_shared: weakref.WeakKeyDictionary[keras.Model, _Shared] = weakref.WeakKeyDictionary()


def share(model: keras.Model) -> None:
    """Lets a network of `networks` share graphs with others of its architecture for as long as it stays as it is."""
    text = model.to_json()
    for number, part in enumerate((model, *model.operations)):
        # As itself and as what another takes; the same word may also be a setting's value.
        for before in ('"name": ', "["):
            text = text.replace(f'{before}"{part.name}"', f"{before}{number}")
    architecture = text, *(replacements.names(part) for part in (model, *model.layers))
    _shared[model] = _Shared(architecture, Snapshot(model))


def architecture(model: keras.Model) -> Hashable | None:
    """What the model has in common with those whose graphs it can use; None if it shares none, or was changed since."""
    found = _shared.get(model)
    return found.architecture if found is not None and found.snapshot.matches(model) else None
