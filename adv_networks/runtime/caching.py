"""One registry for all caches that the library keeps between calls, so that they can be emptied together."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

_Container = TypeVar("_Container", dict[Any, Any], "weakref.WeakKeyDictionary[Any, Any]")
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Caches:
    """Knows every cache, so that one call empties them all.

    Examples:
        >>> from adv_networks.runtime.caching import Caches
        >>> caches = Caches()
        >>> kept = caches.add({"one": 1})
        >>> caches.clear()
        >>> kept
        {}
    """

    def __init__(self) -> None:
        self._clear: list[Callable[[], None]] = []

    def add(self, container: _Container) -> _Container:
        """Registers a container with a method `clear`, and returns it."""
        self._clear.append(container.clear)
        return container

    def results(self, function: _Function) -> _Function:
        """Decorator that caches a function's results by its arguments, which must be hashable."""
        kept = functools.cache(function)
        self._clear.append(kept.cache_clear)
        return kept

    def clear(self) -> None:
        """Empties all caches: later calls compute results and trace graphs as in a fresh process."""
        for clear in self._clear:
            clear()


caches = Caches()
