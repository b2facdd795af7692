"""Networks of the same architecture share graphs, which take the weights as arguments.

Tracing D2's attacks takes seconds, which would be spent again on every classifier of a table. Only networks built by this
package share graphs (`share`), because the configuration of other models need not describe all that they compute.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import NamedTuple

from adv_networks.lazy import keras
from adv_networks.runtime import replacements
from adv_networks.runtime.snapshots import Snapshot


class _Shared(NamedTuple):
    """A network's architecture, and a snapshot from the time when it was taken."""

    architecture: Hashable
    snapshot: Snapshot


_shared: weakref.WeakKeyDictionary[keras.Model, _Shared] = weakref.WeakKeyDictionary()


def share(model: keras.Model) -> None:
    """Lets a network of `networks` share graphs with others of its architecture as long as it is unchanged."""
    text = model.to_json()
    for number, part in enumerate((model, *model.operations)):
        # A name occurs as that of the part and as an input of other parts; elsewhere the word may be a setting's value.
        for before in ('"name": ', "["):
            text = text.replace(f'{before}"{part.name}"', f"{before}{number}")
    architecture = text, *(replacements.names(part) for part in (model, *model.layers))
    _shared[model] = _Shared(architecture, Snapshot(model))


def architecture(model: keras.Model) -> Hashable | None:
    """The key of the graphs that the model can share; None if it shares none, or if it has changed since."""
    found = _shared.get(model)
    return found.architecture if found is not None and found.snapshot.matches(model) else None
