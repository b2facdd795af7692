"""TensorFlow and Keras, loaded when they are first used.

A module that declares something and also computes with it (an attack, a defence) imports them from here, so that what is
declared can be listed, planned and turned into flags without the seconds that TensorFlow takes to load. TensorFlow is then
started with what is fastest on this processor (`runtime.start`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

# What is called before TensorFlow is loaded; `runtime.start` sets there what TensorFlow reads from the environment.
BEFORE_TENSORFLOW: list[Callable[[], None]] = []

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
else:

    class _Module:
        """A module that is imported when something of it is asked for."""

        def __init__(self, name: str):
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            if attribute == "_module":
                for prepare in BEFORE_TENSORFLOW:
                    prepare()
                self._module = importlib.import_module(self._name)
                return self._module
            return getattr(self._module, attribute)

    keras, tf = _Module("keras"), _Module("tensorflow")

__all__ = ["BEFORE_TENSORFLOW", "keras", "tf"]
