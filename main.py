"""Runs the command line from a checkout: `python main.py --help`. An installed package provides it as `adv-networks`."""

from __future__ import annotations

import importlib.util
import sys

# Checked before the imports, which would fail with a traceback.
if missing := [name for name in ("absl", "numpy", "keras", "tensorflow") if importlib.util.find_spec(name) is None]:
    sys.exit(f"main.py: expected an environment with {', '.join(missing)}, found none: `make demo` creates one, in .venv")

from adv_networks.__main__ import run

if __name__ == "__main__":
    run()
