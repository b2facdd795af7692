# `make demo` and `make test` need Python 3.11 or newer and nothing else; both install into .venv first.
PYTHON ?= python3

.PHONY: demo test clean

demo: .venv/installed
	.venv/bin/python main.py --table=digits --results=runs/demo-results

test: .venv/installed-test
	.venv/bin/ruff check .
	.venv/bin/python -m pytest -n 2 --dist loadfile

.venv/installed: setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/installed-test: .venv/installed
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf .venv runs
