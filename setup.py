"""Packaging of the library; the command line, main.py, is run from a checkout."""

from setuptools import find_packages, setup

OTHER_ATTACKS = ["adversarial-robustness-toolbox>=1.20", "foolbox>=3.3.4"]

setup(
    name="adv_networks",
    version="0.1.0",
    description="A reproduction of 'A Direct Approach to Robust Deep Learning Using Adversarial Networks' (ICLR 2019)",
    license="MIT",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["adv_networks", "adv_networks.*"]),
    package_data={"adv_networks": ["published/*.csv"]},
    install_requires=[
        "absl-py>=2.1",
        "importlib_resources>=6",  # tensorflow-datasets imports it on Python 3.11 without requiring it
        "keras>=3.12,<4",
        "matplotlib>=3.8",
        "numpy>=2.0",
        "pillow>=10",
        "scikit-learn>=1.4",
        "tensorboard>=2.20,<3",
        "tensorflow>=2.20,<3",
        "tensorflow-datasets>=4.9.7",
        "tqdm>=4.66",
    ],
    extras_require={
        "attacks": OTHER_ATTACKS,
        "test": [*OTHER_ATTACKS, "pytest>=8", "pytest-xdist>=3", "ruff>=0.8"],
    },
)
