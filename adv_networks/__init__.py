"""Adversarial attacks and defences in TensorFlow 2 / Keras 3.

The library grew around a reproduction of "A Direct Approach to Robust Deep Learning Using Adversarial Networks" (ICLR 2019).

Attack and evaluate any Keras classifier of images in [0,1] that returns logits:

    >>> import numpy as np, keras
    >>> import adv_networks as an
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    >>> model = keras.Sequential(layers)
    >>> x, y = np.full((4, 8, 8, 1), 128, np.uint8), np.array([0, 1, 2, 3])
    >>> adversarial = an.attacks.pgd(model, x, y, 0.3)
    >>> sorted(an.evaluate(model, x, y, ["clean", "pgd:steps=20"], epsilon=0.3))
    ['clean', 'pgd:steps=20', 'worst']

Train a network as the papers describe it, and load it again:

    >>> import tempfile
    >>> spec = an.experiment("digits", "advnet", scale="tiny", generators=("released_mnist",), validation=0)
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     model = an.load_classifier(an.train(spec, f"{runs}/{spec.name}", progress=False))

- `attacks`: a function and a class for each attack, including those of ART and Foolbox; `attacks.named` takes the same texts as
  `--attack`.
- `defences`: the training methods, one file each.
- `experiments`, `papers`: recipes, tables and statements, declared as data.
- `evaluation`: accuracies, grids as records, checks for a false sense of security.
- `keras`: `fit` with the same update rules, for your own Keras classifier on your own data.
- `data`, `networks`, `training`, `tables`, `claims`, `storage`, `runtime`: what the others are built on.

Images are uint8 or floats in [0,1], [batch, height, width, channels]; ε is on that scale; labels are integers [batch]. An
`errors.UserError` is an error that the caller can fix; its subclass `errors.UsageError` means that the call itself is wrong.
Importing this package loads no TensorFlow.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# For a user without a home directory, Keras would create a directory named ~ in the working directory.
if not os.path.isabs(os.path.expanduser("~")):  # noqa: PTH111, PTH117
    import tempfile

    os.environ.setdefault("KERAS_HOME", os.path.join(tempfile.gettempdir(), ".keras"))  # noqa: PTH118

# Importing these packages registers what they declare. Papers name methods and attacks, so they come last.
from adv_networks import attacks, data, defences, papers
from adv_networks.experiments import experiment

if TYPE_CHECKING:
    from adv_networks.evaluation import accuracy, evaluate, load_classifier
    from adv_networks.training import train

__version__ = "0.1.0"

# Where the names are that are imported on first use, because they only compute: what refuses a wrong flag needs none of them.
_ON_FIRST_USE = {"accuracy": "evaluation", "evaluate": "evaluation", "load_classifier": "evaluation", "train": "training"}
_PACKAGES = ("claims", "commands", "evaluation", "networks", "runtime", "storage", "tables", "training")


def __getattr__(name: str) -> Any:
    """Imports what computes on first use: functions, packages, and `an.keras`, whose `fit` trains adversarially."""
    if name in _PACKAGES:
        return importlib.import_module(f"adv_networks.{name}")
    if name == "keras":  # which loads TensorFlow
        return importlib.import_module("adv_networks.training.keras_api")
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"adv_networks.{_ON_FIRST_USE[name]}"), name)


__all__ = [
    "accuracy", "attacks", "data", "defences", "evaluate", "experiment", "load_classifier", "papers", "train",
]  # fmt: skip
