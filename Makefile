# All targets need only Python 3.11, 3.12 or 3.13. Packages are installed into .venv first, in the versions of constraints.txt.
# To use another Python in an environment of its own: make test PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3
VENV ?= .venv
PIP = $(VENV)/bin/pip --quiet --disable-pip-version-check

# The tests start many processes, each of which would compile the project's modules again, and pytest those of the tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo check test numerics test-all examples docs picture constraints clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1	/p' Makefile

demo: $(VENV)/installed  ## attack three shipped networks, then train and attack two on embedded real digits
	$(VENV)/bin/python main.py --demo
	$(VENV)/bin/python main.py --table=digits --steps=250 --results=runs/demo-results

check: $(VENV)/installed-test  ## style, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test: check  ## run check, and the tests except those of whole trainings, processes and tables: minutes, in two processes
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile -m 'not slow and not long'

test-all: test numerics  ## run test, numerics, and the tests that they leave out
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile -m 'slow and not long'

numerics: $(VENV)/installed-test  ## run the numerics tests six times: with oneDNN's best kernels, its AVX2 kernels or none, accelerated or plain
	for kernels in TF_ENABLE_ONEDNN_OPTS=1 'ONEDNN_MAX_CPU_ISA=AVX2 XLA_FLAGS=--xla_cpu_max_isa=AVX2' TF_ENABLE_ONEDNN_OPTS=0; do \
		for runtime in auto plain; do \
			echo "numerics: $$kernels, $$runtime"; \
			env $$kernels $(VENV)/bin/python -m pytest -n 2 --dist worksteal --durations=0 --durations-min=60 \
				-m 'numerics and not slow and not long' --runtime=$$runtime || exit 1; \
		done; \
	done

examples: $(VENV)/installed-test  ## run the tests marked long: the documentation's commands, Python and notebook, further tables, and others
	$(PIP) install --constraint constraints.txt --editable '.[notebook]'
	$(VENV)/bin/python -m pytest -m long -n 2 --dist loadgroup

docs: $(VENV)/installed  ## build the documentation site in site/, and check its links
	$(PIP) install --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet --site-dir site

picture: $(VENV)/installed-test  ## draw the pictures of the method and of the packages from the code
	$(VENV)/bin/python -m docs.draw_packages
	$(VENV)/bin/python -m docs.draw_method

constraints: $(VENV)/installed  ## renew constraints.txt with the newest versions that pyproject.toml allows
	$(PIP) install uv
	echo '# The exact versions that make installs, for Python 3.11 to 3.13; make constraints renews them.' > constraints.txt.new
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-annotate pyproject.toml \
		>> constraints.txt.new
	mv constraints.txt.new constraints.txt

$(VENV)/installed: setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) install --constraint constraints.txt --editable '.[test]'
	touch $@

# Removes only what these targets made: other runs may have taken hours.
clean:  ## remove what these targets made
	rm -rf .venv build site *.egg-info .pytest_cache .ruff_cache .mypy_cache constraints.txt.new
	rm -rf runs/demo.png runs/demo-results 'runs/digits-standard-cpu-s0-steps=250' 'runs/digits-advnet-cpu-s0-steps=250'
	find . -name __pycache__ -prune -exec rm -rf {} +
