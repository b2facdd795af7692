"""Lets `pip` and older tools build the package; everything that they need to know is in pyproject.toml."""

from setuptools import setup

setup()
