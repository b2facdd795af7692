"""A reproduction of "A Direct Approach to Robust Deep Learning Using Adversarial Networks" (ICLR 2019)."""

# They register what they declare: papers name methods and attacks, and come last.
from adv_networks import attacks, data, defences, papers

__version__ = "0.1.0"

__all__ = ["attacks", "data", "defences", "papers"]
