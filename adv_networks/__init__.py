"""Adversarial attacks and defences in TensorFlow 2 / Keras 3.

They surround a reproduction of "A Direct Approach to Robust Deep Learning Using Adversarial Networks" (ICLR 2019).

Attack and evaluate any Keras classifier of images in [0,1] that returns logits:

    >>> import numpy as np, keras
    >>> import adv_networks as an
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    >>> model = keras.Sequential(layers)
    >>> x, y = np.full((4, 8, 8, 1), 128, np.uint8), np.array([0, 1, 2, 3])
    >>> adversarial = an.attacks.pgd(model, x, y, 0.3)
    >>> sorted(an.evaluate(model, x, y, ["clean", "pgd:steps=20"], epsilon=0.3))
    ['clean', 'pgd:steps=20', 'worst']

Train what the papers describe, and load it again:

    >>> import tempfile
    >>> spec = an.experiment("digits", "advnet", scale="tiny", generators=("released_mnist",), validation=0)
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     model = an.load_classifier(an.train(spec, f"{runs}/{spec.name}", progress=False))

- `attacks`: a function and a class for each attack, those of ART and Foolbox too; `attacks.named` reads what `--attack` reads.
- `defences`: the ways to train, one file each.
- `experiments`, `papers`: what to compute, as data: recipes, tables, statements.
- `evaluation`: accuracies, grids as records, checks against false security.
- `keras`: `fit` with the same update rules, of your own Keras classifier on your own data.
- `data`, `networks`, `training`, `tables`, `claims`, `storage`, `runtime`: what these rest on.

Images are uint8 or floats in [0,1], [batch, height, width, channels]; ε is on that scale; labels are integers [batch]. An
`errors.UserError` is one that the caller can mend; its subclass `errors.UsageError` says that the call itself is wrong.
Importing this package loads no TensorFlow.
"""

import os
import tempfile
from typing import Any

# Where a user has no home, Keras would make a directory that is called ~ in the working directory.
if not os.path.isabs(os.path.expanduser("~")):  # noqa: PTH111, PTH117
    os.environ.setdefault("KERAS_HOME", os.path.join(tempfile.gettempdir(), ".keras"))  # noqa: PTH118

# They register what they declare: papers name methods and attacks, and come last.
from adv_networks import attacks, data, defences, papers
from adv_networks.evaluation import accuracy, evaluate, load_classifier
from adv_networks.experiments import experiment
from adv_networks.training import train

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`an.keras`, the classes whose `fit` trains adversarially, which load TensorFlow, once they are asked for."""
    if name != "keras":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from adv_networks.training import keras_api

    return keras_api


__all__ = [
    "accuracy", "attacks", "data", "defences", "evaluate", "experiment", "load_classifier", "papers", "train",
]  # fmt: skip
