"""TensorFlow, Keras, NumPy, SciPy and Pillow's `Image`, loaded when they are first used.

A module that declares something and also computes with it (an attack, a defence) imports them from here, so that what is
declared can be listed, planned and turned into flags without the seconds that TensorFlow takes to load, and a wrong flag is
refused without the tenths of a second that the others take. TensorFlow is then started with what is fastest on this processor
(`runtime.start`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

# What is called before TensorFlow is loaded; `runtime.start` sets there what TensorFlow reads from the environment.
BEFORE_TENSORFLOW: list[Callable[[], None]] = []

if TYPE_CHECKING:
    import keras
    import numpy as np
    import scipy
    import tensorflow as tf
    from PIL import Image
else:

    class _Module:
        """A module that is imported when something of it is asked for; `before` is called then."""

        def __init__(self, name: str, before: Sequence[Callable[[], None]] = ()):
            self._name, self._before = name, before

        def __getattr__(self, attribute: str) -> Any:
            if attribute == "_module":
                for prepare in self._before:
                    prepare()
                self._module = importlib.import_module(self._name)
                return self._module
            return getattr(self._module, attribute)

    keras, tf = _Module("keras", BEFORE_TENSORFLOW), _Module("tensorflow", BEFORE_TENSORFLOW)
    np, scipy, Image = _Module("numpy"), _Module("scipy"), _Module("PIL.Image")

__all__ = ["BEFORE_TENSORFLOW", "Image", "keras", "np", "scipy", "tf"]
