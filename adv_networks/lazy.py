"""TensorFlow and Keras, loaded when they are first used.

A module that declares something and also computes with it (an attack, a defence) imports them from here, so that what is
declared can be listed, planned and turned into flags without the seconds that TensorFlow takes to load. TensorFlow is then
started with what is fastest on this processor (`runtime.start`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
                from adv_networks.runtime.start import set_environment  # the modules of runtime import this one

                set_environment()
                self._module = importlib.import_module(self._name)
                return self._module
            return getattr(self._module, attribute)

    keras, tf = _Module("keras"), _Module("tensorflow")

__all__ = ["keras", "tf"]
