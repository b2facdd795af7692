"""A reproduction of "A Direct Approach to Robust Deep Learning Using Adversarial Networks" (ICLR 2019)."""

import os
import tempfile

# Where a user has no home, Keras would make a directory that is called ~ in the working directory.
if not os.path.isabs(os.path.expanduser("~")):  # noqa: PTH111, PTH117
    os.environ.setdefault("KERAS_HOME", os.path.join(tempfile.gettempdir(), ".keras"))  # noqa: PTH118

# They register what they declare: papers name methods and attacks, and come last.
from adv_networks import attacks, data, defences, papers

__version__ = "0.1.0"

__all__ = ["attacks", "data", "defences", "papers"]
