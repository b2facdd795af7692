"""Lets `pip` and older tools build the package; the package is described in pyproject.toml."""

from setuptools import setup

setup()
