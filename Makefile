# `make demo`, `make test` and `make examples` need Python 3.11 or newer and nothing else; they install into .venv first.
PYTHON ?= python3

.PHONY: demo test examples clean

demo: .venv/installed
	.venv/bin/python main.py --table=digits --results=runs/demo-results

test: .venv/installed-test
	.venv/bin/ruff check .
	.venv/bin/python -m pytest -n 2 --dist loadfile

examples: .venv/installed-test
	.venv/bin/python -m pytest -m long -n 2 --dist loadgroup tests/test_documentation.py

.venv/installed: setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/installed-test: .venv/installed
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

# Only what this file makes: other runs may have taken hours.
clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	rm -rf runs/demo-results runs/digits-standard-cpu-s0 runs/digits-advnet-cpu-s0
	find . -name __pycache__ -prune -exec rm -rf {} +
