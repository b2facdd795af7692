"""A reproduction of "A Direct Approach to Robust Deep Learning Using Adversarial Networks" (ICLR 2019)."""

__version__ = "0.1.0"
